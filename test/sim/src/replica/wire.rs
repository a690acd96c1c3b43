//! What nodes say to each other, and what clients tell the invariants.

use crate::lives::Header;
use dvs_abi::{Message, NodeId};
use dvs_kv::protocol::Request;
use dvs_replica::wire::{Told, decode_told};
use serde::{Deserialize, Serialize};

/// Which service.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Service {
    /// The key/value service, active.
    Pairs,
    /// The sum, passive.
    Bank,
}

/// One message.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// Between members of the group of a service.
    Log(Header, Service, Vec<u8>),
    /// Which life the sender has.
    Greet(Header),
    /// A client calls: the number of the attempt, how long it waits, and the message.
    Call(Header, u64, Service, u64, Vec<u8>),
    /// The answer to an attempt.
    Answer(u64, Vec<u8>),
}

impl Packet {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: all of it can be written, and memory is the only bound.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// As it came; nothing if it makes no sense.
    pub fn decode(bytes: &[u8]) -> Option<Packet> {
        postcard::from_bytes(bytes).ok()
    }

    /// In words.
    pub fn describe(bytes: &[u8]) -> String {
        match Packet::decode(bytes) {
            Some(Packet::Log(_, service, bytes)) => format!("log of {service:?}, {} bytes", bytes.len()),
            Some(Packet::Greet(header)) => format!("greeting {header:?}"),
            Some(Packet::Call(_, attempt, service, within, message)) => {
                let call = Message::from_bytes(&message).as_ref().and_then(dvs_replica::wire::decode_call);
                format!("attempt {attempt} at {service:?} within {} ms: {call:?}", within / 1_000_000)
            }
            Some(Packet::Answer(attempt, message)) => format!("answer to {attempt}: {:?}", told(&message)),
            None => "rubbish".into(),
        }
    }
}

pub(super) fn told(message: &[u8]) -> Option<Told> {
    decode_told(&Message::from_bytes(message)?)
}

/// Names of pairs.
pub(super) const KEYS: [&str; 3] = ["a", "b", "c"];

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// The value of a pair.
    Get(&'static str),
    /// A pair gets a value.
    Put(&'static str, i64),
    /// The sum.
    Sum,
    /// One more.
    Add,
}

impl Op {
    pub(super) fn service(self) -> Service {
        match self {
            Op::Get(_) | Op::Put(..) => Service::Pairs,
            Op::Sum | Op::Add => Service::Bank,
        }
    }

    pub(super) fn is_query(self) -> bool {
        matches!(self, Op::Get(_) | Op::Sum)
    }

    pub(super) fn request(self) -> Vec<u8> {
        match self {
            Op::Get(key) => Request::Get { key: key.as_bytes() }.encode(),
            Op::Put(key, value) => {
                Request::Put { key: key.as_bytes(), value: &value.to_le_bytes(), when: None }.encode()
            }
            Op::Sum => b"sum".to_vec(),
            Op::Add => super::bank::ADD.to_vec(),
        }
    }
}

/// What clients and replicas tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A client wants something; the number of the call.
    Calls(u64, Op),
    /// It got this answer.
    Answered(u64, Vec<u8>),
    /// It was told that it was not done.
    Failed(u64, &'static str),
    /// It was told that nobody knows.
    Unknown(u64),
    /// It was told what makes no sense.
    Nonsense(u64, String),
    /// A member of a group has ended, and its program with it; whether because its disk was full.
    Stops(bool, String),
    /// A node leads the group of a service now, as it thinks.
    Leads(Service, NodeId),
}
