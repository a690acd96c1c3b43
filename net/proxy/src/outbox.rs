//! The sending half of a stream: frames become numbered batches, kept until the other node has them.
//!
//! ```text
//!   push ──▶ open batch ──seal──▶ [kept][kept][kept][kept] ──▶ connection
//!                                   ▲ acked      ▲ cursor: next to write
//! ```
//!
//! A batch is the unit of everything: it collects whatever is pushed while the connection is busy (so
//! batching needs no timer), is written with one call, is kept as it was written, and is sent again whole
//! after a break. The receiver skips the frames of it that it already has. Credit counts what is kept, so a
//! peer that does not acknowledge costs a bounded amount of memory and then makes its callers wait.

use dvs_abi::limits::{BULK_FRAME_BYTES_MAX, CREDIT_BULK_BYTES, CREDIT_FRAMES};
use dvs_wire::{Frame, StreamClass, WireError};
use std::collections::VecDeque;
use std::sync::Arc;

/// A batch is sealed when it has so many bytes: a quarter of a usual L2 cache, well beyond where batching
/// gains.
const SEAL_BYTES: usize = 64 << 10;
/// Buffers kept for the next batches.
const SPARE_MAX: usize = 4;
/// The same for chunks of copies: those that one acknowledgement frees, and some.
const SPARE_CHUNKS_MAX: usize = 16;

/// Why a frame cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The credit is used up: wait until the other node has confirmed some.
    #[error("the other node has not confirmed enough to take more")]
    WouldBlock,
    /// The node is dead, or there is no such node: nothing was sent.
    #[error("the node is not reachable")]
    Dead,
    /// The frame breaks a bound.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A sealed batch: frames `first..=last`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of the first frame.
    pub first: u64,
    /// Number of the last frame.
    pub last: u64,
    /// The frames back to back.
    pub bytes: Arc<Vec<u8>>,
}

/// The other side claims to have received what was never sent, or to lack what it had confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the other node confirms frame {said}, but {acked} were confirmed and {sent} sent")]
pub struct BadAck {
    said: u64,
    acked: u64,
    sent: u64,
}

/// The sending half of a stream.
#[derive(Debug)]
pub struct Outbox {
    frames_max: u64,
    bytes_max: u64,
    /// Number of the last frame pushed.
    last: u64,
    /// Number of the last frame ever handed to a connection.
    sent: u64,
    acked: u64,
    /// Bytes kept, the open batch included.
    bytes: u64,
    open: Vec<u8>,
    open_first: u64,
    kept: VecDeque<Batch>,
    /// Index into `kept` of the next batch to write on this connection.
    cursor: usize,
    spare: Vec<Vec<u8>>,
    /// Room of chunks, the one used last at the end: it may still be in the cache.
    spare_chunks: Vec<Vec<u8>>,
}

impl Outbox {
    /// An empty one with the credit of its class.
    pub fn new(class: StreamClass) -> Self {
        let (frames_max, bytes_max) = match class {
            // the bound on bytes follows from the one on frames, for frames of the usual size
            StreamClass::Message => (u64::from(CREDIT_FRAMES), u64::from(CREDIT_FRAMES) * 1024),
            StreamClass::Bulk => (u64::from(CREDIT_FRAMES), CREDIT_BULK_BYTES),
        };
        Outbox {
            frames_max,
            bytes_max,
            last: 0,
            sent: 0,
            acked: 0,
            bytes: 0,
            open: Vec::new(),
            open_first: 1,
            kept: VecDeque::new(),
            cursor: 0,
            spare: Vec::new(),
            spare_chunks: Vec::new(),
        }
    }

    /// Forgets everything; numbers start at 1 again.
    pub fn reset(&mut self) {
        let (frames_max, bytes_max) = (self.frames_max, self.bytes_max);
        *self = Outbox { frames_max, bytes_max, ..Outbox::new(StreamClass::Message) };
    }

    /// Whether there is credit for one more frame.
    pub fn has_credit(&self) -> bool {
        self.last - self.acked < self.frames_max && self.bytes < self.bytes_max
    }

    /// Frames that are not confirmed.
    pub fn outstanding(&self) -> u64 {
        self.last - self.acked
    }

    /// Numbers the frame and puts it at the end.
    ///
    /// # Errors
    /// No credit, or a frame that breaks a bound; nothing has changed then.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), SendError> {
        if !self.has_credit() {
            return Err(SendError::WouldBlock);
        }
        if self.open.len() + frame.size_hint() > BULK_FRAME_BYTES_MAX {
            self.seal();
        }
        let before = self.open.len();
        frame.encode(&mut self.open)?;
        self.bytes += (self.open.len() - before) as u64;
        self.last += 1;
        if self.open.len() >= SEAL_BYTES {
            self.seal();
        }
        Ok(())
    }

    /// The same for one frame that the caller has encoded already, without a further copy.
    ///
    /// # Errors
    /// No credit; the bytes come back.
    pub fn push_encoded(&mut self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        if !self.has_credit() {
            return Err(frame);
        }
        self.seal();
        self.bytes += frame.len() as u64;
        self.last += 1;
        self.open = frame;
        self.seal();
        Ok(())
    }

    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.open, self.spare.pop().unwrap_or_default());
        self.kept.push_back(Batch { first: self.open_first, last: self.last, bytes: Arc::new(bytes) });
        self.open_first = self.last + 1;
    }

    /// Whether there is something this connection has not been given yet.
    pub fn pending(&self) -> bool {
        self.cursor < self.kept.len() || !self.open.is_empty()
    }

    /// The next batch for the connection.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.cursor >= self.kept.len() {
            self.seal();
        }
        let batch = self.kept.get(self.cursor)?.clone();
        self.cursor += 1;
        self.sent = self.sent.max(batch.last);
        Some(batch)
    }

    /// The other node has all frames up to `number`. Returns whether something new was confirmed.
    ///
    /// # Errors
    /// A number that was never sent, or below what was confirmed.
    pub fn ack(&mut self, number: u64) -> Result<bool, BadAck> {
        if number < self.acked || number > self.sent {
            return Err(BadAck { said: number, acked: self.acked, sent: self.sent });
        }
        if number == self.acked {
            return Ok(false);
        }
        self.acked = number;
        while self.kept.front().is_some_and(|b| b.last <= number) {
            if let Some(batch) = self.kept.pop_front() {
                self.cursor = self.cursor.saturating_sub(1);
                self.bytes -= batch.bytes.len() as u64;
                self.recycle(batch);
            }
        }
        Ok(true)
    }

    fn recycle(&mut self, batch: Batch) {
        let Ok(mut bytes) = Arc::try_unwrap(batch.bytes) else { return };
        if bytes.capacity() > 2 * SEAL_BYTES {
            if self.spare_chunks.len() < SPARE_CHUNKS_MAX {
                self.spare_chunks.push(bytes);
            }
        } else if self.spare.len() < SPARE_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Gives back some of the room that is kept for chunks; to be called now and then while nothing is sent.
    pub fn shed(&mut self) {
        self.spare_chunks.pop();
    }

    /// Room of a chunk that was confirmed, with what was in it; empty when there is none.
    pub fn spare_chunk(&mut self) -> Vec<u8> {
        self.spare_chunks.pop().unwrap_or_default()
    }

    /// A new connection to a node that has received all up to `received`: everything after it goes again.
    ///
    /// # Errors
    /// A number that cannot be; the session cannot go on.
    pub fn resume(&mut self, received: u64) -> Result<(), BadAck> {
        self.ack(received)?;
        self.cursor = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Outbox, SendError};
    use dvs_abi::limits::{COPY_CHUNK_BYTES, CREDIT_BULK_BYTES, CREDIT_FRAMES};
    use dvs_wire::{Frame, Frames, StreamClass};

    fn calls(bytes: &[u8]) -> Vec<u64> {
        Frames::new(bytes)
            .map(|f| match f.unwrap() {
                Frame::Consumed { call } => call,
                f => panic!("{f:?}"),
            })
            .collect()
    }

    #[test]
    fn what_is_pushed_between_two_writes_is_one_batch_and_goes_again_from_the_resume_point() {
        let mut out = Outbox::new(StreamClass::Message);
        for call in 1..=3 {
            out.push(&Frame::Consumed { call }).unwrap();
        }
        let a = out.next_batch().unwrap();
        assert_eq!((a.first, a.last, calls(&a.bytes)), (1, 3, vec![1, 2, 3]));
        assert!(out.next_batch().is_none() && !out.pending());
        out.push(&Frame::Consumed { call: 4 }).unwrap();
        assert_eq!(out.next_batch().unwrap().first, 4);
        out.resume(2).unwrap();
        assert_eq!((out.next_batch().unwrap().first, out.next_batch().unwrap().first), (1, 4));
        out.resume(3).unwrap();
        assert_eq!(out.next_batch().unwrap().first, 4);
        assert!(out.ack(9).is_err() && out.ack(2).is_err() && out.ack(4) == Ok(true));
        assert_eq!(out.outstanding(), 0);
    }

    #[test]
    fn credit_is_bounded_and_comes_back() {
        let mut out = Outbox::new(StreamClass::Message);
        let mut n = 0;
        while out.push(&Frame::Consumed { call: n }).is_ok() {
            n += 1;
        }
        assert_eq!(n, u64::from(CREDIT_FRAMES));
        while out.next_batch().is_some() {}
        assert_eq!(out.ack(n), Ok(true));
        assert!(out.push(&Frame::Consumed { call: 0 }).is_ok());

        let mut bulk = Outbox::new(StreamClass::Bulk);
        let bytes = vec![7; COPY_CHUNK_BYTES];
        let mut sent = 0;
        while bulk.push(&Frame::Data { copy: 0, offset: 0, last: false, bytes: &bytes }).is_ok() {
            sent += bytes.len() as u64;
        }
        assert!((CREDIT_BULK_BYTES..CREDIT_BULK_BYTES + 2 * bytes.len() as u64).contains(&sent));
        assert_eq!(bulk.push(&Frame::Cancel { call: 1 }), Err(SendError::WouldBlock));
        while bulk.next_batch().is_some() {}
        assert!(bulk.spare_chunk().is_empty());
        bulk.ack(4).unwrap();
        assert_eq!(
            (0..5).filter(|_| !bulk.spare_chunk().is_empty()).count(),
            4,
            "room of what was confirmed"
        );
        bulk.ack(6).unwrap();
        bulk.shed();
        assert_eq!((0..5).filter(|_| !bulk.spare_chunk().is_empty()).count(), 1, "some is given back");
    }
}
