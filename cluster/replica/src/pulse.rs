//! What a replica's threads note of how it is, and the thread that looks at that: one of its own, as the
//! member's may be what stands still.
//!
//! ```text
//!   seat's thread ── a leader was heard ──┐
//!   member's ─── it looked at itself ─────┴─► Pulse ──► watch ── behind, or not any more ──► who serves
//! ```
//! The decision is [`crate::pace`]'s.

use crate::answers::Answers;
use crate::pace::{Pace, Seen};
use dvs_log::Status;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks: some in the shortest time that counts.
const LOOK: Duration = Duration::from_millis(100);

/// How a replica is.
pub(crate) struct Pulse {
    since: Instant,
    seen: Mutex<Seen>,
}

impl Pulse {
    pub fn new() -> Self {
        Pulse { since: Instant::now(), seen: Mutex::default() }
    }

    /// Never zero, which means never.
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A letter came that only a leader sends.
    pub fn heard(&self) {
        self.seen().heard = self.now();
    }

    /// The member looked at itself.
    pub fn looked(&self, status: &Status, leads: bool) {
        let mut seen = self.seen();
        seen.looked = self.now();
        (seen.leads, seen.decided, seen.applied) = (leads, status.decided, status.applied);
    }

    /// Looks until the replica ends, and has whoever serves leave callers to others while it is behind.
    pub fn watch(&self, answers: &Answers) {
        let mut pace = Pace::default();
        while answers.ended_within(LOOK).is_none() {
            let seen = *self.seen();
            answers.fall_behind(pace.look(&seen, self.now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Ended;
    use dvs_abi::limits::REPLICA_BEHIND_ENTRIES;
    use dvs_abi::{DcId, Endpoint};
    use std::sync::Arc;

    /// What a member says that is so far behind.
    fn status(behind: u64) -> Status {
        let (leader, members, forgetful) = (None, Vec::new(), Vec::new());
        let (term, last, applied, snapshot, running) = (1, 5, 5, 0, true);
        Status { leader, term, last, decided: 5 + behind, applied, snapshot, members, forgetful, running }
    }

    #[test]
    fn whoever_serves_leaves_callers_to_others_while_the_replica_is_behind() {
        let answers = Arc::new(Answers::new(&dvs::alone(), (DcId(0), Endpoint::new(0, 5))));
        let pulse = Arc::new(Pulse::new());
        let watching = {
            let (answers, pulse) = (answers.clone(), pulse.clone());
            std::thread::spawn(move || pulse.watch(&answers))
        };
        let watchdog = Instant::now() + Duration::from_secs(60);
        while answers.take().1 != Some(Ended::Leaves) {
            assert!(Instant::now() < watchdog, "it does not leave its callers");
            pulse.heard();
            pulse.looked(&status(REPLICA_BEHIND_ENTRIES + 1), false);
            std::thread::yield_now();
        }
        while answers.take().1.is_some() {
            assert!(Instant::now() < watchdog, "it does not come back");
            pulse.looked(&status(0), false);
            std::thread::yield_now();
        }
        answers.end(Ended::Asked);
        watching.join().unwrap();
    }
}
