//! When to look at all links although nothing rang (pure).
//!
//! Every linked peer can write the bell, so a hostile one can erase another's ring. The owner therefore looks
//! at everything now and then: soon after activity, when a ring can have been lost, ever more rarely when
//! nothing happens. The point is never moved back by rings, so that steady traffic of one peer cannot hide
//! the loss.

use dvs_abi::limits::{RECHECK_FIRST_NS, RECHECK_MAX_NS};

/// The schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recheck {
    interval: u64,
    due: Option<u64>,
}

impl Recheck {
    pub(super) const fn new() -> Self {
        Recheck { interval: RECHECK_FIRST_NS, due: None }
    }

    /// Until when one may sleep. The clock is read the first time only.
    pub(super) fn due(&mut self, now: impl FnOnce() -> u64) -> u64 {
        *self.due.get_or_insert_with(|| now().saturating_add(self.interval))
    }

    /// Whether to look at everything now; if so the next time is set.
    pub(super) fn fires(&mut self, now: u64) -> bool {
        if now < self.due(|| now) {
            return false;
        }
        self.interval = (self.interval * 2).min(RECHECK_MAX_NS);
        self.due = Some(now.saturating_add(self.interval));
        true
    }

    /// Something rang. The clock is read only when the interval had grown.
    pub(super) fn rung(&mut self, now: impl FnOnce() -> u64) {
        if self.interval == RECHECK_FIRST_NS && self.due.is_some() {
            return;
        }
        self.interval = RECHECK_FIRST_NS;
        let soon = now().saturating_add(self.interval);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }
}

#[cfg(test)]
mod tests {
    use super::{RECHECK_FIRST_NS, RECHECK_MAX_NS, Recheck};

    #[test]
    fn doubles_when_idle_and_is_never_put_off_by_rings() {
        let mut r = Recheck::new();
        let mut now = 5;
        let mut last = 0;
        for _ in 0..20 {
            let due = r.due(|| now);
            assert!(!r.fires(due - 1));
            last = due - now;
            now = due;
            assert!(r.fires(now));
        }
        assert_eq!(last, RECHECK_MAX_NS);
        for _ in 0..100 {
            now += RECHECK_FIRST_NS / 50;
            r.rung(|| now);
        }
        assert!(r.fires(now), "a hundred rings over two intervals put it off");
    }
}
