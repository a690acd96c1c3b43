//! What follows from a command: every node hears the same changes in the same order, and does what concerns
//! it.

use crate::epoch::Epoch;
use crate::slots::SlotChange;
use dvs_abi::{DcId, NodeId};

/// One change of the replicated state.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Change {
    /// A node was admitted.
    Admitted { node: NodeId },
    /// A node serves, in this incarnation; whatever it had in an earlier one is over.
    Up { node: NodeId, incarnation: Epoch },
    /// That is over: it is lost.
    Down { node: NodeId, incarnation: Epoch },
    /// A node is forgotten.
    Left { node: NodeId },
    /// Nothing new is to be placed on a node, or again.
    Draining { node: NodeId, on: bool },
    /// A container began, with this epoch.
    Created { dc: DcId, born: Epoch },
    /// A container ended.
    Ended { dc: DcId },
    /// A container may run on a node, or no longer: then the node ends its programs of it, gives all its
    /// slots and retires its instances.
    Allowed { dc: DcId, node: NodeId, on: bool },
    /// Slots of a container.
    Slots { dc: DcId, change: SlotChange },
    /// A service was declared, or declared anew. A node that may have no instance any more ends and retires
    /// it.
    Declared { dc: DcId, slot: i32 },
    /// A service is no more. Nodes end and retire their instances.
    Withdrawn { dc: DcId, slot: i32 },
    /// A node has an instance of a service, or another one than before, or it is in step now or no longer.
    Offered { dc: DcId, slot: i32, node: NodeId, in_step: bool },
    /// A node's instance of a service has ended, with all it had taken up.
    Gone { dc: DcId, slot: i32, node: NodeId },
    /// Callers of a service go to this node, and no longer anywhere else.
    Placed { dc: DcId, slot: i32, node: NodeId, epoch: Epoch },
    /// Callers of a service wait from here on.
    Held { dc: DcId, slot: i32, epoch: Epoch },
}
