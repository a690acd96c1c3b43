//! What nodes say to each other in a session, and what clients and servers tell the invariants.

use super::cable::Segment;
use super::moves::MoveRecord;
use crate::control::moves::Word as Letter;
use dvs_abi::{Code, Effect};
use dvs_control::epoch::Epoch;
use dvs_kern::control;
use dvs_kern::node::link::LinkKey;
use dvs_kern::node::record::Record;
use dvs_wire::{Frame, Frames, RECORD_HEAD_BYTES, RecordHead, SessionFrame};
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
    /// What members of the log say to each other.
    Log(Vec<u8>),
    /// Whether the sender still counts: to the leader, when by the sender's clock.
    Lease(u64),
    /// It does, since it asked then; what was decided by then.
    Granted(u64, Epoch),
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

/// A segment in words, for the trace: what it carries as far as whole records begin with it.
pub(crate) fn describe(segment: &Segment) -> String {
    let (mut text, mut bytes) = (segment.brief(), segment.bytes());
    while let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>()
        && let Ok(head) = RecordHead::decode(head)
        && let Some((payload, rest)) = rest.split_at_checked(head.length as usize)
    {
        bytes = rest;
        text += &format!("; {} ack {}", head.first, head.ack);
        if head.session {
            text += &SessionFrame::decode(payload).map_or_else(|e| e.to_string(), |f| format!(" {f:?}"));
            continue;
        }
        for frame in Frames::new(payload) {
            text += &match frame {
                Ok(Frame::Control { bytes }) => {
                    control::decode::<Word>(bytes).map_or_else(|e| e.to_string(), |word| format!(" {word:?}"))
                }
                other => format!(" {other:?}"),
            };
        }
    }
    text
}
