//! Which other nodes are reached, and in which incarnation.
//!
//! ```text
//!   session begins ──► linked ── Hello{incarnation} ──► greeted ── the log says the same ──► up
//!                        ▲                                                                    │
//!                        └── the session ends, or the log says that the incarnation is over ──┘
//! ```
//! What a node says of its endpoints counts only while it is *up*: one that was taken for lost and does not
//! know it yet says nothing that is believed. What came a little before the log said so here waits. Pure:
//! the daemon, and the simulated one, carry out what is returned.

use dvs_abi::NodeId;
use dvs_abi::limits::EARLY_RECORDS_MAX;
use dvs_control::epoch::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the ways to other nodes; `R` = what they say of their endpoints.
///
/// ```
/// use dvs_abi::NodeId;
/// use dvs_control::epoch::Epoch;
/// use dvs_radar::links::{Links, Said};
/// let (mut links, node, lives) = (Links::default(), NodeId(1), Some(Epoch(7)));
/// links.linked(node);
/// links.greets(node, Epoch(7));
/// assert_eq!(links.says(node, "early"), Said::Waits, "the log does not know it yet");
/// assert_eq!(links.review(node, lives), Some(vec!["early"]));
/// assert_eq!(links.says(node, "late"), Said::Counts("late"));
/// assert!(links.lost(node), "callers are to be told");
/// ```
#[derive(Debug)]
pub struct Links<R> {
    linked: BTreeSet<NodeId>,
    greeted: BTreeMap<NodeId, Epoch>,
    up: BTreeSet<NodeId>,
    early: BTreeMap<NodeId, Vec<R>>,
}

impl<R> Default for Links<R> {
    fn default() -> Self {
        let (linked, greeted) = (BTreeSet::new(), BTreeMap::new());
        Links { linked, greeted, up: BTreeSet::new(), early: BTreeMap::new() }
    }
}

/// What becomes of what a node said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said<R> {
    /// It counts.
    Counts(R),
    /// It waits until the log knows the node's incarnation.
    Waits,
    /// The node has not said who it is: it does not count.
    Nothing,
    /// More waits than can be kept: the session is to be given up.
    TooMuch,
}

impl<R> Links<R> {
    /// Whether a node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.up.contains(&node)
    }

    /// The nodes that are up.
    pub fn all_up(&self) -> Vec<NodeId> {
        self.up.iter().copied().collect()
    }

    /// The nodes with which there is a session.
    pub fn all_linked(&self) -> Vec<NodeId> {
        self.linked.iter().copied().collect()
    }

    /// The incarnation a node says it is.
    pub fn greeted(&self, node: NodeId) -> Option<Epoch> {
        self.greeted.get(&node).copied()
    }

    /// A session with a node began: it is to be greeted.
    pub fn linked(&mut self, node: NodeId) {
        self.linked.insert(node);
    }

    /// It ended; whether the node was up, as in [`Links::lost`].
    pub fn unlinked(&mut self, node: NodeId) -> bool {
        self.linked.remove(&node);
        self.greeted.remove(&node);
        self.lost(node)
    }

    /// A node says in which incarnation it is; whether it was up in another one, as in [`Links::lost`].
    /// [`Links::review`] comes next.
    pub fn greets(&mut self, node: NodeId, incarnation: Epoch) -> bool {
        let other = self.greeted.insert(node, incarnation).is_some_and(|old| old != incarnation);
        other && self.lost(node)
    }

    /// Whether a node is up by now, and was not: then what it said before that counts, in this order.
    /// `lives` = its incarnation by the log. Not to be asked before this node has begun itself.
    pub fn review(&mut self, node: NodeId, lives: Option<Epoch>) -> Option<Vec<R>> {
        let says = self.greeted.get(&node).copied();
        if says.is_none() || says != lives || !self.up.insert(node) {
            return None;
        }
        Some(self.early.remove(&node).unwrap_or_default())
    }

    /// A node says something of its endpoints.
    pub fn says(&mut self, node: NodeId, record: R) -> Said<R> {
        if self.up.contains(&node) {
            return Said::Counts(record);
        }
        if !self.greeted.contains_key(&node) {
            return Said::Nothing;
        }
        let early = self.early.entry(node).or_default();
        if early.len() >= EARLY_RECORDS_MAX {
            early.clear();
            return Said::TooMuch;
        }
        early.push(record);
        Said::Waits
    }

    /// This node was taken for lost, and will be another one: none is up until it has begun anew and says so,
    /// or what is bound here meanwhile would be said in the name of who it was, which counts nowhere. Those
    /// that were up, as in [`Links::lost`]; what waits goes on waiting.
    pub fn begins_anew(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.up).into_iter().collect()
    }

    /// What was known of a node's endpoints is nothing any more; whether it was up, so that callers are to be
    /// told.
    pub fn lost(&mut self, node: NodeId) -> bool {
        self.early.remove(&node);
        self.up.remove(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, Said};
    use dvs_abi::NodeId;
    use dvs_abi::limits::EARLY_RECORDS_MAX;
    use dvs_control::epoch::Epoch;

    const NODE: NodeId = NodeId(3);

    #[test]
    fn a_node_counts_only_in_the_incarnation_the_log_has() {
        let mut l = Links::default();
        l.linked(NODE);
        assert_eq!((l.says(NODE, 1), l.review(NODE, Some(Epoch(5)))), (Said::Nothing, None));
        assert!(!l.greets(NODE, Epoch(5)));
        assert_eq!(l.review(NODE, None), None);
        assert_eq!(l.review(NODE, Some(Epoch(4))), None);
        assert_eq!((l.says(NODE, 2), l.review(NODE, Some(Epoch(5)))), (Said::Waits, Some(vec![2])));
        assert_eq!(l.review(NODE, Some(Epoch(5))), None, "once");
        assert!(!l.greets(NODE, Epoch(5)) && l.is_up(NODE));
        assert!(l.greets(NODE, Epoch(9)) && !l.is_up(NODE), "another life");
        assert_eq!(l.review(NODE, Some(Epoch(9))), Some(vec![]));
        assert!(l.unlinked(NODE) && !l.unlinked(NODE));
        assert_eq!((l.greeted(NODE), l.all_linked()), (None, vec![]));
    }

    #[test]
    fn who_begins_anew_finds_all_others_anew() {
        let mut l = Links::default();
        l.linked(NODE);
        l.greets(NODE, Epoch(5));
        assert_eq!(l.review(NODE, Some(Epoch(5))), Some(vec![]));
        assert_eq!((l.begins_anew(), l.begins_anew()), (vec![NODE], vec![]));
        // What is said until then is not lost, and with the begin it is told all once more.
        assert_eq!((l.says(NODE, 7), l.all_linked()), (Said::Waits, vec![NODE]));
        assert_eq!(l.review(NODE, Some(Epoch(5))), Some(vec![7]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut l = Links::default();
        l.greets(NODE, Epoch(5));
        assert!((0..EARLY_RECORDS_MAX).all(|n| l.says(NODE, n) == Said::Waits));
        assert_eq!(l.says(NODE, 0), Said::TooMuch);
        assert!(!l.lost(NODE));
    }
}
