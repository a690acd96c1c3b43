//! How a request and its answer stand in a message.
//!
//! ```text
//! request   type of the server     version (1) | operation (postcard) | 0 | text       text inline
//!                                  version (1) | operation (postcard) | 1              text is the second
//! range lent answer    type of the server + 1 version (1) | Ok(answer) or Err(errno) (postcard)
//! lent      first range: the data; second range: the text that has no room inline
//! ```
//! The *text* is what has no fixed length: names, targets of links, names of attributes. An operation says
//! how its text is divided.

use crate::Errno;
use dvs_abi::Message;
use dvs_abi::limits::INLINE_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version spoken here.
pub const VERSION: u8 = 1;

/// The text of a request as its message says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Text<'a> {
    /// These bytes.
    Inline(&'a [u8]),
    /// What was lent as second range.
    Lent,
}

/// Writes a request of a type; whether its text has to be lent.
pub fn encode_request<O: Serialize>(kind: i32, op: &O, text: &[u8]) -> (Message, bool) {
    let mut m = Message::new(kind);
    let room = m.inline_mut();
    room[0] = VERSION;
    let used = 1 + postcard::to_slice(op, &mut room[1..]).map_or(0, |b| b.len());
    debug_assert!(used > 1 && used < INLINE_BYTES, "an operation has a fixed bound, see the tests");
    let lent = used + 1 + text.len() > INLINE_BYTES;
    room[used] = u8::from(lent);
    let mut end = used + 1;
    if !lent {
        room[end..end + text.len()].copy_from_slice(text);
        end += text.len();
    }
    m.set_len(end);
    (m, lent)
}

/// Reads a request of a type.
///
/// # Errors
/// `PROTO`: it is none of this version.
pub fn decode_request<O: DeserializeOwned>(kind: i32, m: &Message) -> Result<(O, Text<'_>), Errno> {
    let rest = body(kind, m).ok_or(Errno::PROTO)?;
    let (op, rest) = postcard::take_from_bytes(rest).map_err(|_| Errno::PROTO)?;
    match rest.split_first() {
        Some((0, text)) => Ok((op, Text::Inline(text))),
        Some((1, [])) => Ok((op, Text::Lent)),
        _ => Err(Errno::PROTO),
    }
}

/// Writes an answer to a request of a type.
pub fn encode_answer<A: Serialize>(kind: i32, answer: &Result<A, Errno>) -> Message {
    let mut m = Message::new(kind + 1);
    let room = m.inline_mut();
    room[0] = VERSION;
    let used = 1 + postcard::to_slice(answer, &mut room[1..]).map_or(0, |b| b.len());
    m.set_len(used);
    m
}

/// Reads an answer; `PROTO` when it is none.
///
/// # Errors
/// What the server refused it with, or `PROTO`.
pub fn decode_answer<A: DeserializeOwned>(kind: i32, m: &Message) -> Result<A, Errno> {
    let rest = body(kind + 1, m).ok_or(Errno::PROTO)?;
    let (answer, _): (Result<A, Errno>, _) = postcard::take_from_bytes(rest).map_err(|_| Errno::PROTO)?;
    answer
}

fn body(kind: i32, m: &Message) -> Option<&[u8]> {
    let (version, rest) = m.bytes().split_first()?;
    (m.mtype() == kind && *version == VERSION).then_some(rest)
}
