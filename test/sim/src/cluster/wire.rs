//! What nodes say to each other in a session, and what clients and servers tell the invariants.

use super::moves::MoveRecord;
use crate::control::moves::Word as Letter;
use dvs_abi::{Code, Effect};
use dvs_control::epoch::Epoch;
use dvs_kern::node::link::LinkKey;
use dvs_kern::node::record::Record;
use serde::{Deserialize, Serialize};

/// A lane as its node's rules know it.
pub type Key = (u64, u8);

pub(super) fn key(link: LinkKey, lane: u8) -> Key {
    (link.0, lane)
}

/// One thing said.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Word {
    /// In which incarnation the sender is.
    Hello(Epoch),
    /// What the rules of one node tell those of the other.
    Rules(Record),
    /// How far the sender has done what the log says.
    Applied(Epoch),
    /// A call in a lane of the sender: who calls whom, and the call's number.
    Call {
        /// Of the caller.
        key: Key,
        /// Caller and callee, endpoints.
        ends: (i32, i32),
        /// Which.
        number: u64,
        /// What a program that hands its service over says; else the service's number is to be added to.
        letter: Option<Letter>,
    },
    /// It is answered.
    Reply {
        /// Of the caller.
        key: Key,
        /// Which call.
        number: u64,
        /// The answer.
        value: Said,
    },
    /// It has failed; the code, and whether it was done (as [`Effect`] has it).
    Failed {
        /// Of the caller.
        key: Key,
        /// Which call.
        number: u64,
        /// Why.
        code: i32,
        /// Whether it was done.
        effect: u8,
    },
    /// Between daemons, about a move.
    Move(MoveRecord),
}

/// An answer.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Said {
    /// Of a service.
    Value(i64),
    /// To a letter.
    Letter(Letter),
}

/// What clients and servers saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A client calls a service.
    Calls(u64, i32),
    /// Its call was answered.
    Answered(u64, i64),
    /// Its call ended: it was not done.
    Failed(u64, Code),
    /// Its call ended, and nobody knows whether it was done.
    Unknown(u64, Code),
    /// A server has done a call of a service, in this epoch; whether it might; and what came of it.
    Did(u64, i32, u64, bool, i64),
    /// A program of a service of which there is one begins with nothing; drawn for it.
    Born(i32, u64),
    /// What such a program kept, or was about to take over, is lost with it.
    Lost(i32),
}

pub(super) fn effect(number: u8) -> Effect {
    match number {
        0 => Effect::No,
        1 => Effect::Yes,
        _ => Effect::Unknown,
    }
}
