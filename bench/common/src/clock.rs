//! The two clocks: time that passes, and processor time a process has used.

use std::fs::read_to_string;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock; the same value in every process of the machine.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at boot: neither field is ever negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of processor time that all threads of a process have used, from the scheduler's own account
/// (not from ticks, which miss short bursts).
///
/// # Errors
/// The process does not exist, or the kernel keeps no scheduler statistics.
pub fn cpu_ns_of(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = read_to_string(task?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("schedstat is empty")?;
        total += first.parse::<u64>()?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::{cpu_ns_of, monotonic_ns};

    #[test]
    fn time_and_processor_time_only_rise() {
        let (t, c) = (monotonic_ns(), cpu_ns_of(std::process::id()).unwrap());
        assert!((0..1000).map(|_| monotonic_ns()).all(|now| now >= t));
        assert!(cpu_ns_of(std::process::id()).unwrap() >= c);
    }
}
