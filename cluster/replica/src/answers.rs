//! What the member's thread has for the thread that serves: outcomes of calls, and the end.

use crate::service::Outcome;
use dvs_abi::{DcId, Endpoint, Error};
use dvs_ipc::Process;
use dvs_log::LogError;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A call that has ended: whose, its number at this replica, what came of it.
pub type Answered = (Endpoint, u64, Outcome);

/// Why a replica does not serve any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was asked to end.
    Asked,
    /// Its member of the group has failed: its disk is full, for example.
    Failed(LogError),
    /// One of its endpoints cannot be used any more: its daemon is gone, for example.
    Unbound(Error),
    /// It is about to leave its group, or has fallen behind it, and serves nobody meanwhile.
    Leaves,
    /// It is not in the list of replicas any more, of this version.
    Out(u64),
}

#[derive(Default)]
struct Inner {
    ready: bool,
    leaves: bool,
    behind: bool,
    rounds: u64,
    answered: Vec<Answered>,
    ended: Option<Ended>,
}

/// Between the two threads.
pub struct Answers {
    process: Process,
    place: (DcId, Endpoint),
    inner: Mutex<Inner>,
    news: Condvar,
}

impl Answers {
    /// For the service that is served at `place`.
    pub fn new(process: &Process, place: (DcId, Endpoint)) -> Answers {
        Answers { process: process.clone(), place, inner: Mutex::default(), news: Condvar::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the wait of the serving thread for a message, now or when it begins.
    fn wake(&self) {
        // One that does not wait finds it when it looks; one that is not bound yet looks before it waits.
        let _ = self.process.system().wakeup(self.place.0, self.place.1);
    }

    /// A call has ended.
    pub fn put(&self, answered: Answered) {
        let mut inner = self.inner();
        inner.answered.push(answered);
        let first = inner.answered.len() == 1;
        drop(inner);
        if first {
            self.wake();
        }
    }

    /// The group is there: calls may be taken.
    pub fn ready(&self) {
        self.inner().ready = true;
        self.news.notify_all();
    }

    /// The replica ends; the first reason counts.
    pub fn end(&self, why: Ended) {
        let mut inner = self.inner();
        if inner.ended.is_some() {
            return;
        }
        inner.ended = Some(why);
        drop(inner);
        self.news.notify_all();
        self.wake();
    }

    /// From where whoever serves now numbers its calls: answers of those it served before it was to leave,
    /// and stayed, may come yet.
    pub fn round(&self) -> u64 {
        let mut inner = self.inner();
        inner.rounds += 1;
        inner.rounds << 40
    }

    /// It is about to leave its group, or stays after all.
    pub fn leave(&self, leaves: bool) {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.leaves, leaves) != leaves {
            drop(inner);
            self.news.notify_all();
            self.wake();
        }
    }

    /// It has fallen behind, or keeps up again: meanwhile others serve its callers.
    pub fn fall_behind(&self, behind: bool) {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.behind, behind) != behind {
            drop(inner);
            self.news.notify_all();
            self.wake();
        }
    }

    /// Waits until it stays after all, and keeps up.
    ///
    /// # Errors
    /// The replica ends.
    pub fn await_stays(&self) -> Result<(), Ended> {
        let waits = |i: &mut Inner| (i.leaves || i.behind) && i.ended.is_none();
        let inner = self.news.wait_while(self.inner(), waits).unwrap_or_else(PoisonError::into_inner);
        inner.ended.clone().map_or(Ok(()), Err)
    }

    /// Waits until the group is there.
    ///
    /// # Errors
    /// The replica ends before.
    pub fn await_ready(&self) -> Result<(), Ended> {
        let waits = |i: &mut Inner| !i.ready && i.ended.is_none();
        let inner = self.news.wait_while(self.inner(), waits).unwrap_or_else(PoisonError::into_inner);
        inner.ended.clone().map_or(Ok(()), Err)
    }

    /// Waits for the end of the replica, so long.
    pub fn ended_within(&self, patience: Duration) -> Option<Ended> {
        let lives = |i: &mut Inner| i.ended.is_none();
        let waited = self.news.wait_timeout_while(self.inner(), patience, lives);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended.clone()
    }

    /// Whether the group is there.
    pub fn is_ready(&self) -> bool {
        self.inner().ready
    }

    /// What has come since the last look; the end, if that has come.
    pub fn take(&self) -> (Vec<Answered>, Option<Ended>) {
        let mut inner = self.inner();
        let leaves = (inner.leaves || inner.behind).then_some(Ended::Leaves);
        (std::mem::take(&mut inner.answered), inner.ended.clone().or(leaves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvs_abi::{DcId, Endpoint};

    #[test]
    fn whoever_serves_again_takes_no_answer_of_a_call_it_had_before() {
        let answers = Answers::new(&dvs::alone(), (DcId(0), Endpoint::new(0, 5)));
        let (first, second) = (answers.round(), answers.round());
        assert!(second > first + u64::from(u32::MAX));
        answers.leave(true);
        answers.put((Endpoint::new(0, 40), first + 1, Outcome::Unknown));
        assert_eq!(
            answers.take(),
            (vec![(Endpoint::new(0, 40), first + 1, Outcome::Unknown)], Some(Ended::Leaves))
        );
        answers.leave(false);
        assert_eq!((answers.take().1, answers.await_stays()), (None, Ok(())));
        answers.leave(true);
        answers.end(Ended::Out(3));
        assert_eq!((answers.take().1, answers.await_stays()), (Some(Ended::Out(3)), Err(Ended::Out(3))));
    }
}
