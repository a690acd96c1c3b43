//! The clock of one node: runs a little too fast or slow, and stands a little off.

/// A clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What it showed when it was last set, and when that was.
    shown: u64,
    set_at: u64,
    /// Millionths it runs too fast.
    drift_ppm: i64,
}

impl Clock {
    pub(crate) fn new(shown: u64, drift_ppm: i64) -> Self {
        Clock { shown, set_at: 0, drift_ppm }
    }

    /// What it shows at a time of the world.
    pub(crate) fn read(&self, now: u64) -> u64 {
        let passed = i128::from(now - self.set_at);
        let shown = i128::from(self.shown) + passed + passed * i128::from(self.drift_ppm) / 1_000_000;
        u64::try_from(shown).unwrap_or(0)
    }

    /// How long the world takes until it has gone on by so much; rounded up, so that a timer is never early.
    pub(crate) fn takes(&self, local: u64) -> u64 {
        let rate = u128::from((1_000_000 + self.drift_ppm).max(1).unsigned_abs());
        let real = (u128::from(local) * 1_000_000).div_ceil(rate);
        u64::try_from(real).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// From now on it runs right. What it shows does not jump.
    pub(crate) fn heal(&mut self, now: u64) {
        *self = Clock { shown: self.read(now), set_at: now, drift_ppm: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn a_timer_is_never_early_by_the_clock_it_was_set_on() {
        for drift in [-300_000, -200, 0, 150, 500_000] {
            let c = Clock::new(5, drift);
            for local in [0, 1, 999, 1_000_000_007] {
                assert!(c.read(c.takes(local)) >= 5 + local, "{drift} {local}");
            }
        }
    }

    #[test]
    fn a_healed_clock_goes_on_from_where_it_stood() {
        let mut c = Clock::new(100, 500_000);
        let before = c.read(1000);
        c.heal(1000);
        assert_eq!((c.read(1000), c.read(1010)), (before, before + 10));
    }
}
