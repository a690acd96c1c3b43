//! The sending side of one connection: records become bytes, bytes leave with as few calls as possible.
//!
//! Whoever has something to send and finds the writer free writes it itself, without a switch to another
//! thread; whoever finds it busy leaves, because the one who writes looks again before it goes. When the
//! socket is full the stream's sender thread takes over.

use crate::conn::Conn;
use crate::outbox::Batch;
use crate::squeeze::{Squeeze, pack};
use crate::stream::{Outgoing, Payload};
use dvs_wire::RECORD_HEAD_BYTES;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

/// Records are collected into one write up to so many bytes.
const COLLECT_BYTES: usize = 64 << 10;
/// A plain batch of this size or more is written from where it is kept, without a copy.
const IN_PLACE_BYTES: usize = 16 << 10;
/// What one TLS record holds.
const TLS_PLAIN: usize = 16 << 10;

/// Counters of a stream's sending side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub batches: u64,
    pub bytes: u64,
    pub compressed: u64,
}

#[derive(Default)]
pub(crate) struct Writer {
    conn: Option<Arc<Conn>>,
    id: u64,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// A batch that follows the buffer, and how much of it is written.
    tail: Option<(Batch, usize)>,
    squeeze: Squeeze,
    scratch: Vec<u8>,
    /// Plain bytes added since the last write ended, and whether some of them were packed.
    flight: (u64, bool),
    pub sent: Sent,
}

impl Writer {
    /// A new connection; what was in the buffer belonged to the old one.
    pub(crate) fn install(&mut self, conn: Option<Arc<Conn>>, id: u64) {
        (self.conn, self.id) = (conn, id);
        (self.from, self.to) = (0, 0);
        self.tail = None;
        self.flight = (0, false);
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn conn(&self) -> Option<Arc<Conn>> {
        self.conn.clone()
    }

    /// Whether another record can be added before the next write.
    pub(crate) fn collects(&self) -> bool {
        self.tail.is_none() && self.to - self.from < COLLECT_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to && self.tail.is_none()
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, record: &Outgoing) -> io::Result<()> {
        let Some(conn) = self.conn.clone() else { return Ok(()) };
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        let batch = match &record.payload {
            Payload::Batch(batch) => batch,
            Payload::Ack => return self.put(&conn, &record.head(0, false).encode(), &[]),
            Payload::Session(frame) => {
                let mut bytes = Vec::new();
                frame.encode(&mut bytes);
                return self.put(&conn, &record.head(bytes.len(), false).encode(), &bytes);
            }
        };
        self.sent.batches += 1;
        self.flight.0 += batch.bytes.len() as u64;
        self.sent.bytes += batch.bytes.len() as u64;
        if self.squeeze.wants(batch.bytes.len()) {
            let start = Instant::now();
            let mut packed = std::mem::take(&mut self.scratch);
            packed.clear();
            let n = pack(&batch.bytes, &mut packed);
            let pays = self.squeeze.tried(batch.bytes.len(), n, start.elapsed().as_nanos() as u64);
            let result = if pays {
                self.sent.compressed += 1;
                self.flight.1 = true;
                self.put(&conn, &record.head(n, true).encode(), &packed)
            } else {
                self.plain(&conn, record, batch)
            };
            self.scratch = packed;
            return result;
        }
        self.plain(&conn, record, batch)
    }

    fn plain(&mut self, conn: &Conn, record: &Outgoing, batch: &Batch) -> io::Result<()> {
        let head = record.head(batch.bytes.len(), false).encode();
        if conn.encrypted() || batch.bytes.len() < IN_PLACE_BYTES {
            return self.put(conn, &head, &batch.bytes);
        }
        self.put(conn, &head, &[])?;
        self.tail = Some((batch.clone(), 0));
        Ok(())
    }

    fn put(&mut self, conn: &Conn, head: &[u8], payload: &[u8]) -> io::Result<()> {
        if !conn.encrypted() {
            self.to = conn.seal(head, &mut self.buffer, self.to)?;
            self.to = conn.seal(payload, &mut self.buffer, self.to)?;
            return Ok(());
        }
        // the header shares a TLS record with the start of the payload
        let cut = payload.len().min(TLS_PLAIN - RECORD_HEAD_BYTES);
        let mut first = [0; TLS_PLAIN];
        first[..head.len()].copy_from_slice(head);
        first[head.len()..head.len() + cut].copy_from_slice(&payload[..cut]);
        self.to = conn.seal(&first[..head.len() + cut], &mut self.buffer, self.to)?;
        if cut < payload.len() {
            self.to = conn.seal(&payload[cut..], &mut self.buffer, self.to)?;
        }
        Ok(())
    }

    /// Writes what is there. `Ok(false)`: the socket is full.
    pub(crate) fn write(&mut self, wait: bool) -> io::Result<bool> {
        let Some(conn) = self.conn.clone() else { return Ok(true) };
        let (start, mut done) = (wait.then(Instant::now), 0);
        while !self.is_empty() {
            let tail = self.tail.as_ref().map_or(&[][..], |(batch, at)| &batch.bytes[*at..]);
            let parts = [IoSlice::new(&self.buffer[self.from..self.to]), IoSlice::new(tail)];
            let Some(n) = conn.write(&parts, wait)? else {
                return Ok(false);
            };
            done += n as u64;
            self.advance(n);
        }
        let (plain, packed) = std::mem::take(&mut self.flight);
        if let Some(start) = start {
            self.squeeze.drained(done, plain, packed, start.elapsed().as_nanos() as u64);
        }
        Ok(true)
    }

    fn advance(&mut self, n: usize) {
        let of_buffer = n.min(self.to - self.from);
        self.from += of_buffer;
        if let Some((batch, at)) = &mut self.tail {
            *at += n - of_buffer;
            if *at >= batch.bytes.len() {
                self.tail = None;
            }
        }
    }

    /// The link's measured drain rate in bytes a second.
    pub(crate) fn link_rate(&self) -> Option<f64> {
        self.squeeze.link_rate()
    }
}
