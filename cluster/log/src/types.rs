//! The types the consensus library is made to work with, and the runtime it runs on.
//!
//! A batch tells whoever handed it over whether it has reached the log: before that it is certain that it was
//! not done.

use crate::record::Commands;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use crate::runtime::Runtime;

/// Node identifiers of the library.
pub(crate) type Nid = u64;

/// Nothing is kept beside a node's identifier: how to reach it is the network's business.
pub(crate) type Nothing = openraft::EmptyNode;

/// Commands that travel and are decided together.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Batch {
    pub commands: Commands,
    #[serde(skip)]
    written: Option<Arc<AtomicBool>>,
}

impl Batch {
    /// As read back from a log or received.
    pub fn plain(commands: Commands) -> Self {
        Batch { commands, written: None }
    }

    /// As handed over by a proposer, and the mark that is set as soon as it may reach the log.
    pub fn marked(commands: Commands) -> (Self, Arc<AtomicBool>) {
        let mark = Arc::new(AtomicBool::new(false));
        (Batch { commands, written: Some(mark.clone()) }, mark)
    }

    /// Sets the mark.
    pub fn reaches_log(&self) {
        if let Some(mark) = &self.written {
            mark.store(true, Ordering::SeqCst);
        }
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.commands == other.commands
    }
}

/// The answers to a batch, in the order of its commands.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Answers(pub Vec<Vec<u8>>);

/// The library's view of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Batch;
    type R = Answers;
    type NodeId = Nid;
    type Node = Nothing;
    type Entry = openraft::Entry<Types>;
    type SnapshotData = Vec<u8>;
    type AsyncRuntime = Runtime;
    type Responder = openraft::impls::OneshotResponder<Types>;
}

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type LogId = openraft::LogId<Nid>;
pub(crate) type Vote = openraft::Vote<Nid>;
pub(crate) type Membership = openraft::Membership<Nid, Nothing>;
pub(crate) type StoredMembership = openraft::StoredMembership<Nid, Nothing>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<Nid, Nothing>;
pub(crate) type Snapshot = openraft::Snapshot<Types>;
pub(crate) type Metrics = openraft::RaftMetrics<Nid, Nothing>;
pub(crate) type StorageError = openraft::StorageError<Nid>;
