//! Records: what a connection carries after its bytes are decrypted.
//!
//! One record is one batch: all that was queued when the sender came around, written with one system call.
//! Its header numbers the frames (so that a broken connection is resumed without loss or duplicate) and
//! acknowledges the other direction (so that an acknowledgement never costs a packet while traffic flows).

use crate::cut::Cut;
use crate::encode::bound;
use crate::error::WireError;
use dvs_abi::limits::BULK_FRAME_BYTES_MAX;

/// Bytes of a record's header.
pub const RECORD_HEAD_BYTES: usize = 24;
/// Largest payload of a record, before or after decompression: one bulk frame and room for small ones.
pub const RECORD_PAYLOAD_MAX: usize = 2 * BULK_FRAME_BYTES_MAX;

const FLAG_LZ4: u8 = 1;
const FLAG_SESSION: u8 = 2;

/// The header of a record.
///
/// ```
/// use dvs_wire::{RecordHead, RECORD_HEAD_BYTES};
/// let head = RecordHead { length: 40, lz4: false, session: false, ack: 9, first: 3 };
/// assert_eq!(RecordHead::decode(&head.encode()), Ok(head));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordHead {
    /// Bytes of payload that follow.
    pub length: u32,
    /// Whether the payload is LZ4: four bytes of plain length, then one block.
    pub lz4: bool,
    /// Whether the payload is a session frame (greeting, heartbeat), which has no number.
    pub session: bool,
    /// Number of the last frame received in order on this stream; all up to it need not be kept any more.
    pub ack: u64,
    /// Number of the first frame; the others follow by one. Zero when there is no numbered frame.
    pub first: u64,
}

impl RecordHead {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEAD_BYTES] {
        let mut out = [0; RECORD_HEAD_BYTES];
        out[..4].copy_from_slice(&self.length.to_le_bytes());
        out[4] = if self.lz4 { FLAG_LZ4 } else { 0 } | if self.session { FLAG_SESSION } else { 0 };
        out[8..16].copy_from_slice(&self.ack.to_le_bytes());
        out[16..].copy_from_slice(&self.first.to_le_bytes());
        out
    }

    /// A header from its bytes.
    ///
    /// # Errors
    /// A payload above [`RECORD_PAYLOAD_MAX`], unknown flags, numbers that do not fit the flags.
    pub fn decode(bytes: &[u8; RECORD_HEAD_BYTES]) -> Result<Self, WireError> {
        let mut cut = Cut::new(bytes);
        let length = cut.u32("record length")?;
        let flags = cut.u8("record flags")?;
        let reserved = cut.take("reserved", 3)?;
        let (ack, first) = (cut.u64("ack")?, cut.u64("first")?);
        bound("record length", RECORD_PAYLOAD_MAX, length as usize)?;
        if flags & !(FLAG_LZ4 | FLAG_SESSION) != 0 || reserved != [0; 3] {
            return Err(WireError::BadValue { what: "record flags", value: flags.into() });
        }
        let (lz4, session) = (flags & FLAG_LZ4 != 0, flags & FLAG_SESSION != 0);
        if (session || length == 0) != (first == 0) || (session && lz4) {
            return Err(WireError::BadValue { what: "record number", value: first });
        }
        Ok(RecordHead { length, lz4, session, ack, first })
    }
}
