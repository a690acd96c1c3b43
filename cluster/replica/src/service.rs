//! What a replica does with a request, whichever way its server is replicated.

use crate::active::{self, Active};
use crate::call::{CallName, Done};
use crate::passive::{self, Passive, Planned};
use dvs_log::Machine;

/// A server that is replicated: a machine over a log that knows how its calls get into it.
pub trait Service: Machine {
    /// Whether calls are planned on the state: then one after the other, each after a read barrier.
    const PLANS: bool;

    /// What has to become of a call.
    fn prepare(&self, name: CallName, request: &[u8]) -> Planned;

    /// The answer to a request that changes nothing; `None` if it might.
    fn query(&self, request: &[u8]) -> Option<Vec<u8>>;
}

impl<S: active::Server + Send + 'static> Machine for Active<S> {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        self.apply(command)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.restore(snapshot).map_err(|e| e.to_string())
    }
}

impl<S: active::Server + Send + 'static> Service for Active<S> {
    const PLANS: bool = false;

    fn prepare(&self, name: CallName, request: &[u8]) -> Planned {
        active::entries(name, request)
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.query(request)
    }
}

impl<S: passive::Server + Send + 'static> Machine for Passive<S> {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        self.apply(command)
    }

    fn snapshot(&self) -> Vec<u8> {
        self.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.restore(snapshot).map_err(|e| e.to_string())
    }
}

impl<S: passive::Server + Send + 'static> Service for Passive<S> {
    const PLANS: bool = true;

    fn prepare(&self, name: CallName, request: &[u8]) -> Planned {
        self.plan(name, request)
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.query(request)
    }
}

/// What a caller is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server's answer.
    Answer(Vec<u8>),
    /// Whether it was done is not known any more, or not yet.
    Unknown,
    /// Not done: nobody leads the group.
    NoLeader,
    /// Not done: too few replicas are there.
    NoQuorum,
    /// Not done: too much waits here.
    Full,
    /// Not done: this replica is cut off, and by the service's rule it answers only what changes nothing.
    ReadOnly,
    /// Not done: it is no request, or a query that is none.
    Malformed,
    /// Not done: it is larger than is carried.
    TooLarge,
    /// This replica has ended; not done here.
    Ended,
    /// This replica has ended; whether it was done is not known.
    EndedUnknown,
    /// Done, but the server's answer is larger than is carried.
    AnswerTooLarge,
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        match done {
            Done::Answer(answer) => Outcome::Answer(answer),
            Done::Unknown | Done::Late | Done::Replan | Done::Incomplete => Outcome::Unknown,
            Done::Malformed => Outcome::Malformed,
        }
    }
}
