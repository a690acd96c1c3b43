//! The message: 256 bytes, a 64-byte header and 192 bytes the program owns.
//!
//! A message is 32 little-endian 64-bit words, so that it moves through shared memory as atomic words and
//! over the network as bytes without a parsing step:
//!
//! ```text
//! word 0   source endpoint (low 32)  | destination endpoint (high 32)
//! word 1   type (low 32) | kind (8) | flags (8) | inline length (16)    flag 1: this call was sent before
//! word 2   call number                  set by the sending side; recognises late replies
//! word 3   epoch of the destination's place
//! word 4   deadline: ns on the node's clock in memory, ns remaining on the wire, all ones = never
//! word 5   container (16) | node of the source (16) | 0
//! word 6   value: bits of a notification, result of an answer
//! word 7   timestamp of a notification, ns; of a call: which binding of the source it is
//! 8..32    the program's 192 bytes
//! ```
//!
//! The program sets the type and the inline bytes; everything else is written by the system.

use crate::deadline::Deadline;
use crate::id::{DcId, Endpoint, NodeId};
use crate::limits::{HEADER_BYTES, INLINE_BYTES, MESSAGE_BYTES};
use core::fmt;
use zerocopy::{FromBytes, IntoBytes};

/// Words of a message.
pub const WORDS: usize = MESSAGE_BYTES / 8;
const HEADER_WORDS: usize = HEADER_BYTES / 8;

/// What a message is to the system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Kind {
    /// A plain message; its sender waits until it is consumed.
    #[default]
    Send = 0,
    /// A request; its sender waits for the answer.
    Request = 1,
    /// An answer.
    Reply = 2,
    /// A notification: no sender waits.
    Notify = 3,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub const fn from_u8(n: u8) -> Option<Kind> {
        Some(match n {
            0 => Kind::Send,
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::Notify,
            _ => return None,
        })
    }
}

/// Type of a notification from slot `n`: this bit or'ed with `n` (facts §2.10).
pub const NOTIFY_TYPE: i32 = 0x1000;

/// Flag in word 1: see [`Message::again`].
const AGAIN: u64 = 1 << 40;

/// One message. Plain data: any 256 bytes are a message, its fields are checked by whoever uses them.
///
/// ```
/// use dvs_abi::Message;
/// let mut m = Message::new(7);
/// m.set_bytes(b"hello").unwrap();
/// assert_eq!((m.mtype(), m.bytes()), (7, &b"hello"[..]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Message {
    words: [u64; WORDS],
}

impl Default for Message {
    fn default() -> Self {
        Message { words: [0; WORDS] }
    }
}

impl Message {
    /// An empty message of a type.
    pub fn new(mtype: i32) -> Self {
        let mut m = Self::default();
        m.set_mtype(mtype);
        m
    }

    /// A message from its words, as they came out of shared memory.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Message { words }
    }

    /// The words, as they go into shared memory.
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.words
    }

    /// The words, to be overwritten from shared memory.
    pub const fn words_mut(&mut self) -> &mut [u64; WORDS] {
        &mut self.words
    }

    /// The 256 bytes, as they go on the wire.
    pub fn as_bytes(&self) -> &[u8; MESSAGE_BYTES] {
        let bytes: &[u8] = self.words.as_bytes();
        bytes.try_into().expect("32 words are 256 bytes")
    }

    /// A message from the wire; `None` unless there are exactly 256 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Message { words: <[u64; WORDS]>::read_from_bytes(bytes).ok()? })
    }

    /// Who sent it; written by the system, cannot be forged.
    pub const fn source(&self) -> Endpoint {
        Endpoint::from_raw(self.words[0] as u32 as i32)
    }

    /// To whom it goes.
    pub const fn destination(&self) -> Endpoint {
        Endpoint::from_raw((self.words[0] >> 32) as u32 as i32)
    }

    /// Writes source and destination (the system does this, not the program).
    pub const fn set_route(&mut self, source: Endpoint, destination: Endpoint) {
        self.words[0] = source.raw() as u32 as u64 | (destination.raw() as u32 as u64) << 32;
    }

    /// The program's type; of a notification `0x1000 | slot`.
    pub const fn mtype(&self) -> i32 {
        self.words[1] as u32 as i32
    }

    /// Sets the type.
    pub const fn set_mtype(&mut self, mtype: i32) {
        self.words[1] = self.words[1] & !0xffff_ffff | mtype as u32 as u64;
    }

    /// What the message is to the system, if the number is a known one.
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_u8((self.words[1] >> 32) as u8)
    }

    /// Sets what the message is to the system.
    pub const fn set_kind(&mut self, kind: Kind) {
        self.words[1] = self.words[1] & !(0xff << 32) | (kind as u64) << 32;
    }

    /// Whether this call was sent before, under the same number, and nobody answered: it may have been done.
    pub const fn again(&self) -> bool {
        self.words[1] & AGAIN != 0
    }

    /// Sets whether it was sent before (the system does this, not the program).
    pub const fn set_again(&mut self, again: bool) {
        self.words[1] = self.words[1] & !AGAIN | if again { AGAIN } else { 0 };
    }

    /// How many inline bytes the program set, at most [`INLINE_BYTES`].
    pub const fn len(&self) -> usize {
        let n = (self.words[1] >> 48) as usize;
        if n > INLINE_BYTES { INLINE_BYTES } else { n }
    }

    /// Whether the program set no inline bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the inline length; longer than the room is cut to it.
    pub const fn set_len(&mut self, len: usize) {
        let n = if len > INLINE_BYTES { INLINE_BYTES } else { len };
        self.words[1] = self.words[1] & !(0xffff << 48) | (n as u64) << 48;
    }

    /// The inline bytes the program set.
    pub fn bytes(&self) -> &[u8] {
        &self.inline()[..self.len()]
    }

    /// Copies bytes in and sets the length.
    ///
    /// # Errors
    /// Gives back the number of bytes there is room for when `bytes` is longer: use a grant for more.
    pub fn set_bytes(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let room = self.inline_mut().get_mut(..bytes.len()).ok_or(INLINE_BYTES)?;
        room.copy_from_slice(bytes);
        self.set_len(bytes.len());
        Ok(())
    }

    /// All 192 inline bytes.
    pub fn inline(&self) -> &[u8] {
        self.words[HEADER_WORDS..].as_bytes()
    }

    /// All 192 inline bytes, to be written; does not touch the length.
    pub fn inline_mut(&mut self) -> &mut [u8] {
        self.words[HEADER_WORDS..].as_mut_bytes()
    }

    /// The `i`th of the 24 inline words.
    pub fn word(&self, i: usize) -> u64 {
        self.words[HEADER_WORDS..][i]
    }

    /// Sets the `i`th of the 24 inline words; the length covers it.
    pub fn set_word(&mut self, i: usize, value: u64) {
        self.words[HEADER_WORDS..][i] = value;
        if self.len() < (i + 1) * 8 {
            self.set_len((i + 1) * 8);
        }
    }

    /// Number of the call this belongs to.
    pub const fn call(&self) -> u64 {
        self.words[2]
    }

    /// Sets the number of the call.
    pub const fn set_call(&mut self, call: u64) {
        self.words[2] = call;
    }

    /// Epoch of the destination's place as its caller knew it when its way there was opened: rises each time
    /// the service is somewhere else, or another instance. Zero if the destination is no service.
    pub const fn epoch(&self) -> u64 {
        self.words[3]
    }

    /// Sets the epoch.
    pub const fn set_epoch(&mut self, epoch: u64) {
        self.words[3] = epoch;
    }

    /// Until when the sender waits, on this node's clock.
    pub const fn deadline(&self) -> Deadline {
        Deadline::from_ns(self.words[4])
    }

    /// Sets until when the sender waits.
    pub const fn set_deadline(&mut self, deadline: Deadline) {
        self.words[4] = deadline.ns();
    }

    /// The container.
    pub const fn dc(&self) -> DcId {
        DcId(self.words[5] as u16)
    }

    /// The node of the source.
    pub const fn node(&self) -> NodeId {
        NodeId((self.words[5] >> 16) as u16)
    }

    /// Sets container and source node.
    pub const fn set_place(&mut self, dc: DcId, node: NodeId) {
        self.words[5] = dc.0 as u64 | (node.0 as u64) << 16;
    }

    /// Bits of a notification, or the result an answer carries.
    pub const fn value(&self) -> u64 {
        self.words[6]
    }

    /// Sets the value.
    pub const fn set_value(&mut self, value: u64) {
        self.words[6] = value;
    }

    /// Which binding of the source endpoint sent this call: two processes that had the endpoint one after the
    /// other have different ones. Written by the system, cannot be forged. With source and call number it
    /// names a call for a table of duplicates: numbers rise within a binding.
    pub const fn binding(&self) -> u64 {
        self.words[7]
    }

    /// Sets which binding of the source it is (the system does this, not the program).
    pub const fn set_binding(&mut self, binding: u64) {
        self.words[7] = binding;
    }

    /// When a notification was raised, ns on the raising node's clock.
    pub const fn timestamp(&self) -> u64 {
        self.words[7]
    }

    /// Sets the timestamp.
    pub const fn set_timestamp(&mut self, ns: u64) {
        self.words[7] = ns;
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("type", &self.mtype())
            .field("call", &self.call())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_do_not_touch_each_other() {
        let mut m = Message::default();
        m.set_route(Endpoint::from_raw(-2), Endpoint::new(5, 40));
        m.set_mtype(-7);
        m.set_kind(Kind::Request);
        m.set_len(500);
        m.set_place(DcId(9), NodeId(3));
        assert_eq!((m.source().raw(), m.destination()), (-2, Endpoint::new(5, 40)));
        assert_eq!((m.mtype(), m.kind(), m.len()), (-7, Some(Kind::Request), INLINE_BYTES));
        assert_eq!((m.dc(), m.node()), (DcId(9), NodeId(3)));
        assert_eq!(Message::from_bytes(m.as_bytes()), Some(m));
        assert_eq!(Message::from_bytes(&m.as_bytes()[1..]), None);
    }

    #[test]
    fn too_many_bytes_leave_the_message_as_it_was() {
        let mut m = Message::new(1);
        assert_eq!(m.set_bytes(&[1; INLINE_BYTES + 1]), Err(INLINE_BYTES));
        assert_eq!(m, Message::new(1));
    }
}
