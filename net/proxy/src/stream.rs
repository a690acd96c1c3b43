//! One stream of a session: its outbox, its inbox, and when to speak although there is nothing to say.
//!
//! The inbox is one number: the last frame received in order. Frames up to it are skipped (they were sent
//! again), the next one is taken, anything higher is a gap and ends the connection. Acknowledgements ride on
//! whatever is sent; when nothing is, a record of its own goes out after a quarter of the credit or with the
//! next tick.

use crate::outbox::{BadAck, Batch, Outbox};
use dvs_abi::limits::{CREDIT_BULK_BYTES, CREDIT_FRAMES};
use dvs_wire::{RecordHead, SessionFrame, StreamClass, WireError};

/// Frames received and not acknowledged before an acknowledgement goes out at once.
const ACK_FRAMES: u64 = CREDIT_FRAMES as u64 / 4;
/// Bytes received and not acknowledged before an acknowledgement goes out at once.
const ACK_BYTES: u64 = CREDIT_BULK_BYTES / 8;

/// A connection broke the protocol; it is closed, the session goes on over the next one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// Bytes that are no record or frame.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An impossible acknowledgement.
    #[error(transparent)]
    Ack(#[from] BadAck),
    /// Frames are missing.
    #[error("frame {got} came where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A greeting in the middle of the stream.
    #[error("a greeting on an open connection")]
    Greeting,
    /// The connection was replaced or the session given up.
    #[error("the connection is no longer current")]
    Old,
}

/// What goes onto the connection next.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Only the acknowledgement in the header.
    Ack,
    /// A heartbeat.
    Session(SessionFrame),
    /// Frames.
    Batch(Batch),
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// For the header.
    pub ack: u64,
    /// The rest.
    pub payload: Payload,
}

impl Outgoing {
    /// The header for a payload of `length` bytes.
    pub fn head(&self, length: usize, lz4: bool) -> RecordHead {
        let (session, first) = match &self.payload {
            Payload::Ack => (false, 0),
            Payload::Session(_) => (true, 0),
            Payload::Batch(b) => (false, b.first),
        };
        RecordHead { length: length as u32, lz4, session, ack: self.ack, first }
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// The sending half.
    pub out: Outbox,
    /// Number of the current connection; 0 = none. Events of others are ignored.
    conn: u64,
    received: u64,
    /// What the other side was last told.
    told: u64,
    unacked_bytes: u64,
    ack_now: bool,
    ping: Option<u64>,
    pong: Option<u64>,
    spoke: u64,
    heard: u64,
    /// Frames are being delivered: silence is ours, not the peer's.
    busy: bool,
    /// Smoothed round trip of heartbeats, ns; 0 = unknown.
    pub rtt: u64,
}

impl Stream {
    /// A stream without connection.
    pub fn new(class: StreamClass) -> Self {
        Stream {
            out: Outbox::new(class),
            conn: 0,
            received: 0,
            told: 0,
            unacked_bytes: 0,
            ack_now: false,
            ping: None,
            pong: None,
            spoke: 0,
            heard: 0,
            busy: false,
            rtt: 0,
        }
    }

    /// A new session: numbers start at 1, the connection is gone.
    pub fn reset(&mut self) {
        self.out.reset();
        (self.received, self.told, self.conn) = (0, 0, 0);
    }

    /// Number of the current connection.
    pub const fn conn(&self) -> u64 {
        self.conn
    }

    /// Number of the last frame received in order.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// A connection on which the other side has received all up to `received`.
    ///
    /// # Errors
    /// [`BadAck`]: the session cannot go on.
    pub fn open(&mut self, conn: u64, received: u64, now: u64) -> Result<(), BadAck> {
        self.out.resume(received)?;
        self.conn = conn;
        (self.told, self.unacked_bytes, self.ack_now, self.busy) = (self.received, 0, false, false);
        // The first heartbeat goes at once: how far the other side is, is best seen before there is traffic.
        (self.ping, self.pong) = (Some(now), None);
        (self.spoke, self.heard) = (now, now);
        Ok(())
    }

    /// The connection is gone. Returns false when it was no longer the current one.
    pub fn close(&mut self, conn: u64) -> bool {
        let current = conn == self.conn && conn != 0;
        if current {
            self.conn = 0;
        }
        current
    }

    /// Whether [`Stream::next_record`] has something.
    pub fn wants_write(&self) -> bool {
        self.conn != 0 && (self.out.pending() || self.ack_now || self.ping.is_some() || self.pong.is_some())
    }

    /// The next record for the connection.
    pub fn next_record(&mut self, now: u64) -> Option<Outgoing> {
        if self.conn == 0 {
            return None;
        }
        let payload = if let Some(t) = self.pong.take() {
            Payload::Session(SessionFrame::Pong(t))
        } else if let Some(batch) = self.out.next_batch() {
            Payload::Batch(batch)
        } else if let Some(t) = self.ping.take() {
            Payload::Session(SessionFrame::Ping(t))
        } else if self.ack_now {
            Payload::Ack
        } else {
            return None;
        };
        self.spoke = now;
        (self.told, self.unacked_bytes, self.ack_now) = (self.received, 0, false);
        Some(Outgoing { ack: self.received, payload })
    }

    /// A record arrived on `conn`: its acknowledgement is taken, and the number of the last frame received
    /// so far comes back, so that the caller delivers only the later ones. Ends with [`Stream::end`]. The
    /// second value tells whether credit came back.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn begin(&mut self, conn: u64, head: &RecordHead, now: u64) -> Result<(u64, bool), StreamError> {
        if conn != self.conn || conn == 0 {
            return Err(StreamError::Old);
        }
        self.heard = now;
        let credit = self.out.ack(head.ack)?;
        if head.first > self.received + 1 {
            return Err(StreamError::Gap { expected: self.received + 1, got: head.first });
        }
        self.busy = true;
        Ok((self.received, credit))
    }

    /// Bytes arrived that are no whole record yet: the peer is alive, only slow.
    pub fn noise(&mut self, conn: u64, now: u64) {
        if conn == self.conn {
            self.heard = now;
        }
    }

    /// The frames of the record up to number `last` were delivered. Returns whether an acknowledgement is
    /// due.
    ///
    /// # Errors
    /// [`StreamError::Old`] when the connection was replaced meanwhile.
    pub fn end(&mut self, conn: u64, last: u64, bytes: usize, now: u64) -> Result<bool, StreamError> {
        if conn != self.conn || conn == 0 {
            return Err(StreamError::Old);
        }
        self.busy = false;
        self.heard = now;
        self.received = self.received.max(last);
        self.unacked_bytes += bytes as u64;
        if self.received - self.told >= ACK_FRAMES || self.unacked_bytes >= ACK_BYTES {
            self.ack_now = true;
        }
        Ok(self.ack_now)
    }

    /// A session frame arrived. Returns whether something is to be written.
    ///
    /// # Errors
    /// A greeting on an open connection.
    pub fn session_frame(&mut self, frame: &SessionFrame, now: u64) -> Result<bool, StreamError> {
        match frame {
            SessionFrame::Ping(t) => {
                self.pong = Some(*t);
                Ok(true)
            }
            SessionFrame::Pong(t) => {
                let sample = now.saturating_sub(*t);
                self.rtt = if self.rtt == 0 { sample } else { (self.rtt * 7 + sample) / 8 };
                Ok(false)
            }
            _ => Err(StreamError::Greeting),
        }
    }

    /// Time passes: heartbeat and late acknowledgements. Returns false when the peer was silent for too long.
    pub fn tick(&mut self, now: u64, ping_every: u64, silence_max: u64) -> bool {
        if self.conn == 0 {
            return true;
        }
        if self.received != self.told {
            self.ack_now = true;
        }
        if self.out.outstanding() == 0 {
            self.out.shed();
        }
        if now.saturating_sub(self.spoke) >= ping_every {
            self.ping = Some(now);
        }
        self.busy || now.saturating_sub(self.heard) < silence_max
    }
}
