//! How entries, votes, members and snapshots are written on disk and sent: our own forms, so that neither
//! depends on the library's. What is read is checked before it becomes one of the library's values.

use crate::types::{Batch, Entry, LogId, Membership, SnapshotMeta, StoredMembership, Vote};
use dvs_abi::limits::{LOG_ENTRY_BYTES_MAX, LOG_ENTRY_COMMANDS_MAX, LOG_VOTERS_MAX, NODES_MAX};
use openraft::{CommittedLeaderId, EntryPayload};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Commands of one entry.
pub(crate) type Commands = Vec<Vec<u8>>;

/// A vote: for whom, in which term, and whether a majority gave the same.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ballot {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// Terms and indices are counted up from zero, one by one: no group comes this far.
const COUNT_MAX: u64 = 1 << 56;

impl Ballot {
    /// Whether there can be such a one.
    pub fn can_be(&self) -> bool {
        self.term < COUNT_MAX && self.node < NODES_MAX as u64
    }
}

impl Mark {
    /// Whether there can be such a one.
    pub fn can_be(&self) -> bool {
        self.term < COUNT_MAX && self.index < COUNT_MAX && self.node < NODES_MAX as u64
    }
}

impl From<&Vote> for Ballot {
    fn from(v: &Vote) -> Self {
        Ballot { term: v.leader_id.term, node: v.leader_id.node_id, committed: v.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(b: Ballot) -> Self {
        if b.committed { Vote::new_committed(b.term, b.node) } else { Vote::new(b.term, b.node) }
    }
}

/// The identity of an entry: its index, and who wrote it in which term.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mark {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

impl From<&LogId> for Mark {
    fn from(id: &LogId) -> Self {
        Mark { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<Mark> for LogId {
    fn from(m: Mark) -> Self {
        LogId::new(CommittedLeaderId::new(m.term, m.node), m.index)
    }
}

/// Members: one set of voters, or two while they change, and all nodes that get the log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Roster {
    voters: Vec<Vec<u64>>,
    nodes: Vec<u64>,
}

impl From<&Membership> for Roster {
    fn from(m: &Membership) -> Self {
        let voters = m.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect();
        Roster { voters, nodes: m.nodes().map(|(n, _)| *n).collect() }
    }
}

impl Roster {
    /// The members, if there can be such ones.
    pub fn checked(&self) -> Option<Membership> {
        let fits = |set: &Vec<u64>| !set.is_empty() && set.len() <= LOG_VOTERS_MAX;
        let known = |n: &u64| self.nodes.contains(n);
        if self.voters.len() > 2 || self.nodes.len() > NODES_MAX || !self.voters.iter().all(fits) {
            return None;
        }
        if !self.voters.iter().flatten().all(known) {
            return None;
        }
        let voters = self.voters.iter().map(|set| set.iter().copied().collect::<BTreeSet<_>>()).collect();
        let nodes: BTreeMap<_, _> = self.nodes.iter().map(|n| (*n, openraft::EmptyNode {})).collect();
        Some(Membership::new(voters, nodes))
    }
}

/// What an entry says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Blank,
    Commands(Commands),
    Members(Roster),
}

/// An entry.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub mark: Mark,
    pub body: Body,
}

impl From<&Entry> for Record {
    fn from(e: &Entry) -> Self {
        let body = match &e.payload {
            EntryPayload::Blank => Body::Blank,
            EntryPayload::Normal(batch) => Body::Commands(batch.commands.clone()),
            EntryPayload::Membership(m) => Body::Members(Roster::from(m)),
        };
        Record { mark: Mark::from(&e.log_id), body }
    }
}

impl Record {
    /// The entry, if there can be such a one.
    pub fn checked(self) -> Option<Entry> {
        let payload = match self.body {
            Body::Blank => EntryPayload::Blank,
            Body::Commands(commands) => {
                let bytes: usize = commands.iter().map(Vec::len).sum();
                if commands.len() > LOG_ENTRY_COMMANDS_MAX || bytes > LOG_ENTRY_BYTES_MAX {
                    return None;
                }
                EntryPayload::Normal(Batch::plain(commands))
            }
            Body::Members(roster) => EntryPayload::Membership(roster.checked()?),
        };
        Some(Entry { log_id: self.mark.into(), payload })
    }

    /// About how many bytes it has when sent.
    pub fn weight(&self) -> usize {
        32 + match &self.body {
            Body::Blank => 0,
            Body::Commands(commands) => commands.iter().map(|c| c.len() + 4).sum(),
            Body::Members(roster) => 16 * (roster.nodes.len() + LOG_VOTERS_MAX),
        }
    }
}

/// What a snapshot covers.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cover {
    last: Option<Mark>,
    roster_at: Option<Mark>,
    roster: Roster,
    name: String,
}

impl From<&SnapshotMeta> for Cover {
    fn from(meta: &SnapshotMeta) -> Self {
        let stored = &meta.last_membership;
        Cover {
            last: meta.last_log_id.as_ref().map(Mark::from),
            roster_at: stored.log_id().as_ref().map(Mark::from),
            roster: Roster::from(stored.membership()),
            name: meta.snapshot_id.clone(),
        }
    }
}

impl Cover {
    /// The last entry it covers.
    pub fn last(&self) -> Option<Mark> {
        self.last
    }

    /// The library's form, if there can be such a one.
    pub fn checked(&self) -> Option<SnapshotMeta> {
        let membership = self.roster.checked()?;
        if !self.last.iter().chain(&self.roster_at).all(Mark::can_be) {
            return None;
        }
        if self.name.len() > 128 || self.roster_at.map(|m| m.index) > self.last.map(|m| m.index) {
            return None;
        }
        Some(SnapshotMeta {
            last_log_id: self.last.map(LogId::from),
            last_membership: StoredMembership::new(self.roster_at.map(LogId::from), membership),
            snapshot_id: self.name.clone(),
        })
    }
}
