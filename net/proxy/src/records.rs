//! Cuts a byte stream into records, and writes records.
//!
//! One contiguous buffer: bytes are read behind what is there, whole records are looked at in place, and
//! the rest moves to the front only when the room behind runs out. The buffer is as large as one record can
//! be, so a peer cannot make it grow.

use crate::stream::{Outgoing, Payload};
use dvs_wire::{RECORD_HEAD_BYTES, RECORD_PAYLOAD_MAX, RecordHead, WireError};

/// Room that is always left behind the bytes before a read.
const READ_BYTES: usize = 64 << 10;
const BUFFER_MAX: usize = RECORD_HEAD_BYTES + RECORD_PAYLOAD_MAX + READ_BYTES;

/// The receiving side's buffer.
#[derive(Debug, Default)]
pub struct Records {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Records {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what is there.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room to read into; say with [`Records::filled`] how much was read.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < READ_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let wanted = (self.end + READ_BYTES).max(self.awaited()).min(BUFFER_MAX);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Where the record at the front will end, if its header is there.
    fn awaited(&self) -> usize {
        match self.buffer[self.start..self.end].first_chunk().map(RecordHead::decode) {
            Some(Ok(head)) => self.start + RECORD_HEAD_BYTES + head.length as usize,
            _ => 0,
        }
    }

    /// `n` bytes of the room were filled.
    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.buffer.len());
    }

    /// Appends bytes that are elsewhere; returns how many were taken (the rest after the records are cut).
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.filled(n);
        n
    }

    /// The next whole record.
    ///
    /// # Errors
    /// Bytes that are no record.
    pub fn next_record(&mut self) -> Result<Option<(RecordHead, &[u8])>, WireError> {
        let Some(head) = self.buffer[self.start..self.end].first_chunk() else { return Ok(None) };
        let head = RecordHead::decode(head)?;
        let from = self.start + RECORD_HEAD_BYTES;
        let to = from + head.length as usize;
        if to > self.end {
            return Ok(None);
        }
        self.start = to;
        Ok(Some((head, &self.buffer[from..to])))
    }

    /// The header of the next record, if it is there.
    ///
    /// # Errors
    /// Bytes that are no header.
    pub fn peek(&self) -> Result<Option<RecordHead>, WireError> {
        self.buffer[self.start..self.end].first_chunk().map(RecordHead::decode).transpose()
    }

    /// Bytes that are there and not taken.
    pub const fn held(&self) -> usize {
        self.end - self.start
    }

    /// Whether part of a record is there.
    pub const fn partial(&self) -> bool {
        self.start != self.end
    }
}

/// Appends a whole, uncompressed record.
pub fn write_record(record: &Outgoing, out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    let payload: &[u8] = match &record.payload {
        Payload::Ack => &[],
        Payload::Session(frame) => {
            frame.encode(&mut scratch);
            &scratch
        }
        Payload::Batch(batch) => &batch.bytes,
    };
    out.extend_from_slice(&record.head(payload.len(), false).encode());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::{Records, write_record};
    use crate::outbox::Batch;
    use crate::stream::{Outgoing, Payload};
    use dvs_wire::RECORD_PAYLOAD_MAX;
    use std::sync::Arc;

    #[test]
    fn records_come_out_whole_however_the_bytes_arrive() {
        let sizes = [1, 500, RECORD_PAYLOAD_MAX, 3, 200_000, 70_000];
        let mut bytes = Vec::new();
        for (i, n) in sizes.iter().enumerate() {
            let batch = Batch { first: i as u64 + 1, last: i as u64 + 1, bytes: Arc::new(vec![i as u8; *n]) };
            write_record(&Outgoing { ack: 0, payload: Payload::Batch(batch) }, &mut bytes);
        }
        for step in [1000, 65_536, bytes.len()] {
            let (mut records, mut got) = (Records::new(), Vec::new());
            for mut chunk in bytes.chunks(step) {
                while !chunk.is_empty() {
                    chunk = &chunk[records.feed(chunk)..];
                    while let Some((head, payload)) = records.next_record().unwrap() {
                        assert!(payload.iter().all(|b| u64::from(*b) + 1 == head.first));
                        got.push(payload.len());
                    }
                }
            }
            assert!(got == sizes && !records.partial());
        }
    }
}
