//! What the nodes say to each other.

use super::brief;
use super::moves::Word;
use crate::cluster::cable::Segment;
use crate::cluster::wire::{Told, describe};
use crate::lives::Header;
use dvs_abi::NodeId;
use dvs_control::command::Entry;
use dvs_control::epoch::Epoch;
use serde::{Deserialize, Serialize};

/// One message.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Packet {
    /// To the order: put this into the log.
    Propose(Entry),
    /// To the order: what comes after so many entries?
    Fetch(u64),
    /// From the order: entries after the first so many, and how many there are in all.
    Entries(u64, Vec<Entry>, u64),
    /// To the order: may this incarnation go on? When it was asked, by the asker's clock.
    Renew(Epoch, u64),
    /// From the order: it may, since it asked. What was decided by then.
    Renewed(Epoch, u64, Epoch),
    /// To the target of a move: this service has stopped where it was, here is its state.
    HandOver(i32, Epoch),
    /// Between the two sides of a move of a service.
    Move {
        /// Drawn for this attempt.
        session: u64,
        /// Of the service.
        slot: i32,
        /// Of the word, from one.
        number: u64,
        /// What is said.
        word: Word,
    },
    /// Of a connection between daemons of the whole cluster.
    Wire(Segment),
    /// Between members of the log.
    Log(Header, Vec<u8>),
    /// The same, as it came through a session.
    Said(Vec<u8>),
    /// Between members of the log, without anything said.
    Greet(Header),
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
            Some(Packet::Propose(e)) => format!("propose {}", brief(&e)),
            Some(Packet::Entries(first, entries, head)) => {
                let all: Vec<_> = entries.iter().map(brief).collect();
                format!("entries after {first} of {head}: {}", all.join("; "))
            }
            Some(Packet::Wire(segment)) => describe(&segment),
            Some(Packet::Log(_, bytes)) => format!("log {} bytes", bytes.len()),
            Some(other) => format!("{other:?}"),
            None => "rubbish".into(),
        }
    }
}

/// A digest that is the same on all machines.
pub(crate) fn digest(begin: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(begin ^ 0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

/// One entry as it stands in the file of the log: length, digest, entry.
pub(crate) fn record(entry: &Entry) -> Vec<u8> {
    // Cannot fail: as above.
    let body = postcard::to_stdvec(entry).unwrap_or_default();
    let mut all = (body.len() as u32).to_le_bytes().to_vec();
    all.extend(digest(0, &body).to_le_bytes());
    all.extend(body);
    all
}

/// The entries of a file, and how many of its bytes they are: what comes after was torn.
pub(crate) fn recover(file: &[u8]) -> (Vec<Entry>, usize) {
    let (mut entries, mut good) = (Vec::new(), 0);
    while let Some((length, rest)) = file[good..].split_first_chunk::<4>()
        && let Some((sum, rest)) = rest.split_first_chunk::<8>()
        && let Some(body) = rest.get(..u32::from_le_bytes(*length) as usize)
        && digest(0, body) == u64::from_le_bytes(*sum)
        && let Ok(entry) = postcard::from_bytes(body)
    {
        entries.push(entry);
        good += 12 + body.len();
    }
    (entries, good)
}

/// What a node tells the invariants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// It applied the entry at this place; a digest of the answer and what followed.
    Applied(u64, u64),
    /// A program wants to be bound.
    Wants(u64),
    /// It was bound to a slot, or told the truth.
    Bound(u64, i32),
    /// There is no slot, or not in time, or the node may not serve.
    Truth(u64, &'static str),
    /// A container is to be there (or not).
    Asks(u64, u16, bool),
    /// It is so now and was not before (or was).
    Answered(u64, bool),
    /// It serves callers of a service, since this epoch.
    Serves(i32, Epoch),
    /// An instance of a single service has acknowledged a write: its birth, and how many it has had.
    Wrote(i32, u64, u64),
    /// A move of a single service from here is over.
    Moved(i32, String),
    /// It may serve, as this incarnation.
    Begins(Epoch),
    /// It found that it may serve no longer.
    Fenced(&'static str),
    /// Its member of the log has ended, and the program with it; whether because its disk was full.
    Stops(bool, String),
    /// The order takes a node for lost.
    Loses(NodeId, Epoch),
    /// What clients and servers of the whole cluster do.
    Told(Told),
}
