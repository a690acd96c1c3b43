//! Calls of a replicated server, of its state, and between replicas, as they stand in a message. Pure.
//!
//! ```text
//! type      word 0                                     words 1, 2, 3              then
//! 0x5201    version | op | again | inline (8 each)     number, binding, length    request, if inline
//! 0x5202    version | outcome                          length                     answer, if it fits
//! 0x5203    version | seat | inline | - | from | to    length                     parcel, if inline
//! 0x5204    version | taken                            sender's endpoint, version of the list
//! 0x5205    version
//! 0x5206    version                                    length                     status (postcard)
//! 0x5207    version | what                             node, version of the list
//! 0x5208    version | whether, or why not
//! 0x5209    version                                    (answered as above)
//! `from` and `to` are nodes (16 each): a seat may have been given to another one meanwhile.
//! lent      first range: room for the answer; second: the request, or the parcel as the only one
//! ```

use crate::list::{Change, List};
use crate::service::Outcome;
use dvs_abi::limits::{INLINE_BYTES, REPLICA_PARCEL_BYTES_MAX, REPLICA_REQUEST_BYTES_MAX};
use dvs_abi::{Endpoint, Message, NodeId};
use serde::{Deserialize, Serialize};

/// The version spoken with callers.
pub const VERSION: u8 = 1;
/// The version that replicas speak with each other.
pub const AMONG_VERSION: u8 = 2;
/// Type of a call of the service.
pub const CALL: i32 = 0x5201;
/// Type of its answer.
pub const ANSWER: i32 = 0x5202;
/// Type of a parcel from another replica.
pub const PARCEL: i32 = 0x5203;
/// Type of its receipt.
pub const RECEIPT: i32 = 0x5204;
/// Type of a question how a replica is.
pub const STATUS: i32 = 0x5205;
/// Type of its answer.
pub const STATUS_ANSWER: i32 = 0x5206;
/// Type of an order to change the list of replicas.
pub const CHANGE: i32 = 0x5207;
/// Type of what is said of it.
pub const CHANGE_ANSWER: i32 = 0x5208;
/// Type of an order to have another replica lead, if this one does.
pub const RESIGN: i32 = 0x5209;

/// Bytes of a request that fit its message.
pub const REQUEST_INLINE_MAX: usize = INLINE_BYTES - 32;
/// Bytes of an answer or a parcel that fit their message.
pub const INLINE_MAX: usize = INLINE_BYTES - 16;

/// A call of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// It changes nothing.
    pub query: bool,
    /// It was made before, and nobody knows what came of it.
    pub again: bool,
    /// The request is in the message.
    pub inline: bool,
    /// Rises with each call of its caller that is no query; zero: it is named by its message (source,
    /// binding, number), and sent again by nobody but the lanes.
    pub number: u64,
    /// Drawn by the caller's library at its start; of no use if the number is zero.
    pub binding: u64,
    /// Bytes of the request.
    pub length: usize,
}

/// Writes a call; the request goes in if it fits, else it has to be lent.
pub fn encode_call(call: &Call, request: &[u8]) -> Message {
    let mut m = Message::new(CALL);
    let flags = [VERSION, u8::from(call.query), u8::from(call.again), u8::from(call.inline), 0, 0, 0, 0];
    m.set_word(0, u64::from_le_bytes(flags));
    m.set_word(1, call.number);
    m.set_word(2, call.binding);
    m.set_word(3, call.length as u64);
    if call.inline {
        put(&mut m, 32, request);
    }
    m
}

/// Reads a call; nothing if it is none, or larger than is carried.
pub fn decode_call(m: &Message) -> Option<Call> {
    let flags = m.word(0).to_le_bytes();
    let length = usize::try_from(m.word(3)).ok().filter(|n| *n <= REPLICA_REQUEST_BYTES_MAX)?;
    let inline = flags[3] == 1;
    let good = m.mtype() == CALL && flags[0] == VERSION && flags[1..4].iter().all(|f| *f <= 1);
    if !good || inline && length > REQUEST_INLINE_MAX {
        return None;
    }
    let (query, again) = (flags[1] == 1, flags[2] == 1);
    Some(Call { query, again, inline, number: m.word(1), binding: m.word(2), length })
}

/// The request in the message of an inline call.
pub fn inline_request<'a>(m: &'a Message, call: &Call) -> &'a [u8] {
    m.inline().get(32..32 + call.length).unwrap_or(&[])
}

fn put(m: &mut Message, at: usize, bytes: &[u8]) {
    if let Some(room) = m.inline_mut().get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
        m.set_len(at + bytes.len());
    }
}

/// What came of a call, as far as the message says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// All of it.
    Outcome(Outcome),
    /// The answer: so many bytes in the range that was lent.
    Lent(usize),
    /// The answer has so many bytes, and the range lent no room for them.
    NoRoom(usize),
}

/// Writes what came of a call.
pub fn encode_told(told: &Told) -> Message {
    let mut m = Message::new(ANSWER);
    let (number, length, inline): (u8, usize, &[u8]) = match told {
        Told::Outcome(Outcome::Answer(a)) => (0, a.len(), a),
        Told::Outcome(Outcome::Unknown) => (1, 0, &[]),
        Told::Outcome(Outcome::NoLeader) => (2, 0, &[]),
        Told::Outcome(Outcome::NoQuorum) => (3, 0, &[]),
        Told::Outcome(Outcome::Full) => (4, 0, &[]),
        Told::Outcome(Outcome::Malformed) => (5, 0, &[]),
        Told::Outcome(Outcome::TooLarge) => (6, 0, &[]),
        Told::Outcome(Outcome::Ended) => (7, 0, &[]),
        Told::Outcome(Outcome::EndedUnknown) => (8, 0, &[]),
        Told::Outcome(Outcome::AnswerTooLarge) => (9, 0, &[]),
        Told::Outcome(Outcome::ReadOnly) => (12, 0, &[]),
        Told::Lent(n) => (10, *n, &[]),
        Told::NoRoom(n) => (11, *n, &[]),
    };
    m.set_word(0, u64::from_le_bytes([VERSION, number, 0, 0, 0, 0, 0, 0]));
    m.set_word(1, length as u64);
    put(&mut m, 16, inline);
    m
}

/// Reads what came of a call; nothing if it is no answer.
pub fn decode_told(m: &Message) -> Option<Told> {
    let [version, number, ..] = m.word(0).to_le_bytes();
    if m.mtype() != ANSWER || version != VERSION {
        return None;
    }
    let length = usize::try_from(m.word(1)).ok()?;
    Some(Told::Outcome(match number {
        0 => Outcome::Answer(m.inline().get(16..16usize.checked_add(length)?)?.to_vec()),
        1 => Outcome::Unknown,
        2 => Outcome::NoLeader,
        3 => Outcome::NoQuorum,
        4 => Outcome::Full,
        5 => Outcome::Malformed,
        6 => Outcome::TooLarge,
        7 => Outcome::Ended,
        8 => Outcome::EndedUnknown,
        9 => Outcome::AnswerTooLarge,
        10 => return Some(Told::Lent(length)),
        11 => return Some(Told::NoRoom(length)),
        12 => Outcome::ReadOnly,
        _ => return None,
    }))
}

/// The head of a parcel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Who says that it sends: the seat,
    pub seat: usize,
    /// and the node.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The parcel is in the message.
    pub inline: bool,
    /// Bytes of the parcel.
    pub length: usize,
}

/// Writes a parcel of a seat, from a node to a node; it goes in if it fits, else it has to be lent.
pub fn encode_parcel(seat: usize, from: NodeId, to: NodeId, parcel: &[u8]) -> Message {
    let mut m = Message::new(PARCEL);
    let inline = parcel.len() <= INLINE_MAX;
    let ([a, b], [c, d]) = (from.0.to_le_bytes(), to.0.to_le_bytes());
    m.set_word(0, u64::from_le_bytes([AMONG_VERSION, seat as u8, u8::from(inline), 0, a, b, c, d]));
    m.set_word(1, parcel.len() as u64);
    if inline {
        put(&mut m, 16, parcel);
    }
    m
}

/// Reads the head of a parcel.
pub fn decode_parcel(m: &Message) -> Option<Head> {
    let [version, seat, inline, _, a, b, c, d] = m.word(0).to_le_bytes();
    let length = usize::try_from(m.word(1)).ok().filter(|n| *n <= REPLICA_PARCEL_BYTES_MAX)?;
    let inline = inline == 1;
    if m.mtype() != PARCEL || version != AMONG_VERSION || inline && length > INLINE_MAX {
        return None;
    }
    let (from, to) = (NodeId(u16::from_le_bytes([a, b])), NodeId(u16::from_le_bytes([c, d])));
    Some(Head { seat: usize::from(seat), from, to, inline, length })
}

/// The parcel in the message.
pub fn inline_parcel<'a>(m: &'a Message, head: &Head) -> &'a [u8] {
    m.inline().get(16..16 + head.length).unwrap_or(&[])
}

/// What a replica says to a parcel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// It was taken.
    pub taken: bool,
    /// From which endpoint this replica sends to that seat.
    pub sender: Endpoint,
    /// The version of the list that this replica knows.
    pub list: u64,
}

/// Writes a receipt.
pub fn encode_receipt(receipt: &Receipt) -> Message {
    let mut m = Message::new(RECEIPT);
    m.set_word(0, u64::from_le_bytes([AMONG_VERSION, u8::from(receipt.taken), 0, 0, 0, 0, 0, 0]));
    m.set_word(1, receipt.sender.raw() as u32 as u64);
    m.set_word(2, receipt.list);
    m
}

/// Reads a receipt.
pub fn decode_receipt(m: &Message) -> Option<Receipt> {
    let [version, taken, ..] = m.word(0).to_le_bytes();
    let sender = Endpoint::from_raw(m.word(1) as u32 as i32);
    let receipt = Receipt { taken: taken == 1, sender, list: m.word(2) };
    (m.mtype() == RECEIPT && version == AMONG_VERSION).then_some(receipt)
}

/// Writes an order to change the list, if that is of this version still.
pub fn encode_change(change: Change, version: u64) -> Message {
    let mut m = Message::new(CHANGE);
    let (what, node) = match change {
        Change::Add(node) => (0, node),
        Change::Remove(node) => (1, node),
        Change::Gone(node) => (2, node),
    };
    m.set_word(0, u64::from_le_bytes([AMONG_VERSION, what, 0, 0, 0, 0, 0, 0]));
    m.set_word(1, u64::from(node.0));
    m.set_word(2, version);
    m
}

/// Reads an order to change the list, and of which version; what only replicas decide is none.
pub fn decode_change(m: &Message) -> Option<(Change, u64)> {
    let [version, what, ..] = m.word(0).to_le_bytes();
    let node = NodeId(u16::try_from(m.word(1)).ok()?);
    if m.mtype() != CHANGE || version != AMONG_VERSION {
        return None;
    }
    let change = match what {
        0 => Change::Add(node),
        1 => Change::Remove(node),
        _ => return None,
    };
    Some((change, m.word(2)))
}

/// What is said to an order to change the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordered {
    /// It is tried; the list will say.
    Begun,
    /// The list is another one by now, or the change makes no sense.
    Refused,
    /// This replica is not in step, or has too much to do.
    NotNow,
    /// Whoever says so is at a user's slot of the container.
    NotYou,
}

/// Writes it.
pub fn encode_ordered(ordered: Ordered) -> Message {
    let mut m = Message::new(CHANGE_ANSWER);
    m.set_word(0, u64::from_le_bytes([AMONG_VERSION, ordered as u8, 0, 0, 0, 0, 0, 0]));
    m
}

/// Reads it.
pub fn decode_ordered(m: &Message) -> Option<Ordered> {
    let [version, ordered, ..] = m.word(0).to_le_bytes();
    let known = [Ordered::Begun, Ordered::Refused, Ordered::NotNow, Ordered::NotYou];
    let ordered = known.into_iter().find(|o| *o as u8 == ordered)?;
    (m.mtype() == CHANGE_ANSWER && version == AMONG_VERSION).then_some(ordered)
}

/// How a replica is, as it says itself.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its node.
    pub node: u16,
    /// Who leads, as far as it knows.
    pub leader: Option<u16>,
    /// How often a leader was sought.
    pub term: u64,
    /// Entries of its log,
    pub last: u64,
    /// and how many of them it has done.
    pub applied: u64,
    /// The members of its group, and whether they have a vote; nobody if it waits to be taken in.
    pub members: Vec<(u16, bool)>,
    /// Callers that wait at it.
    pub waiting: u32,
    /// The replicas, as it knows them.
    pub list: List,
}

/// Writes a report.
pub fn encode_report(report: &Report) -> Message {
    let mut m = Message::new(STATUS_ANSWER);
    // It fits: five members at most are told.
    let bytes = postcard::to_stdvec(report).unwrap_or_default();
    m.set_word(0, u64::from(AMONG_VERSION));
    m.set_word(1, bytes.len() as u64);
    put(&mut m, 16, &bytes);
    m
}

/// Reads a report.
pub fn decode_report(m: &Message) -> Option<Report> {
    if m.mtype() != STATUS_ANSWER || m.word(0) != u64::from(AMONG_VERSION) {
        return None;
    }
    let length = usize::try_from(m.word(1)).ok()?;
    postcard::from_bytes(m.inline().get(16..16usize.checked_add(length)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn calls_outcomes_parcels_and_reports_come_back() {
        let call = Call { query: true, again: false, inline: true, number: 7, binding: u64::MAX, length: 3 };
        let m = encode_call(&call, b"abc");
        assert_eq!(decode_call(&m), Some(call));
        assert_eq!(inline_request(&m, &call), b"abc");
        let long = vec![5; INLINE_MAX];
        for told in [
            Told::Outcome(Outcome::Answer(long.clone())),
            Told::Outcome(Outcome::AnswerTooLarge),
            Told::Outcome(Outcome::ReadOnly),
            Told::Lent(9),
            Told::NoRoom(1 << 20),
        ] {
            assert_eq!(decode_told(&encode_told(&told)), Some(told));
        }
        let (from, to) = (NodeId(u16::MAX), NodeId(7));
        let m = encode_parcel(2, from, to, &long);
        let head = decode_parcel(&m).unwrap();
        let wanted = Head { seat: 2, from, to, inline: true, length: 176 };
        assert_eq!((head, inline_parcel(&m, &head)), (wanted, &long[..]));
        assert!(!decode_parcel(&encode_parcel(2, from, to, &[0; INLINE_MAX + 1])).unwrap().inline);
        let receipt = Receipt { taken: true, sender: Endpoint::new(9, 4000), list: u64::MAX };
        assert_eq!(decode_receipt(&encode_receipt(&receipt)), Some(receipt));
        for change in [Change::Add(to), Change::Remove(from)] {
            assert_eq!(decode_change(&encode_change(change, 7)), Some((change, 7)));
        }
        assert_eq!(decode_change(&encode_change(Change::Gone(to), 7)), None);
        for ordered in [Ordered::Begun, Ordered::Refused, Ordered::NotNow, Ordered::NotYou] {
            assert_eq!(decode_ordered(&encode_ordered(ordered)), Some(ordered));
        }
        let members = vec![(u16::MAX, true); 5];
        let (node, leader, waiting) = (u16::MAX, Some(u16::MAX), u32::MAX);
        let (term, last, applied) = (u64::MAX, u64::MAX, u64::MAX);
        let nodes: Vec<NodeId> = (1..=5).map(|n| NodeId(u16::MAX - n)).collect();
        let list = List::founding(&nodes);
        let report = Report { node, leader, term, last, applied, members, waiting, list };
        assert_eq!(decode_report(&encode_report(&report)), Some(report));
    }

    proptest! {
        #[test]
        fn no_message_is_a_surprise(
            t in 0x5200..0x520a,
            bytes in proptest::collection::vec(any::<u8>(), 0..=192),
        ) {
            let mut m = Message::new(t);
            m.set_bytes(&bytes).expect("short enough");
            let _ = (decode_told(&m), decode_receipt(&m), decode_report(&m));
            let _ = (decode_change(&m), decode_ordered(&m));
            if let Some(call) = decode_call(&m) {
                assert!(!call.inline || inline_request(&m, &call).len() == call.length);
            }
            if let Some(head) = decode_parcel(&m) {
                assert!(!head.inline || inline_parcel(&m, &head).len() == head.length);
            }
        }
    }
}
