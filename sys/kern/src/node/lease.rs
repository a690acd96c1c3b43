//! Who may hand out which user slots, so that binding a free slot never asks another node.
//!
//! The user slots of a container are cut into as many equal ranges as the node list is long; the node at
//! position `i` hands out from range `i`. A control plane that leases ranges as they are needed takes the
//! place of this type.

use std::ops::Range;

/// The range of user slots a node hands out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotLease {
    range: Range<i32>,
    next: i32,
}

impl SlotLease {
    /// The lease of the node at `position` among `nodes`, out of the user slots `first..end`.
    ///
    /// ```
    /// use dvs_kern::node::lease::SlotLease;
    /// assert_eq!(SlotLease::cut(29, 129, 1, 2).range(), &(79..129));
    /// assert_eq!(SlotLease::cut(29, 30, 0, 2).range(), &(29..29), "more nodes than slots");
    /// ```
    pub fn cut(first: i32, end: i32, position: usize, nodes: usize) -> Self {
        let total = (end - first).max(0) as i64;
        let at = |i: usize| first + (total * i as i64 / nodes.max(1) as i64) as i32;
        let range = at(position)..at(position + 1);
        SlotLease { next: range.start, range }
    }

    /// The slots.
    pub fn range(&self) -> &Range<i32> {
        &self.range
    }

    /// A free slot, the one that has been free longest first (roughly: round and round).
    pub fn take(&mut self, is_free: impl Fn(i32) -> bool) -> Option<i32> {
        let len = self.range.len() as i32;
        for _ in 0..len {
            let slot = self.next;
            self.next = if slot + 1 >= self.range.end { self.range.start } else { slot + 1 };
            if is_free(slot) {
                return Some(slot);
            }
        }
        None
    }
}
