//! What nodes tell each other beside messages: bindings, moves, searches for deadlocks. (What has to be
//! agreed on by all of them is not told so.)
//!
//! Records of one node arrive in the order it sent them, or not at all once it is declared dead; records of
//! different nodes may overtake each other, so each says all that is needed to judge it.

use crate::control::BindKind;
use serde::{Deserialize, Serialize};

/// A step of a move.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveStep {
    /// Hold traffic.
    Start,
    /// Let it go on to the old place.
    Rollback,
    /// It goes on to this node; `pid` as in `MigrateCommit`.
    Commit {
        /// The new place.
        node: u16,
        /// The process there, 0 = the bound standby.
        pid: u32,
    },
}

/// One wait in a chain that is followed over nodes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Who waits.
    pub endpoint: i32,
    /// The call it waits in.
    pub call: u64,
    /// How long it has waited, ns.
    pub age: u64,
    /// The node it waits on.
    pub node: u16,
}

/// What a node says to another.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Record {
    /// `endpoint` is bound on the node that says so. `calls` = what it may call.
    Bound { dc: u16, endpoint: i32, kind: BindKind, name: String, calls: u64, pid: u32 },
    /// `endpoint` is not bound there any more.
    Unbound { dc: u16, endpoint: i32 },
    /// Say again what is bound in a container: it was not known here when that was said, or two nodes claimed
    /// one slot and something was passed over.
    Resync { dc: u16 },
    /// A notification for `endpoint`, which lives on the node that gets this, in the name of `source`.
    Notice { dc: u16, source: i32, endpoint: i32, value: u64 },
    /// The process of `from` ended with this code: `to`, which lives on the node that gets this, is to know.
    Ended { dc: u16, from: i32, to: i32, mtype: i32, code: i32 },
    /// A step of a move.
    Migrate { dc: u16, endpoint: i32, step: MoveStep },
    /// The last hop of `chain` waits for `next`, which lives on the node that gets this.
    Probe { dc: u16, chain: Vec<Hop>, next: i32 },
    /// The call of `endpoint` (which lives on the node that gets this) is the youngest of a circle.
    Victim { dc: u16, endpoint: i32, call: u64, cycle: Vec<i32> },
}
