//! The list of replicas: who sits where, as the group has decided it. Pure.
//!
//! ```text
//!             Add                        Remove                       Gone
//!   (no seat) ───► sits: is to be one ─────────► leaves: votes until ─────► (no seat)
//!                  of the group's voters ◄──────  it is out of the group
//!                                          Add
//! ```
//! Each change makes the next version and stands in the log as the whole list, so that who is new needs no
//! other. It is done only if it follows the version before: of two that are wanted at once one is decided,
//! the other is to be thought over. Version 0 is what the replicas were founded with, the same everywhere,
//! and stands in no log. A seat that was left is taken again as late as can be: whoever had it may not know
//! yet.

use dvs_abi::NodeId;
use dvs_abi::limits::REPLICA_SEATS_MAX;
use serde::{Deserialize, Serialize};

/// Who has a seat.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sitter {
    /// Its node.
    pub node: NodeId,
    /// The version of the list that gave it the seat: a node that comes back is another replica.
    pub since: u64,
    /// It is to go.
    pub leaves: bool,
}

/// The list.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct List {
    version: u64,
    seats: [Option<Sitter>; REPLICA_SEATS_MAX],
}

/// What is to become of it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// This node is to have a replica, or to keep it.
    Add(NodeId),
    /// The replica of this node is to go.
    Remove(NodeId),
    /// It is out of the group.
    Gone(NodeId),
}

/// Why a change is none.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is there already.
    #[error("{0} has a replica already")]
    There(NodeId),
    /// It is not there.
    #[error("{0} has no replica")]
    NotThere(NodeId),
    /// It leaves already.
    #[error("the replica of {0} leaves already")]
    Leaves(NodeId),
    /// There is no seat for it.
    #[error("a service has at most {REPLICA_SEATS_MAX} replicas, those that leave included")]
    Full,
    /// There would be none.
    #[error("{0} has the last replica")]
    Last(NodeId),
    /// Too few of those that stay can be reached.
    #[error("without {node} only {there} of {of} replicas would be there: too few to decide anything")]
    TooFew {
        /// Whose replica was to go.
        node: NodeId,
        /// Who runs and has a vote,
        there: usize,
        /// of so many.
        of: usize,
    },
}

impl List {
    /// What a group is founded with, one seat after the other; who is too many has none.
    ///
    /// ```
    /// use dvs_abi::NodeId;
    /// use dvs_replica::list::{Change, List, Refusal};
    /// let list = List::founding(&[NodeId(4), NodeId(2)]);
    /// let more = list.with(Change::Add(NodeId(7)))?;
    /// assert_eq!((more.version(), more.of(NodeId(7))), (1, Some(2)));
    /// let leaves = more.with(Change::Remove(NodeId(4)))?;
    /// assert_eq!(leaves.of(NodeId(4)), Some(0), "until it is out");
    /// assert_eq!(leaves.with(Change::Gone(NodeId(4)))?.of(NodeId(4)), None);
    /// assert_eq!(more.with(Change::Add(NodeId(2))), Err(Refusal::There(NodeId(2))));
    /// # Ok::<(), Refusal>(())
    /// ```
    pub fn founding(nodes: &[NodeId]) -> List {
        let mut seats = [None; REPLICA_SEATS_MAX];
        for (seat, node) in seats.iter_mut().zip(nodes) {
            *seat = Some(Sitter { node: *node, since: 0, leaves: false });
        }
        List { version: 0, seats }
    }

    /// How often it was changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The seats that are taken, and by whom.
    pub fn sitters(&self) -> impl Iterator<Item = (usize, Sitter)> {
        self.seats.iter().enumerate().filter_map(|(seat, s)| Some((seat, (*s)?)))
    }

    /// Who has a seat.
    pub fn sitter(&self, seat: usize) -> Option<Sitter> {
        self.seats.get(seat).copied().flatten()
    }

    /// The node of a seat.
    pub fn node(&self, seat: usize) -> Option<NodeId> {
        self.sitter(seat).map(|s| s.node)
    }

    /// The seat of a node.
    pub fn of(&self, node: NodeId) -> Option<usize> {
        self.sitters().find(|(_, s)| s.node == node).map(|(seat, _)| seat)
    }

    /// The node as it sits here.
    pub fn sitter_of(&self, node: NodeId) -> Option<Sitter> {
        self.sitters().find(|(_, s)| s.node == node).map(|(_, s)| s)
    }

    /// Those that stay.
    pub fn staying(&self) -> impl Iterator<Item = NodeId> {
        self.sitters().filter(|(_, s)| !s.leaves).map(|(_, s)| s.node)
    }

    /// The list after a change.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn with(&self, change: Change) -> Result<List, Refusal> {
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        let (Change::Add(node) | Change::Remove(node) | Change::Gone(node)) = change;
        match (change, self.of(node), self.sitter_of(node).is_some_and(|s| s.leaves)) {
            (Change::Add(_), Some(_), false) => return Err(Refusal::There(node)),
            (Change::Add(_), Some(seat), true) => next.set_leaves(seat, false),
            (Change::Add(_), None, _) => {
                let seat = self.free().ok_or(Refusal::Full)?;
                next.seats[seat] = Some(Sitter { node, since: next.version, leaves: false });
            }
            (_, None, _) => return Err(Refusal::NotThere(node)),
            (Change::Remove(_), Some(_), true) => return Err(Refusal::Leaves(node)),
            (Change::Remove(_), Some(_), false) if self.staying().count() == 1 => {
                return Err(Refusal::Last(node));
            }
            (Change::Remove(_), Some(seat), false) => next.set_leaves(seat, true),
            (Change::Gone(_), Some(_), false) => return Err(Refusal::There(node)),
            (Change::Gone(_), Some(seat), true) => next.seats[seat] = None,
        }
        Ok(next)
    }

    fn set_leaves(&mut self, seat: usize, leaves: bool) {
        if let Some(sitter) = self.seats[seat].as_mut() {
            sitter.leaves = leaves;
        }
    }

    /// The seat for the next one: behind the one that was given last, around.
    fn free(&self) -> Option<usize> {
        let last = self.sitters().max_by_key(|(seat, s)| (s.since, *seat)).map_or(0, |(seat, _)| seat + 1);
        (0..REPLICA_SEATS_MAX)
            .map(|n| (last + n) % REPLICA_SEATS_MAX)
            .find(|seat| self.seats[*seat].is_none())
    }

    /// Whether a service can have it: somebody stays, and nobody is in it twice.
    pub fn is_sound(&self) -> bool {
        let once = self.sitters().all(|(seat, s)| self.of(s.node) == Some(seat) && s.since <= self.version);
        once && self.staying().next().is_some()
    }
}

impl std::fmt::Display for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "version {}", self.version)?;
        for (seat, Sitter { node, since, leaves }) in self.sitters() {
            let leaves = if leaves { " leaves" } else { "" };
            writeln!(f, "seat {seat} node {} since {since}{leaves}", node.0)?;
        }
        Ok(())
    }
}

impl List {
    /// Reads what [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Option<List> {
        let mut lines = text.lines();
        let version = lines.next()?.strip_prefix("version ")?.parse().ok()?;
        let mut list = List { version, seats: [None; REPLICA_SEATS_MAX] };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let (["seat", seat, "node", node, "since", since, rest @ ..], leaves) =
                (&words[..], words.last() == Some(&"leaves"))
            else {
                return None;
            };
            if rest.len() != usize::from(leaves) {
                return None;
            }
            let node = NodeId(node.parse().ok()?);
            let sitter = Sitter { node, since: since.parse().ok()?, leaves };
            *list.seats.get_mut(seat.parse::<usize>().ok()?)? = Some(sitter);
        }
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn the_last_one_stays_and_a_seat_that_was_left_is_taken_late() {
        let n = NodeId;
        let list = List::founding(&[n(0), n(1)]);
        let left = list.with(Change::Remove(n(0))).unwrap();
        assert_eq!(left.with(Change::Remove(n(1))), Err(Refusal::Last(n(1))));
        assert_eq!(left.with(Change::Remove(n(0))), Err(Refusal::Leaves(n(0))));
        assert_eq!(list.with(Change::Remove(n(5))), Err(Refusal::NotThere(n(5))));
        let mut list = left.with(Change::Gone(n(0))).unwrap();
        for (node, seat) in [(2, 2), (3, 3), (4, 4), (5, 0)] {
            list = list.with(Change::Add(n(node))).unwrap();
            assert_eq!(list.of(n(node)), Some(seat));
        }
        assert_eq!(list.with(Change::Add(n(6))), Err(Refusal::Full));
    }

    #[test]
    fn whoever_is_to_leave_may_stay_after_all() {
        let list = List::founding(&[NodeId(0), NodeId(1)]);
        let back = list.with(Change::Remove(NodeId(0))).unwrap().with(Change::Add(NodeId(0))).unwrap();
        assert_eq!(back.sitter_of(NodeId(0)), list.sitter_of(NodeId(0)));
    }

    proptest! {
        #[test]
        fn every_change_of_a_sound_list_gives_a_sound_one(
            changes in proptest::collection::vec((0..3_u8, 0..8_u16), 0..60),
        ) {
            let mut list = List::founding(&[NodeId(0), NodeId(1), NodeId(2)]);
            for (kind, node) in changes {
                let node = NodeId(node);
                let change = [Change::Add(node), Change::Remove(node), Change::Gone(node)][kind as usize];
                if let Ok(next) = list.with(change) {
                    prop_assert!(next.is_sound());
                    prop_assert_eq!(next.version(), list.version() + 1);
                    list = next;
                }
            }
        }

        #[test]
        fn any_bytes_are_a_list_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(list) = postcard::from_bytes::<List>(&bytes) {
                let _ = (list.is_sound(), list.with(Change::Add(NodeId(1))));
            }
        }
    }
}
