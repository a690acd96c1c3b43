//! User slots of a container between a node and whoever decides about all of them.
//!
//! ```text
//!   this node: Holding ── SlotRequest ──► what all nodes agree on (a pool a container)
//!                      ◄── SlotChange ───
//! ```
//! Only this node's side is here, and the words both use.

mod holding;

pub use holding::Holding;

use dvs_abi::NodeId;
use serde::{Deserialize, Serialize};

/// A node wants slots.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Rises with each ask of the node; its answer names it.
    pub number: u64,
    /// How many.
    pub slots: u32,
    /// A bind waits.
    pub urgent: bool,
}

/// What a node wants of the slots of a container. Those of one node have to be decided in the order in which
/// it made them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum SlotRequest {
    /// More slots, whichever.
    Ask(Ask),
    /// Slots go back.
    Give {
        /// Whose answer it is; 0 for nobody's.
        round: u64,
        /// From now on nobody is bound to them here.
        slots: Vec<i32>,
    },
    /// This one, which a program wants by its number. If another node has it, that is asked for it.
    Claim {
        /// It.
        slot: i32,
    },
    /// This one, which another node has claimed, is in use here.
    Keep {
        /// It.
        slot: i32,
    },
}

/// What became of slots of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotChange {
    /// They belong to a node now; none in answer to an ask ahead of need that could not be met.
    Leased {
        /// Whose they are.
        node: NodeId,
        /// Of its ask; 0 for a slot it claimed.
        ask: u64,
        /// In order.
        slots: Vec<i32>,
    },
    /// A node is to give what it does not need, and to say so also when that is nothing.
    Recall {
        /// Who.
        node: NodeId,
        /// To be named with what is given.
        round: u64,
        /// How many are wanted in all.
        wanted: u32,
    },
    /// Another node has claimed a slot of this node, which gives it, or says that it keeps it.
    Wanted {
        /// Who has it.
        node: NodeId,
        /// It.
        slot: i32,
    },
    /// A node's claim is refused: the slot is in use on another one.
    Kept {
        /// Who claimed it.
        node: NodeId,
        /// It.
        slot: i32,
    },
    /// A node's urgent ask is refused: every slot was in use at some moment since.
    Full {
        /// Who asked.
        node: NodeId,
        /// Of its ask.
        ask: u64,
    },
}
