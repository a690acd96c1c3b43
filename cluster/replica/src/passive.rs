//! Replication by changes: one replica runs the server, the log has what its requests changed.
//!
//! ```text
//!   primary                             log              every replica
//!   plan(request) ─► change, answer ──► base, change ──► base is the version? ─ yes ─► change, answer kept
//!        ▲                                                     │ no: another change came first
//!        └───────────────────── Replan ────────────────────────┘
//! ```
//! Planning changes nothing, so a primary that was deposed between plan and log has nothing to take back.
//! Which node is primary is not asked here: a plan of one that is no longer is based on an old version, and
//! refused by all.

use crate::bytes::Bytes;
use crate::call::{CallName, Caller, Done};
use crate::duplicates::{Duplicates, Verdict};
use dvs_abi::{DcId, Endpoint};
use serde::{Deserialize, Serialize};

/// A server that can say what a request would change.
pub trait Server {
    /// What a request would change, and its answer. May look at clocks, chance and files: it runs once, on
    /// one node.
    fn plan(&self, caller: &Caller, request: &[u8]) -> Plan;

    /// Makes a change that was planned on this very state.
    fn change(&mut self, change: &[u8]);

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// Becomes a state that was taken on any replica, of this or an older version.
    ///
    /// # Errors
    /// These bytes are no such state.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// What a request would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What changes; `None` for nothing: then nothing goes into the log.
    pub change: Option<Vec<u8>>,
    /// What is answered once it has changed.
    pub answer: Vec<u8>,
}

/// What a call has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Planned {
    /// Put into the log; what comes of it is what the caller is told, or it is planned anew.
    Log(Vec<u8>),
    /// The same in several entries, one after the other; the last one says what comes of it.
    Parts(Vec<Vec<u8>>),
    /// Told this; it was planned after a read barrier of the log.
    Done(Done),
}

/// A state that cannot be taken over.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum StateError {
    /// It is not a snapshot of a replica.
    #[error("this is no snapshot of a replica, or one of another version")]
    Malformed,
    /// The server cannot read its part.
    #[error("the server cannot read its state: {0}")]
    Server(String),
}

/// An entry of the log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Entry {
    name: CallName,
    /// The version it was planned on.
    base: u64,
    change: Vec<u8>,
    answer: Vec<u8>,
}

/// A replica of a passive server, as a state machine over a log.
#[derive(Clone, Debug)]
pub struct Passive<S> {
    server: S,
    /// How many changes were made.
    version: u64,
    duplicates: Duplicates,
}

impl<S: Server> Passive<S> {
    /// A replica that has seen no change yet.
    pub fn new(server: S) -> Self {
        Passive { server, version: 0, duplicates: Duplicates::default() }
    }

    /// The server, to be looked at.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// The answer to a request that changes nothing; `None` if it would. The state has to be recent enough.
    pub fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        let nobody = Caller { dc: DcId(0), endpoint: Endpoint::NONE, binding: 0 };
        let plan = self.server.plan(&nobody, request);
        plan.change.is_none().then_some(plan.answer)
    }

    /// On the primary: what has to become of a call.
    pub fn plan(&self, name: CallName, request: &[u8]) -> Planned {
        if let Verdict::Known(done) = self.duplicates.look(&name) {
            return Planned::Done(done);
        }
        let plan = self.server.plan(&name.caller, request);
        let Some(change) = plan.change else { return Planned::Done(Done::Answer(plan.answer)) };
        let entry = Entry { name, base: self.version, change, answer: plan.answer };
        // Plain data into memory cannot fail.
        Planned::Log(postcard::to_stdvec(&entry).unwrap_or_default())
    }

    /// Does an entry of the log; gives the encoded [`Done`].
    pub fn apply(&mut self, entry: &[u8]) -> Vec<u8> {
        let done = match postcard::take_from_bytes::<Entry>(entry) {
            Ok((entry, [])) => self.done(entry),
            _ => Done::Malformed,
        };
        done.encode()
    }

    fn done(&mut self, entry: Entry) -> Done {
        if let Verdict::Known(done) = self.duplicates.look(&entry.name) {
            return done;
        }
        if entry.base != self.version {
            return Done::Replan;
        }
        self.server.change(&entry.change);
        self.version += 1;
        self.duplicates.keep(&entry.name, &entry.answer);
        Done::Answer(entry.answer)
    }

    /// The whole state, duplicate table included.
    pub fn snapshot(&self) -> Vec<u8> {
        // Plain data into memory cannot fail.
        postcard::to_stdvec(&(Bytes(self.server.snapshot()), self.version, &self.duplicates))
            .unwrap_or_default()
    }

    /// Becomes a state that was taken.
    ///
    /// # Errors
    /// These bytes are no such state; then nothing has changed but what the server changed of itself.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), StateError> {
        let (Bytes(server), version, duplicates): (Bytes, u64, Duplicates) =
            postcard::from_bytes(snapshot).map_err(|_| StateError::Malformed)?;
        self.server.restore(&server).map_err(StateError::Server)?;
        (self.version, self.duplicates) = (version, duplicates);
        Ok(())
    }
}
