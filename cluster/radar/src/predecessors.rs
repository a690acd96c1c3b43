//! Nodes that may still serve, as they have not heard yet that they must not.
//!
//! The log can take a service from a node that is up: it moves away, or its container ends and another one
//! begins in its place. That node learns of it a little later than the one that takes over, and much later if
//! it was cut off at that moment. A node that was just sent a snapshot does not even know who served before.
//! The one that takes over waits until, for each node that may have served before,
//!
//! - it has said that it has applied the entry, or
//! - its incarnation is over (it is not declared lost before its lease is), or
//! - so much time has passed that it cannot hold a lease without having applied the entry ([`crate::lease`]).
//!
//! Where the log itself says that the one before has ended there is nobody to wait for: the common case.

use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_control::member::Member;
use dvs_control::state::State;
use std::collections::BTreeMap;

/// Who is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Waited {
    incarnation: Epoch,
    needs: Epoch,
    until: u64,
}

/// Those of one service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Predecessors {
    waited: BTreeMap<NodeId, Waited>,
}

impl Predecessors {
    /// A node in this incarnation may serve until it has applied `needs`, and not later than `until`.
    pub(crate) fn add(&mut self, node: NodeId, incarnation: Epoch, needs: Epoch, until: u64) {
        let w = self.waited.entry(node).or_insert(Waited { incarnation, needs, until });
        w.incarnation = w.incarnation.max(incarnation);
        w.needs = w.needs.max(needs);
        w.until = w.until.max(until);
    }

    /// Forgets who has stopped.
    pub(crate) fn settle(&mut self, state: &State, heard: &BTreeMap<NodeId, Epoch>, now: u64) {
        self.waited.retain(|node, w| {
            let lives = state.member(*node).and_then(Member::incarnation) == Some(w.incarnation);
            lives && heard.get(node).is_none_or(|h| *h < w.needs) && now < w.until
        });
    }

    /// Whether nobody is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.waited.is_empty()
    }

    /// When the next one is not waited for any longer.
    pub(crate) fn until(&self) -> Option<u64> {
        self.waited.values().map(|w| w.until).min()
    }
}
