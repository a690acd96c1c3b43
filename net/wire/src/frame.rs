//! The frames of an established session.
//!
//! ```text
//! caller's node                              server's node
//!   CALL ──────────────────────────────────▶  delivered when the server receives
//!        ◀────────────────────────── CONSUMED  a plain send is complete; a request waits on
//!        ◀───────────── COPY_READ / COPY_WRITE  the server reaches the granted memory,
//!   DATA ◀─────────────────────────────▶ DATA   its bytes on the bulk stream,
//!   COPY_DONE ◀────────────────────▶ COPY_DONE  each copy ends with one of these
//!        ◀──────────── REPLY / FAILED / REDIRECT  exactly one of these ends a request
//!   CANCEL ────────────────────────────────▶  deadline or signal: the answer is no longer wanted
//!        ◀───────────────────────── WITHDRAWN  it was not consumed and never will be, or nobody knows
//! ```
//!
//! `call` is unique among the calls of one life of the calling node; `copy` among the copies of one life of
//! the node that asked for it.

use dvs_abi::limits::GRANTS_PER_CALL;
use dvs_abi::{Access, DcId, Effect, Endpoint, Error, Grant, Message, NodeId};

/// The grants of one call: at most [`GRANTS_PER_CALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    len: u8,
    items: [Grant; GRANTS_PER_CALL],
}

impl Grants {
    const EMPTY: Grant = Grant { address: 0, length: 0, access: Access::Read };

    /// No grant.
    pub const NONE: Grants = Grants { len: 0, items: [Self::EMPTY; GRANTS_PER_CALL] };

    /// These grants; `None` when they are more than a call may have.
    pub fn new(grants: &[Grant]) -> Option<Self> {
        let mut all = Self::NONE;
        all.items.get_mut(..grants.len())?.copy_from_slice(grants);
        all.len = grants.len() as u8;
        Some(all)
    }

    /// The grants.
    pub fn as_slice(&self) -> &[Grant] {
        &self.items[..usize::from(self.len).min(GRANTS_PER_CALL)]
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self::NONE
    }
}

/// One frame between two daemons. Payloads are borrowed: from the receive buffer when decoded, from the
/// sender's memory when encoded.
///
/// A [`Message`] travels as its 64-byte header and the inline bytes in use; its deadline word holds the
/// nanoseconds **remaining** (see [`dvs_abi::Deadline::remaining`]), because two nodes share no clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// A plain message or a request (the message's kind says which) for an endpoint of the receiving node.
    Call {
        /// Number of the call at the calling node.
        call: u64,
        /// The message.
        msg: Message,
        /// Memory lent until the call ends.
        grants: Grants,
    },
    /// The receiver took the message of the call.
    Consumed {
        /// Number of the call.
        call: u64,
    },
    /// The answer of a request.
    Reply {
        /// Number of the call.
        call: u64,
        /// The answer.
        msg: Message,
    },
    /// The call ended with an error.
    Failed {
        /// Number of the call.
        call: u64,
        /// What went wrong, whose fault, whether the effect happened.
        error: Error,
    },
    /// The server relayed the request: the calling node sends it to another endpoint.
    Redirect {
        /// Number of the call.
        call: u64,
        /// Who answers it now.
        to: Endpoint,
        /// The message as the server changed it.
        msg: Message,
    },
    /// The caller no longer wants to wait. Answered by [`Frame::Withdrawn`], unless the call ended before.
    Cancel {
        /// Number of the call.
        call: u64,
    },
    /// A notification; no answer.
    Notify {
        /// The container.
        dc: DcId,
        /// Who raised it.
        source: Endpoint,
        /// For whom.
        destination: Endpoint,
        /// Bits to be merged into what is pending.
        value: u64,
        /// When, in ns on the raising node's clock.
        timestamp: u64,
    },
    /// Asks for bytes out of the memory granted with a call of the receiving node; answered by
    /// [`Frame::Data`] frames and [`Frame::CopyDone`].
    CopyRead {
        /// Number of the copy.
        copy: u64,
        /// The call whose grants are used.
        call: u64,
        /// First byte at the caller.
        address: u64,
        /// Bytes, at most `COPY_BYTES_MAX`.
        length: u64,
    },
    /// Announces bytes for memory granted with a call of the receiving node; they follow as [`Frame::Data`].
    CopyWrite {
        /// Number of the copy.
        copy: u64,
        /// The call whose grants are used.
        call: u64,
        /// First byte at the caller.
        address: u64,
        /// Bytes, at most `COPY_BYTES_MAX`.
        length: u64,
    },
    /// A chunk of a copy (bulk stream).
    Data {
        /// Number of the copy.
        copy: u64,
        /// Offset of the chunk in the copy.
        offset: u64,
        /// Whether this is the last chunk.
        last: bool,
        /// The bytes, at most `COPY_CHUNK_BYTES`.
        bytes: &'a [u8],
    },
    /// The copy ended.
    CopyDone {
        /// Number of the copy.
        copy: u64,
        /// Bytes copied.
        length: u64,
        /// Why it failed, or nothing.
        error: Option<Error>,
    },
    /// Asks the receiving node to copy from memory granted by a call of its own into memory granted by a
    /// call of a third node (or of itself), without passing through the asking server's node.
    CopyRelay {
        /// Number of the copy at the asking node.
        copy: u64,
        /// The call whose grants are read.
        call: u64,
        /// First byte read.
        address: u64,
        /// Bytes, at most `COPY_BYTES_MAX`.
        length: u64,
        /// The node of the memory written.
        to_node: NodeId,
        /// The call whose grants are written.
        to_call: u64,
        /// First byte written.
        to_address: u64,
    },
    /// A record between daemons that this layer does not read.
    Control {
        /// The record, at most `CONTROL_BYTES_MAX`.
        bytes: &'a [u8],
    },
    /// Announces to the receiving node that a third one is going to write memory granted with a call of it;
    /// the third one is asked when this was confirmed by [`Frame::CopyDone`].
    CopyFrom {
        /// Number of the copy at the asking node.
        copy: u64,
        /// The call whose grants are used.
        call: u64,
        /// First byte written.
        address: u64,
        /// Bytes, at most `COPY_BYTES_MAX`.
        length: u64,
        /// Who is going to write.
        node: NodeId,
    },
    /// A cancelled call is over.
    Withdrawn {
        /// Number of the call.
        call: u64,
        /// *No*: the message was not consumed and never will be.
        effect: Effect,
    },
}

/// Names of the kinds, index is the number on the wire.
pub const KIND_NAMES: [&str; 16] = [
    "",
    "CALL",
    "CONSUMED",
    "REPLY",
    "FAILED",
    "REDIRECT",
    "CANCEL",
    "NOTIFY",
    "COPY_READ",
    "COPY_WRITE",
    "DATA",
    "COPY_DONE",
    "COPY_RELAY",
    "CONTROL",
    "WITHDRAWN",
    "COPY_FROM",
];

impl Frame<'_> {
    /// The number of the kind on the wire.
    pub const fn kind(&self) -> u8 {
        match self {
            Frame::Call { .. } => 1,
            Frame::Consumed { .. } => 2,
            Frame::Reply { .. } => 3,
            Frame::Failed { .. } => 4,
            Frame::Redirect { .. } => 5,
            Frame::Cancel { .. } => 6,
            Frame::Notify { .. } => 7,
            Frame::CopyRead { .. } => 8,
            Frame::CopyWrite { .. } => 9,
            Frame::Data { .. } => 10,
            Frame::CopyDone { .. } => 11,
            Frame::CopyRelay { .. } => 12,
            Frame::Control { .. } => 13,
            Frame::Withdrawn { .. } => 14,
            Frame::CopyFrom { .. } => 15,
        }
    }

    /// The name of the kind.
    pub const fn name(&self) -> &'static str {
        KIND_NAMES[self.kind() as usize]
    }
}
