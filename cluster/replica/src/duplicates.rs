//! The last answer of each caller, so that a call that is sent again is answered and not done again.
//!
//! A caller has one call under way, so its last answer is enough. It is part of the replicated state: every
//! replica keeps the same answers and forgets the same callers: beyond a bound, those that called longest
//! ago. Of a caller that is known to have ended the number of its last call is kept as long, so that an entry
//! that is still on its way to the log is not done a second time.
//!
//! Who is not in the table has not called yet, or was forgotten. As long as nobody was, it is new; after
//! that, one that sends a call *again* is told that nobody knows.

use crate::call::{CallName, Caller, Done};
use dvs_abi::limits::{REPLICA_CALLERS_MAX, REPLICA_KEPT_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The last call of a caller.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Last {
    number: u64,
    answer: Vec<u8>,
    /// When, in calls of all callers.
    at: u64,
}

/// What to do with a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is to be done, and [`Duplicates::keep`] to be told the answer.
    New,
    /// It is not.
    Known(Done),
}

/// The table.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Duplicates {
    last: BTreeMap<Caller, Last>,
    /// Callers by when they called last.
    order: BTreeMap<u64, Caller>,
    calls: u64,
    bytes: usize,
    /// Somebody was forgotten.
    forgot: bool,
}

impl Duplicates {
    /// How many callers it remembers.
    pub fn callers(&self) -> usize {
        self.last.len()
    }

    /// One that may have known callers it has forgotten: for a server that lost its memory, or may have.
    pub fn forgetful() -> Self {
        Duplicates { forgot: true, ..Duplicates::default() }
    }

    /// The last call of a caller, and its answer.
    pub fn last(&self, caller: &Caller) -> Option<(u64, &[u8])> {
        self.last.get(caller).map(|l| (l.number, l.answer.as_slice()))
    }

    /// The callers it remembers, who called last at the end.
    pub fn known(&self) -> impl Iterator<Item = &Caller> {
        self.order.values()
    }

    /// Whether a call was done.
    ///
    /// ```
    /// # use dvs_abi::{DcId, Endpoint};
    /// use dvs_replica::call::{CallName, Caller, Done};
    /// use dvs_replica::duplicates::{Duplicates, Verdict};
    /// let caller = Caller { dc: DcId(0), endpoint: Endpoint::new(1, 30), binding: 7 };
    /// let call = CallName { caller, number: 1, again: false };
    /// let mut table = Duplicates::default();
    /// assert_eq!(table.look(&call), Verdict::New);
    /// table.keep(&call, b"done");
    /// let again = CallName { again: true, ..call };
    /// assert_eq!(table.look(&again), Verdict::Known(Done::Answer(b"done".to_vec())));
    /// ```
    pub fn look(&self, call: &CallName) -> Verdict {
        match self.last.get(&call.caller) {
            Some(last) if last.number == call.number => Verdict::Known(Done::Answer(last.answer.clone())),
            Some(last) if last.number > call.number => Verdict::Known(Done::Late),
            None if call.again && self.forgot => Verdict::Known(Done::Unknown),
            Some(_) | None => Verdict::New,
        }
    }

    /// A call was done, with this answer.
    pub fn keep(&mut self, call: &CallName, answer: &[u8]) {
        self.put(call.caller, call.number, answer);
        while self.last.len() > REPLICA_CALLERS_MAX
            || self.bytes > REPLICA_KEPT_BYTES_MAX && self.last.len() > 1
        {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = *oldest;
            self.take(&oldest);
            self.forgot = true;
        }
    }

    fn put(&mut self, caller: Caller, number: u64, answer: &[u8]) {
        self.take(&caller);
        self.calls += 1;
        self.bytes += answer.len();
        self.order.insert(self.calls, caller);
        self.last.insert(caller, Last { number, answer: answer.to_vec(), at: self.calls });
    }

    fn take(&mut self, caller: &Caller) -> Option<Last> {
        let last = self.last.remove(caller)?;
        self.order.remove(&last.at);
        self.bytes -= last.answer.len();
        Some(last)
    }

    /// A caller has ended: nobody waits for its answer.
    pub fn ended(&mut self, caller: &Caller) {
        if self.last.contains_key(caller) {
            // Whatever of it still comes is late.
            self.put(*caller, u64::MAX, b"");
        }
    }
}
