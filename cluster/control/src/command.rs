//! What is put into the log, and what its sender is answered.

use crate::container::DcConfig;
use crate::epoch::Epoch;
use crate::member::{Key, NodeCard};
use crate::rules::Rules;
use crate::service::ServiceSpec;
use crate::slots::SlotRequest;
use dvs_abi::{Code, DcId, NodeId};
use serde::{Deserialize, Serialize};

/// One entry of the log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Whose command it is.
    pub from: NodeId,
    /// In which incarnation; for those that begin one, the last one of the node that they know of.
    pub incarnation: Epoch,
    /// Rises by one with each command of an incarnation. A node has one command under way, and repeats it
    /// until it is answered.
    pub number: u64,
    /// When its sender wrote it: ns since 1970. Decides about what ends by time, and nothing else.
    pub at: u64,
    /// What is wanted.
    pub command: Command,
}

/// What is wanted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The first entry of every log: the sender founds the system, as its only node.
    Found {
        /// Who it is.
        card: NodeCard,
        /// What holds for the whole system.
        rules: Rules,
    },
    /// Whoever shows the secret with this digest may join, so many times, until then.
    Invite {
        /// Digest of the secret.
        token: Key,
        /// As [`Entry::at`].
        until: u64,
        /// How many nodes.
        uses: u16,
    },
    /// A node that showed a secret becomes one of ours.
    Admit {
        /// Digest of what it showed.
        token: Key,
        /// Who it is.
        card: NodeCard,
    },
    /// The daemon of the sender serves from here on: a new incarnation, unless its [`Entry::incarnation`] is
    /// not the last one any more.
    Begin {
        /// Where it listens now.
        address: String,
        /// Made up by the daemon, another one each time it wants to begin. It may repeat the command until it
        /// is answered; it begins once.
        nonce: u64,
    },
    /// The sender listens here from now on.
    Listen {
        /// Where.
        address: String,
    },
    /// This incarnation of a node has not been heard of until its lease was over.
    Lost {
        /// The node.
        node: NodeId,
        /// As long as it is in this incarnation.
        incarnation: Epoch,
    },
    /// A node is forgotten. It must not be up, except the sender itself.
    Leave {
        /// The node.
        node: NodeId,
    },
    /// Whether nothing new is placed on a node.
    Drain {
        /// The node.
        node: NodeId,
        /// Whether.
        on: bool,
    },
    /// A container begins.
    Create {
        /// Its number; the lowest free one if none is named.
        dc: Option<DcId>,
        /// What it is to be; when it was born is said by the state.
        spec: DcConfig,
    },
    /// A container ends.
    End {
        /// Which.
        dc: DcId,
    },
    /// Whether a container may run on a node. If not any more, its services may not be there either until
    /// they are declared anew. The node ends its programs, gives their slots and retires its instances; until
    /// it has, or is lost, nobody else gets them.
    Allow {
        /// The container.
        dc: DcId,
        /// The node.
        node: NodeId,
        /// Whether.
        on: bool,
    },
    /// The sender wants slots, or gives some.
    Slots {
        /// Of this container.
        dc: DcId,
        /// What it wants.
        request: SlotRequest,
    },
    /// A service is declared, or declared anew. Nodes where it may no longer be retire their instances.
    Declare {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// What it is to be.
        spec: ServiceSpec,
    },
    /// A service is no more. Nodes retire their instances; until they have its slot is not free.
    Withdraw {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
    },
    /// The sender has an instance.
    Offer {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// See [`crate::service::Instance::in_step`].
        in_step: bool,
    },
    /// The sender's instance has ended. It starts another one when this is answered, not before.
    Retire {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
    },
    /// The instance callers go to is to be on another node.
    Move {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// There.
        to: NodeId,
        /// As [`Entry::at`].
        deadline: u64,
    },
    /// The sender has all of a service that moves to it, also what the old instance had taken up: it serves.
    /// (An `Offer` does not say that: its sender may not know of the move.) Also if the source is gone by
    /// now, as long as nobody else serves.
    Arrive {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// The begin of the move.
        number: Epoch,
    },
    /// A move is not to be: its source serves on.
    Undo {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// Its begin.
        number: Epoch,
    },
    /// Callers of a passive service go to another instance, which is in step: decided at once, as nothing has
    /// to be handed over. (A command of its own, not a `Move`: a build that does not know it says so and
    /// ends, where it would take a `Move` for something else.)
    Switch {
        /// In this container.
        dc: DcId,
        /// At this slot.
        slot: i32,
        /// There.
        to: NodeId,
    },
}

/// What became of it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// The node that was admitted.
    Node(NodeId),
    /// The container that was created.
    Dc(DcId),
    /// The incarnation or move that began.
    Begun(Epoch),
}

/// Why nothing was done, whose fault it is and the way out.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// As programs get it.
    pub code: Refused,
    /// As people read it.
    pub text: String,
}

/// The number of an error, as it travels.
pub type Refused = i32;

impl Refusal {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Refusal { code: code as i32, text: text.into() }
    }

    pub(crate) fn witness(node: NodeId) -> Self {
        Refusal::new(Code::BADNODEID, format!("{node} is a witness: it has a vote and runs nothing"))
    }
}
