//! Moves of services, as far as daemons have a part in them: they bring the program a service leaves and the
//! one it goes to together, and pass on how far it is. What moves goes from program to program; who serves is
//! decided by the log.
//!
//! ```text
//!  operator ─► this daemon ─ Ask Migrate ─► daemon of the source ─ Prepare ─► daemon of the target
//!                                             │                                 │ one that stands by,
//!                                             │ ◄────────── Ready ────────────── │ or starts one
//!                                             ▼ Go                              ▼ Take
//!                                           program ═════════ state ═════════► program
//!           ◄──────── Moving, Moved ───────── │ Report
//!                                             └────────────── Over ───────────► ends what it has started
//! ```
//! What is kept here may be lost with the daemon: the move then goes on, or is undone, without it.

mod source;
mod target;

use crate::cluster::wall_clock;
use crate::daemon::Daemon;
use crate::desk::NodeRecord;
use dvs_abi::{DcId, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What daemons say to each other about a move. `id` is the source's.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub(crate) enum MoveRecord {
    /// Have somebody there who takes it over; what to start if nobody stands by. `try_only`: just say who.
    Prepare { id: u64, ask: Prepare },
    /// There is somebody.
    Ready { id: u64, room: Readiness },
    /// There is nobody, and why.
    Refused { id: u64, why: String },
    /// It is over.
    Over { id: u64, moved: bool },
}

/// What the target's daemon is to prepare.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Prepare {
    dc: u16,
    slot: i32,
    /// The endpoint the state comes from.
    peer: i32,
    /// What to start if nobody stands by: program and arguments, and the folder.
    start: Option<(Vec<String>, Option<String>)>,
    /// Nothing is to be started, nobody told.
    check: bool,
}

/// Who takes it over.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    /// The endpoint that takes the state and the versions it takes; `None` at a check, when one would be
    /// started.
    mover: Option<(i32, (u32, u32))>,
    /// Free memory, bytes.
    memory: u64,
}

/// All moves this daemon has a part in.
#[derive(Default)]
pub(crate) struct Moves {
    last: u64,
    leaving: BTreeMap<u64, source::Leaving>,
    coming: BTreeMap<(u16, u64), target::Coming>,
    /// Moves that are late, and that the log was told so.
    late: BTreeMap<(u16, i32), u64>,
}

impl Moves {
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let leaving = self.leaving.values().filter_map(source::Leaving::look_at);
        leaving.chain(self.coming.values().map(|c| c.until)).min()
    }
}

impl Daemon {
    pub(crate) fn move_record(&mut self, node: u16, record: MoveRecord) {
        match record {
            MoveRecord::Prepare { id, ask } => self.move_prepare(node, id, ask),
            MoveRecord::Ready { id, room } => self.move_ready(node, id, room),
            MoveRecord::Refused { id, why } => self.move_refused(node, id, &why),
            MoveRecord::Over { id, moved } => self.move_over(node, id, moved),
        }
    }

    fn tell_mover(&mut self, node: u16, record: MoveRecord) {
        self.send_node(node, &NodeRecord::Move(record));
    }

    /// Looks at those whose time has come.
    pub(crate) fn moves_expire(&mut self, now: u64) {
        self.leaving_expire_moves(now);
        self.coming_expire(now);
    }

    /// A node was declared dead.
    pub(crate) fn moves_node_down(&mut self, node: u16) {
        self.leaving_node_down(node);
        let coming: Vec<u64> =
            self.moves.coming.keys().filter(|(from, _)| *from == node).map(|(_, id)| *id).collect();
        for id in coming {
            // Its program goes on if it has all: the log will say.
            self.moves.coming.remove(&(node, id));
        }
    }

    /// Of a leader: has the log undo the moves whose time is over, if no other entry does.
    pub(crate) fn undo_late_moves(&mut self) {
        let late: BTreeMap<(u16, i32), u64> =
            self.plane.state.late_moves(wall_clock()).map(|(dc, slot, n)| ((dc.0, slot), n.0)).collect();
        let told = std::mem::replace(&mut self.moves.late, late.clone());
        for ((dc, slot), number) in late {
            if told.get(&(dc, slot)) != Some(&number) {
                let number = Epoch(number);
                let undo = Command::Undo { dc: DcId(dc), slot, number };
                self.decide_here(undo, "a move whose time was over");
            }
        }
    }

    /// How a node is called.
    fn node_name(&self, node: u16) -> String {
        self.plane.state.member(NodeId(node)).map_or(format!("n{node}"), |m| m.card.name.clone())
    }
}
