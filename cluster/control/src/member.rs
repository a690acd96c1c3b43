//! A node of the system, as all nodes know it.
//!
//! ```text
//!            Begin                  Leave
//!  Joined ──────────► Up ─────────────────────────► (forgotten)
//!                    ▲  │ Lost: its lease is over        ▲
//!              Begin │  ▼                                │
//!                   Down ────────────────────────────────┘
//! ```
//! Each `Begin` is another *incarnation*, named by its place in the log. What an earlier incarnation still
//! says is refused: a node that was stopped or cut off and comes back finds that out before it has done harm.
//! A `Begin` names the incarnation it follows and its daemon, so one that comes late or twice ends none.

use crate::epoch::Epoch;
use serde::{Deserialize, Serialize};

/// Digest of a node's public key: the node's identity.
pub type Key = [u8; 32];

/// What is told of a node when it joins.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct NodeCard {
    /// At most `NAME_BYTES`, of letters, digits and `-`.
    pub name: String,
    /// Where it listens; a hint, the key is what counts.
    pub address: String,
    /// Its key.
    pub key: Key,
    /// It only has a vote: no container may run there. So two machines and a small third one are enough.
    pub witness: bool,
}

/// Whether a daemon serves for the node.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It was admitted and has not begun yet.
    Joined,
    /// It serves, in this incarnation.
    Up(Epoch),
    /// Its last incarnation is over.
    Down(Epoch),
}

/// A node.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name, address and key.
    pub card: NodeCard,
    /// Whether it serves.
    pub standing: Standing,
    /// Nothing new is placed on it.
    pub draining: bool,
    /// Number of its last command that was applied in this incarnation, and what it was answered: a command
    /// that comes twice is done once.
    pub last: u64,
    /// The nonce of the `Begin` of its last incarnation: so a daemon knows its own.
    pub begun_by: Option<u64>,
}

impl Member {
    /// One that has just been admitted.
    pub fn new(card: NodeCard) -> Self {
        Member { card, standing: Standing::Joined, draining: false, last: 0, begun_by: None }
    }

    /// Its last incarnation, over or not; zero before the first.
    pub fn last_incarnation(&self) -> Epoch {
        match self.standing {
            Standing::Joined => Epoch::default(),
            Standing::Up(epoch) | Standing::Down(epoch) => epoch,
        }
    }

    /// Its incarnation, if it serves.
    pub fn incarnation(&self) -> Option<Epoch> {
        match self.standing {
            Standing::Up(epoch) => Some(epoch),
            Standing::Joined | Standing::Down(_) => None,
        }
    }
}
