//! A service: a well-known endpoint of a container, with one or more instances.
//!
//! ```text
//!              Offer                      its node or it ends, another is in step
//!  Vacant ───────────────► Placed ────────────────────────────────────────────────┐
//!    ▲  ▲                   │  ▲  ▲                                                │
//!    │  └── it ends, and ───┘  │  └────────────────────────────────────────────────┘
//!    │      nobody is in step  │ Arrive on the new node (commit), or Undo, or its deadline (roll back)
//!    │                         │
//!    └─── its node ends ──── Moving ◄── Move
//! ```
//! (A source that has ended since its move began leaves `Vacant` behind; the target may still arrive then.)
//! Of a passive service `Switch` leads from `Placed` to `Placed`, at another instance in step.
//!
//! Callers wait while it is vacant (if it is to come back) and while it is moving. Every arrow into `Placed`
//! has an epoch of its own.

use crate::epoch::Epoch;
use dvs_abi::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use dvs_kern::control::Rule as PartitionRule;
pub use dvs_kern::node::service::Kind;

/// As its owner declared it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// At most `NAME_BYTES`.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// One bit a node where instances may be.
    pub nodes: u32,
    /// Rule.
    pub rule: PartitionRule,
}

impl ServiceSpec {
    /// Whether an instance may be on a node.
    pub fn allows(&self, node: NodeId) -> bool {
        u32::from(node.0) < u32::BITS && self.nodes & 1 << node.0 != 0
    }
}

/// Where callers go.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere: they wait.
    Vacant,
    /// To the instance on this node.
    At(NodeId),
    /// They wait: it moves.
    Moving {
        /// From here; it serves on if the move is undone.
        from: NodeId,
        /// To there.
        to: NodeId,
        /// The move: the epoch of its begin.
        number: Epoch,
        /// When it is undone if it is not over, ns of the system's clock.
        deadline: u64,
    },
}

/// One instance.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    /// The incarnation of its node in which it was offered.
    pub incarnation: Epoch,
    /// The place in the log where it was first offered: tells it from an earlier one on the same node.
    pub since: Epoch,
    /// It has all that was acknowledged, and can take over.
    pub in_step: bool,
}

/// A service.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// What was declared.
    pub spec: ServiceSpec,
    /// Where callers go, since when.
    pub place: Place,
    /// The epoch of the place.
    pub epoch: Epoch,
    /// By node. Some may be where none may be any more: they are about to retire.
    pub instances: BTreeMap<NodeId, Instance>,
    /// It is no more, as soon as its instances have retired.
    pub withdrawn: bool,
    /// The target of the last move and its number, until callers go anywhere: also when its source is gone,
    /// it may have all there is.
    pub arrival: Option<(NodeId, Epoch)>,
}

impl Service {
    /// One without an instance.
    pub fn new(spec: ServiceSpec, epoch: Epoch) -> Self {
        let instances = BTreeMap::new();
        Service { spec, place: Place::Vacant, epoch, instances, withdrawn: false, arrival: None }
    }

    /// The node whose instance callers are sent to.
    pub fn at(&self) -> Option<NodeId> {
        match self.place {
            Place::At(node) => Some(node),
            Place::Vacant | Place::Moving { .. } => None,
        }
    }

    /// Who could take over: the instance in step on the lowest node.
    pub(crate) fn heir(&self) -> Option<NodeId> {
        let able = |node: &NodeId, i: &Instance| i.in_step && !self.withdrawn && self.spec.allows(*node);
        self.instances.iter().find(|(node, i)| able(node, i)).map(|(node, _)| *node)
    }
}
