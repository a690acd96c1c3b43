//! How long to spin before sleeping (pure).
//!
//! Waking a sleeper on another core costs tens of microseconds, a switch on the same core two: so spinning
//! pays only if the peer last ran elsewhere, and never when it shares our core, where it could not run while
//! we spin. A spin shorter than the peer's service time is worse than none, hence the length is not tuned: it
//! is all or nothing. After [`MISSES`] vain spins in a row only every [`PROBE`]th wait spins, to see if times
//! have changed; and from then on it spins longer (where nobody else wants the core, see [`super::Bell`]),
//! because peers that all sleep make the server slow, which would keep every short spin vain.

use dvs_abi::limits::{SPIN_LONG_NS, SPIN_NS};

/// Vain spins in a row after which spinning mostly stops.
const MISSES: u32 = 4;
/// Then one wait in so many spins.
const PROBE: u32 = 16;

/// Decides from how past spins ended.
///
/// ```
/// use dvs_ipc::bell::SpinPolicy;
/// let mut p = SpinPolicy::default();
/// assert!(p.spin_ns(Some(1), 0) > 0);
/// assert_eq!(p.spin_ns(Some(0), 0), 0); // same core: sleep at once
/// for _ in 0..4 { p.on_result(false); }
/// assert_eq!(p.spin_ns(Some(1), 0), 0); // it never helped
/// p.on_result(true);
/// assert!(p.spin_ns(Some(1), 0) > 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SpinPolicy {
    misses: u32,
    waits: u32,
    long: bool,
}

impl SpinPolicy {
    /// How long to spin, in ns; zero is: sleep at once. `peer_cpu` is `None` when it is not known.
    pub fn spin_ns(&mut self, peer_cpu: Option<u32>, my_cpu: u32) -> u64 {
        match peer_cpu {
            None => return 0,
            Some(cpu) if cpu == my_cpu => return 0,
            Some(_) => {}
        }
        if self.misses >= MISSES {
            self.long = true;
            self.waits = (self.waits + 1) % PROBE;
            if self.waits != 0 {
                return 0;
            }
        }
        if self.long { SPIN_LONG_NS } else { SPIN_NS }
    }

    /// How a spin ended: the peer came in time (`hit`) or we went to sleep. Not to be told of waits without
    /// one.
    pub fn on_result(&mut self, hit: bool) {
        self.misses = if hit { 0 } else { self.misses.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::{MISSES, PROBE, SpinPolicy};

    #[test]
    fn a_hopeless_peer_costs_one_spin_in_sixteen_waits() {
        let mut p = SpinPolicy::default();
        let mut spins = 0;
        for _ in 0..(PROBE * 100) {
            if p.spin_ns(Some(1), 0) > 0 {
                spins += 1;
                p.on_result(false);
            }
        }
        assert!((100..=100 + MISSES).contains(&spins), "{spins}");
    }
}
