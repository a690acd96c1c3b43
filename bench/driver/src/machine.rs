//! How busy the rest of the machine is. A figure taken beside a compiler says little; we wait for quiet, and
//! we measure how quiet it was.

use std::fs::read_to_string;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Processor time in `/proc` is counted in ticks of a hundredth of a second (`USER_HZ`, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
/// One look at the machine.
const LOOK: Duration = Duration::from_millis(40);
/// Looks until we stop waiting for quiet: one second in all.
const LOOKS: usize = 25;
/// Cores' worth of others' work that still counts as quiet before a round.
const QUIET_CORES: f64 = 0.30;

/// Waits, at most a second, until others use little.
pub fn wait_for_quiet() {
    for _ in 0..LOOKS {
        let look = Account::open();
        sleep(LOOK);
        if look.foreign_cores() < QUIET_CORES {
            return;
        }
    }
}

/// A stretch of time during which foreign work is watched.
pub struct Account {
    since: Instant,
    machine: f64,
    own: f64,
}

impl Account {
    /// Starts to watch.
    pub fn open() -> Self {
        Account { since: Instant::now(), machine: machine_ticks(), own: own_ticks() }
    }

    /// Cores' worth of work others did since, ours (with all ended children) taken away.
    pub fn foreign_cores(&self) -> f64 {
        let foreign = (machine_ticks() - self.machine) - (own_ticks() - self.own);
        (foreign / TICKS_PER_SECOND / self.since.elapsed().as_secs_f64()).max(0.0)
    }
}

/// Ticks all cores were busy: user, nice, system, interrupts, steal. Zero where `/proc` does not tell.
fn machine_ticks() -> f64 {
    let text = read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<f64> = numbers.filter_map(|n| n.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| numbers.get(i)).sum()
}

/// Ticks this process and all children it has waited for have used.
fn own_ticks() -> f64 {
    let text = read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold spaces; the numbers start behind it.
    let numbers = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = numbers.split_whitespace().skip(11).take(4);
    times.filter_map(|n| n.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn foreign_work_is_never_negative() {
        assert!(Account::open().foreign_cores() >= 0.0);
    }
}
