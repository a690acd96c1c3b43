//! What the program of a movable service and its daemon say to each other about a move.
//!
//! ```text
//!  source's program          daemons                      target's program
//!    Await ──────────────►                    ◄────────────── Stand
//!    ◄──────────── Go { to whom, how long }     Take { from whom } ──►
//!    ═══════════════ the state, by messages between the two ═══════►
//!    Begin ──────────────► log
//!    Place ──────────────►                    ◄────────────── Arrive
//!    ◄──── where it is     (whatever the log says, to both)   bound ──►
//! ```
//! Each is a question that is answered once; those that wait do so at the daemon. Who moves and why is not
//! decided here: see `dvs-migrate`.

use dvs_abi::limits::MOVE_TEXT_BYTES;
use serde::{Deserialize, Serialize};

/// A question of a program that moves a service.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MoverAsk {
    /// The instance in this session can move away; `mover` is an endpoint of its own from which it would send
    /// its state. Answered [`MoverAnswer::Go`], or `TIMEDOUT` after a while: it says anew how it is then.
    Await { mover: i32, version: u32, bytes: u64 },
    /// This session would take it over; at `mover` it takes the state, of versions from and to. Answered
    /// [`MoverAnswer::Take`] or `TIMEDOUT`.
    Stand { mover: i32, versions: (u32, u32) },
    /// Callers are to be held for the move; not longer than so. Answered [`MoverAnswer::Begun`].
    Begin { to: u16, hold_ns: u64 },
    /// The move is not to be.
    Undo { number: u64 },
    /// This session has all of it: it is the instance from here on. Answered `Bound`, when the log says so.
    Arrive { number: u64, board: u32 },
    /// Where it is, once that was decided later than in this epoch. Answered [`MoverAnswer::At`].
    Place { after: u64, remaining: u64 },
    /// How far the move is. Answered [`MoverAnswer::On`] or [`MoverAnswer::Stop`].
    Report { id: u64, report: MoverReport },
}

/// What it is answered.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MoverAnswer {
    /// Move the service to this node, where it is taken at `peer`; give it up after so long, and hold callers
    /// so long at most.
    Go { id: u64, to: u16, peer: i32, prepare_ns: u64, hold_ns: u64 },
    /// It comes from `peer` on this node.
    Take { id: u64, from: u16, peer: i32 },
    /// The move is in the log, under this number.
    Begun { number: u64 },
    /// It is at this node, or nowhere, since this epoch.
    At { node: Option<u16>, epoch: u64 },
    /// Go on.
    On,
    /// Nobody wants it any more.
    Stop,
}

/// Where a move is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum MovePhase {
    /// The target gets ready.
    Preparing,
    /// State is sent while callers are served.
    Copying,
    /// The log is asked to hold callers.
    Freezing,
    /// Callers are held; the rest is sent.
    Sending,
    /// The target has it all; the log will say.
    Waiting,
    /// It is to be undone; the log will say.
    Undoing,
}

impl MovePhase {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            MovePhase::Preparing => "preparing",
            MovePhase::Copying => "copying",
            MovePhase::Freezing => "holding callers",
            MovePhase::Sending => "sending the rest",
            MovePhase::Waiting => "arriving",
            MovePhase::Undoing => "going back",
        }
    }
}

/// How far a move is, by the word of its source.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MoverReport {
    /// Here; so many bytes were sent in this round.
    Phase { phase: MovePhase, round: u32, bytes: u64 },
    /// It is over: the service is at the target (`moved`), or not, and why.
    Ended { moved: bool, why: String, rounds: u32, bytes: u64, held_ns: u64 },
}

impl MoverReport {
    /// The same with a text that is not longer than it may be.
    pub fn short(mut self) -> Self {
        if let MoverReport::Ended { why, .. } = &mut self {
            let mut end = why.len().min(MOVE_TEXT_BYTES);
            while !why.is_char_boundary(end) {
                end -= 1;
            }
            why.truncate(end);
        }
        self
    }
}
