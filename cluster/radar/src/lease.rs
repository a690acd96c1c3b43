//! How long a node may serve without hearing that it still may, and how long the others wait before they do
//! without it.
//!
//! ```text
//!  the node, by its clock:    sent ────────────────────── over
//!                              │ ◄──── term − guard ─────► │ guard
//!  real time  ────┬────────────┴──┬────────────────────────┴────────────┬────►
//!                 │               granted, or: taken from it            │
//!  another one,                   │ ◄──── term × (1+d) / (1−d) ───────► │
//!  by its clock:                  begin                              others take over
//! ```
//! *Holder.* A lease counts from when it was *asked for*, before whoever granted it had even heard. It ends
//! `guard` early, so that what is under way is out by the end of the term. With a clock that may be slow by
//! `d`, a term lasts at most `term / (1−d)` of real time.
//!
//! *Others* wait, by a clock that may be fast by `d`, until at least `term / (1−d)` of real time has passed
//! since the last moment at which a lease may have been granted. So the holder has stopped before anybody
//! else begins, whatever was lost or late, as long as no clock errs by more than `d`. Clocks must go on while
//! a machine sleeps.
//!
//! *Log.* A grant names what was committed when it was asked for, and counts only once the node has applied
//! that. So whoever applied an entry at some moment knows that a term later nobody serves who has not heard
//! of it (see `predecessors`).

use dvs_abi::limits::{CLOCK_DRIFT_PPM, NODE_LEASE_GUARD_NS, NODE_LEASE_NS};
use dvs_control::epoch::Epoch;

const MILLION: u128 = 1_000_000;

/// What all nodes have agreed on about leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    term_ns: u64,
    guard_ns: u64,
    drift_ppm: u32,
}

impl Terms {
    /// Terms of their own, for tests and other networks; `None` if the guard is not below the term, or a
    /// clock could err by one part in two or more.
    pub const fn new(term_ns: u64, guard_ns: u64, drift_ppm: u32) -> Option<Self> {
        if guard_ns < term_ns && drift_ppm < 500_000 {
            Some(Terms { term_ns, guard_ns, drift_ppm })
        } else {
            None
        }
    }

    /// How long a node may serve from when it asked, in ns of its clock.
    pub const fn serve_ns(&self) -> u64 {
        self.term_ns - self.guard_ns
    }

    /// How long the others wait from the last moment it may have been granted, in ns of their clock.
    ///
    /// ```
    /// let terms = dvs_radar::Terms::new(1_000_000, 100_000, 1_000).ok_or("bad")?;
    /// assert_eq!(terms.serve_ns(), 900_000);
    /// assert_eq!(terms.wait_ns(), 1_002_003);
    /// # Ok::<(), &str>(())
    /// ```
    pub const fn wait_ns(&self) -> u64 {
        let (term, drift) = (self.term_ns as u128, self.drift_ppm as u128);
        let wait = (term * (MILLION + drift)).div_ceil(MILLION - drift);
        if wait > u64::MAX as u128 { u64::MAX } else { wait as u64 }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Terms { term_ns: NODE_LEASE_NS, guard_ns: NODE_LEASE_GUARD_NS, drift_ppm: CLOCK_DRIFT_PPM }
    }
}

/// A node's lease. Times are ns of its own clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    terms: Terms,
    /// It may serve before this.
    until: u64,
    /// What it has applied of the log.
    applied: Epoch,
    /// Grants that do not count yet, by what has to be applied: the first that will, and the latest. What
    /// came between them is not needed: when the first counts, the latest is the next.
    first: Option<(u64, Epoch)>,
    latest: Option<(u64, Epoch)>,
}

impl Lease {
    /// None yet.
    pub fn new(terms: Terms) -> Self {
        Lease { terms, until: 0, applied: Epoch::default(), first: None, latest: None }
    }

    /// The terms.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Whether this node may serve now.
    pub fn holds(&self, now: u64) -> bool {
        now < self.until
    }

    /// Until when, if nothing is heard.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// What was asked at `sent` was granted, when the log was committed up to `upto`. An answer to a question
    /// that this node has not asked yet is passed over.
    pub fn granted(&mut self, sent: u64, upto: Epoch, now: u64) {
        if sent > now {
            return;
        }
        if upto <= self.applied {
            self.until = self.until.max(sent.saturating_add(self.terms.serve_ns()));
        } else if self.first.is_none_or(|(s, u)| upto <= u && sent > s) {
            self.first = Some((sent, upto));
        } else if self.latest.is_none_or(|(s, _)| sent > s) {
            self.latest = Some((sent, upto));
        }
    }

    /// The log was applied up to here.
    pub fn applied(&mut self, place: Epoch) {
        self.applied = self.applied.max(place);
        while let Some((sent, upto)) = self.first
            && upto <= self.applied
        {
            self.until = self.until.max(sent.saturating_add(self.terms.serve_ns()));
            self.first = self.latest.take();
        }
    }

    /// The node is another incarnation now, or none: what it was granted is over.
    pub fn void(&mut self) {
        (self.until, self.first, self.latest) = (0, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease::new(Terms::new(1000, 100, 1000).unwrap())
    }

    #[test]
    fn it_counts_from_the_question_and_ends_early() {
        let mut l = lease();
        assert!(!l.holds(0), "none was granted");
        l.granted(50, Epoch(0), 400);
        assert!(l.holds(949) && !l.holds(950));
        l.granted(20, Epoch(0), 500);
        assert_eq!(l.until(), 950, "an answer that comes late takes nothing away");
        l.granted(2000, Epoch(0), 500);
        assert_eq!(l.until(), 950, "nobody answers what was not asked yet");
        l.void();
        assert!(!l.holds(0));
    }

    #[test]
    fn it_counts_once_what_was_committed_is_applied() {
        let mut l = lease();
        l.granted(100, Epoch(5), 110);
        assert!(!l.holds(110));
        for i in 0..10 {
            l.granted(200 + i, Epoch(6 + i), 300);
        }
        l.applied(Epoch(4));
        assert!(!l.holds(300));
        l.applied(Epoch(5));
        assert_eq!(l.until(), 1000, "of the first, though others came after it");
        l.applied(Epoch(15));
        assert_eq!(l.until(), 1109, "of the latest");
    }

    #[test]
    fn a_log_that_is_always_ahead_does_not_end_the_lease() {
        let mut l = lease();
        for i in 0..1000_u64 {
            l.granted(i * 100, Epoch(i * 10 + 20), i * 100 + 5);
            l.applied(Epoch(i * 10));
            assert!(i < 4 || l.holds(i * 100), "two entries behind at {i}");
        }
    }

    #[test]
    fn the_holder_has_stopped_when_others_begin_with_any_clocks_within_the_drift() {
        for drift in [0, 1, 100, 1_200, 50_000, 499_999] {
            for term in [1_u64, 7, 1000, 600_000_000, 1 << 40] {
                let terms = Terms::new(term, 0, drift).unwrap();
                // The slowest holder's clock, the fastest other one's: real time in millionths.
                let stops = u128::from(term) * MILLION * (MILLION + u128::from(drift));
                let begins = u128::from(terms.wait_ns()) * MILLION * (MILLION - u128::from(drift));
                assert!(stops <= begins, "{terms:?}");
            }
        }
        assert!(Terms::new(10, 10, 0).is_none() && Terms::new(10, 1, 500_000).is_none());
        assert_eq!(Terms::new(u64::MAX, 0, 400_000).unwrap().wait_ns(), u64::MAX);
    }
}
