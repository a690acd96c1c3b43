//! The life that a message between nodes is for. The network may lose, delay, double and mix messages, but
//! one must not be doubled over a restart of its receiver, which is what a log relies on: each names the life
//! of both its nodes, and one for another life is dropped. (Between real nodes a session does that.)

use dvs_abi::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What every message begins with.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The life of the sender.
    mine: u64,
    /// That of the receiver; 0 if the sender does not know it: then this is a greeting.
    yours: u64,
}

/// The lives of the other nodes, as far as a node knows them.
#[derive(Debug, Default)]
pub struct Lives {
    /// Of this life; rises from life to life.
    mine: u64,
    theirs: BTreeMap<NodeId, u64>,
}

impl Lives {
    /// Of a node that starts now, by its clock.
    pub fn new(now: u64) -> Self {
        Lives { mine: now.max(1), theirs: BTreeMap::new() }
    }

    /// The header of a message to a node.
    pub fn header(&self, to: NodeId) -> Header {
        Header { mine: self.mine, yours: self.theirs.get(&to).copied().unwrap_or(0) }
    }

    /// A message came: whether it is for this life, and whether to answer it with a greeting.
    pub fn hear(&mut self, from: NodeId, header: Header) -> (bool, bool) {
        let Header { mine: theirs, yours } = header;
        if theirs < self.header(from).yours {
            return (false, false);
        }
        self.theirs.insert(from, theirs);
        (yours == self.mine, yours != self.mine)
    }
}
