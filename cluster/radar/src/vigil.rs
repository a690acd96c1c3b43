//! When the leader may declare a node lost: once every lease it may hold is over.
//!
//! A node may hold a lease this leader granted, or one of a leader before it, granted at the latest when this
//! one was elected (an earlier leader grants nothing that a quorum has not confirmed after it was asked, and
//! from the election on none does).

use crate::lease::Terms;
use dvs_abi::NodeId;
use std::collections::BTreeMap;

/// What a leader knows of the leases of others. Times are ns of its clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vigil {
    terms: Terms,
    elected: u64,
    granted: BTreeMap<NodeId, u64>,
}

impl Vigil {
    /// Of a leader that has just been elected.
    pub fn new(terms: Terms, now: u64) -> Self {
        Vigil { terms, elected: now, granted: BTreeMap::new() }
    }

    /// A node was granted its lease once more. Called before the answer is sent.
    pub fn granted(&mut self, node: NodeId, now: u64) {
        let last = self.granted.entry(node).or_default();
        *last = now.max(*last);
    }

    /// When every lease a node may hold is over, if it is granted no further one.
    pub fn over_at(&self, node: NodeId) -> u64 {
        let last = self.granted.get(&node).copied().unwrap_or_default();
        last.max(self.elected).saturating_add(self.terms.wait_ns())
    }

    /// Whether that is so now.
    pub fn over(&self, node: NodeId, now: u64) -> bool {
        self.over_at(node) <= now
    }

    /// A node has left.
    pub fn forget(&mut self, node: NodeId) {
        self.granted.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_waits_for_what_an_earlier_one_may_have_granted() {
        let terms = Terms::new(1000, 100, 0).unwrap();
        let mut v = Vigil::new(terms, 500);
        assert!(!v.over(NodeId(3), 1499) && v.over(NodeId(3), 1500));
        v.granted(NodeId(3), 600);
        v.granted(NodeId(3), 550);
        assert!(!v.over(NodeId(3), 1599) && v.over(NodeId(3), 1600));
        v.forget(NodeId(3));
        assert!(v.over(NodeId(3), 1500));
    }
}
