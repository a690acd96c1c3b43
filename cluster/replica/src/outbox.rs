//! Letters to one other replica that wait to be sent: bounded, the oldest are lost first.

use crate::letter::Letter;
use dvs_abi::limits::{REPLICA_OUTBOX_BYTES_MAX, REPLICA_PARCEL_BYTES_MAX};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The box. Whoever puts never waits for whoever takes.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// An empty parcel is wanted: the other side does not know who sends.
    greet: bool,
    closed: bool,
}

/// What there is to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// This parcel; empty for a greeting.
    Parcel(Vec<u8>),
    /// Nothing came in the time given.
    Nothing,
    /// The box was closed.
    Closed,
}

impl Outbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics under it that would leave half a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a letter at the end.
    ///
    /// ```
    /// use dvs_replica::letter::{Letter, unpack};
    /// use dvs_replica::outbox::{Next, Outbox};
    /// use std::time::Duration;
    /// let outbox = Outbox::default();
    /// outbox.put(Letter::Fresh(5, 1));
    /// let Next::Parcel(parcel) = outbox.take(Duration::ZERO) else { panic!() };
    /// assert_eq!(unpack(&parcel), Some(vec![Letter::Fresh(5, 1)]));
    /// assert_eq!(outbox.take(Duration::ZERO), Next::Nothing);
    /// ```
    pub fn put(&self, letter: Letter) {
        let mut inner = self.inner();
        inner.bytes += letter.weight();
        inner.letters.push_back(letter);
        while inner.bytes > REPLICA_OUTBOX_BYTES_MAX {
            let Some(lost) = inner.letters.pop_front() else { break };
            inner.bytes -= lost.weight();
        }
        drop(inner);
        self.news.notify_one();
    }

    /// Has a greeting sent, even if there is nothing to say.
    pub fn greet(&self) {
        self.inner().greet = true;
        self.news.notify_one();
    }

    /// Forgets all letters: the other side is not there, and what is for it now will be old then.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.letters.clear();
        inner.bytes = 0;
    }

    /// Nothing is taken from it any more.
    pub fn close(&self) {
        self.inner().closed = true;
        self.news.notify_all();
    }

    /// Waits for letters and takes as many as one parcel carries.
    pub fn take(&self, patience: Duration) -> Next {
        let idle = |i: &mut Inner| i.letters.is_empty() && !i.greet && !i.closed;
        let (mut inner, _) = self
            .news
            .wait_timeout_while(self.inner(), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return Next::Closed;
        }
        if inner.letters.is_empty() && !inner.greet {
            return Next::Nothing;
        }
        inner.greet = false;
        let mut parcel = Vec::new();
        while let Some(letter) = inner.letters.front() {
            if parcel.len() + letter.weight() > REPLICA_PARCEL_BYTES_MAX {
                break;
            }
            letter.pack(&mut parcel);
            inner.bytes -= letter.weight();
            inner.letters.pop_front();
        }
        Next::Parcel(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::unpack;

    #[test]
    fn the_oldest_are_lost_when_nobody_takes_them() {
        let outbox = Outbox::default();
        let count = REPLICA_OUTBOX_BYTES_MAX / 50_000 + 10;
        (0..count).for_each(|n| outbox.put(Letter::Log(vec![n as u8; 50_000])));
        let mut seen = Vec::new();
        while let Next::Parcel(parcel) = outbox.take(Duration::ZERO) {
            assert!(parcel.len() <= REPLICA_PARCEL_BYTES_MAX);
            seen.extend(unpack(&parcel).unwrap());
        }
        assert!(seen.len() < count && seen.len() > count - 20);
        assert_eq!(seen.last(), Some(&Letter::Log(vec![(count - 1) as u8; 50_000])));
    }

    #[test]
    fn a_greeting_is_an_empty_parcel_and_a_closed_box_gives_nothing() {
        let outbox = Outbox::default();
        outbox.greet();
        assert_eq!(outbox.take(Duration::ZERO), Next::Parcel(Vec::new()));
        outbox.put(Letter::Welcome(5));
        outbox.clear();
        assert_eq!(outbox.take(Duration::ZERO), Next::Nothing);
        outbox.close();
        assert_eq!(outbox.take(Duration::from_secs(60)), Next::Closed);
    }
}
