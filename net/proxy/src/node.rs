//! One peer node at run time: the pure state machine under a lock, and per stream a reader and a sender
//! thread.
//!
//! ```text
//!   control ─▶ delivery[class] ─▶ writer[class] ─▶ peer      locks, always taken in this order
//! ```
//!
//! `peer` is held for a few hundred nanoseconds at a time. `delivery` is held while frames of one record
//! are handed to the router, so that `down` is said after the last frame of a session and `up` before the
//! first of the next.

use crate::conn::{Conn, lock};
use crate::driver::{Clock, Handler};
use crate::outbox::SendError;
use crate::peer::Peer;
use crate::session::{Command, DownReason, State};
use crate::tls::Fingerprint;
use crate::writer::Writer;
use dvs_abi::NodeId;
use dvs_wire::{Frame, Greeting, StreamClass};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// What a reader thread is to do next.
pub(crate) enum Job {
    Dial,
    /// A connection of which the listener has read the HELLO, and what it read behind it.
    Accept(Box<Accepted>),
}

pub(crate) struct Accepted {
    pub conn: Conn,
    pub raw: crate::conn::Raw,
    pub records: crate::records::Records,
    pub hello: Greeting,
}

/// One stream of a peer at run time.
#[derive(Default)]
pub(crate) struct Half {
    pub writer: Mutex<Writer>,
    /// Number of the connection the writer has.
    installed: AtomicU64,
    pub delivery: Mutex<()>,
    job: Mutex<Option<Job>>,
    job_came: Condvar,
    /// The connection in use, so that others can end it.
    current: Mutex<Option<Arc<Conn>>>,
    /// The socket was full: the sender thread goes on.
    full: Mutex<bool>,
    full_came: Condvar,
    pub frames_in: AtomicU64,
    pub connections: AtomicU64,
}

pub(crate) struct Node {
    pub id: NodeId,
    address: Mutex<SocketAddr>,
    pub fingerprint: Option<Fingerprint>,
    pub peer: Mutex<Peer>,
    pub halves: [Half; 2],
    pub handler: Arc<dyn Handler>,
    pub clock: Clock,
    pub stop: AtomicBool,
    control: Mutex<()>,
    credit: Condvar,
    waiters: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// A node whose heartbeats take less is near: the same room or town.
const NEAR_NS: u64 = 5_000_000;
/// Writes in a row that a caller does for others before the sender thread takes over.
const ROUNDS_MAX: u32 = 8;

impl Node {
    pub(crate) fn new(
        peer: Peer,
        id: NodeId,
        address: SocketAddr,
        fingerprint: Option<Fingerprint>,
        handler: Arc<dyn Handler>,
        clock: Clock,
    ) -> Self {
        Node {
            id,
            address: Mutex::new(address),
            fingerprint,
            peer: Mutex::new(peer),
            halves: Default::default(),
            handler,
            clock,
            stop: AtomicBool::new(false),
            control: Mutex::new(()),
            credit: Condvar::new(),
            waiters: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Where it is dialed.
    pub(crate) fn address(&self) -> SocketAddr {
        *lock(&self.address)
    }

    /// It listens elsewhere.
    pub(crate) fn moved(&self, address: SocketAddr) {
        *lock(&self.address) = address;
    }

    pub(crate) fn half(&self, class: StreamClass) -> &Half {
        &self.halves[class as usize]
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Remembers and tells what went wrong, once until it changes.
    pub(crate) fn say(&self, text: String) {
        let mut last = lock(&self.trouble);
        if last.as_ref() != Some(&text) {
            self.handler.trouble(Some(self.id), &text);
            *last = Some(text);
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    pub(crate) fn clear_trouble(&self) {
        *lock(&self.trouble) = None;
    }

    /// Queues a frame without writing it.
    pub(crate) fn queue(&self, class: StreamClass, frame: &Frame<'_>) -> Result<(), SendError> {
        if let Frame::Data { bytes, .. } = frame
            && bytes.len() >= 16 << 10
        {
            // encoded before the lock is taken, so that a large copy holds nobody up
            let mut encoded = Vec::with_capacity(frame.size_hint());
            frame.encode(&mut encoded)?;
            return lock(&self.peer).push_encoded(class, encoded).map_err(|(e, _)| e);
        }
        lock(&self.peer).push(class, frame)
    }

    /// Queues a frame; waits for credit until `until`.
    pub(crate) fn queue_wait(
        &self,
        class: StreamClass,
        frame: &Frame<'_>,
        until: Instant,
    ) -> Result<(), SendError> {
        let mut encoded = Vec::with_capacity(frame.size_hint());
        frame.encode(&mut encoded)?;
        self.queue_encoded_wait(class, encoded, until).map_err(|(e, _)| e)
    }

    /// The same for one encoded frame, whose bytes come back with an error.
    pub(crate) fn queue_encoded_wait(
        &self,
        class: StreamClass,
        mut encoded: Vec<u8>,
        until: Instant,
    ) -> Result<(), (SendError, Vec<u8>)> {
        loop {
            {
                let mut peer = lock(&self.peer);
                match peer.push_encoded(class, encoded) {
                    Ok(()) => return Ok(()),
                    Err((SendError::WouldBlock, back)) => encoded = back,
                    Err(e) => return Err(e),
                }
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err((SendError::WouldBlock, encoded));
                }
                self.waiters.fetch_add(1, Ordering::Relaxed);
                // a missed wake costs no more than this; credit also comes back with a tick
                let nap = left.min(Duration::from_millis(50));
                drop(self.credit.wait_timeout(peer, nap).unwrap_or_else(PoisonError::into_inner));
                self.waiters.fetch_sub(1, Ordering::Relaxed);
            }
            self.flush(class);
        }
    }

    pub(crate) fn spare_chunk(&self) -> Vec<u8> {
        lock(&self.peer).spare_chunk()
    }

    pub(crate) fn credit_came(&self, class: StreamClass) {
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.credit.notify_all();
        }
        self.handler.credit(self.id, class);
    }

    fn unwritten(&self, class: StreamClass) -> bool {
        let installed = self.half(class).installed.load(Ordering::Acquire);
        let peer = lock(&self.peer);
        let stream = peer.stream(class);
        installed != 0 && stream.conn() == installed && stream.wants_write()
    }

    /// Writes what is queued, unless somebody is at it already.
    pub(crate) fn flush(&self, class: StreamClass) {
        let half = self.half(class);
        for _ in 0..ROUNDS_MAX {
            let mut writer = match half.writer.try_lock() {
                Ok(w) => w,
                Err(TryLockError::Poisoned(w)) => w.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let drained = self.pump(class, &mut writer, false, ROUNDS_MAX);
            drop(writer);
            if !drained {
                break;
            }
            if !self.unwritten(class) {
                return;
            }
        }
        *lock(&half.full) = true;
        half.full_came.notify_one();
    }

    /// Writes until nothing is left (true), the socket is full or the rounds are over (false).
    fn pump(&self, class: StreamClass, writer: &mut Writer, wait: bool, rounds: u32) -> bool {
        for _ in 0..rounds {
            let now = self.clock.now();
            let result = self.collect(class, writer, now).and_then(|()| writer.write(wait));
            match result {
                Ok(true) if writer.is_empty() && !self.unwritten(class) => return true,
                Ok(true) => {}
                Ok(false) if wait && writer.conn().is_some() && !self.stopped() => {}
                Ok(false) => return false,
                Err(e) => {
                    // the reader sees the end of the connection and starts the next one
                    if let Some(conn) = writer.conn() {
                        conn.shutdown();
                        self.say(format!("writing to {}: {e}", self.id));
                    }
                    self.uninstall(class, writer);
                    return true;
                }
            }
        }
        false
    }

    fn collect(&self, class: StreamClass, writer: &mut Writer, now: u64) -> std::io::Result<()> {
        while writer.collects() {
            let record = {
                let mut peer = lock(&self.peer);
                if peer.stream(class).conn() != writer.id() || writer.id() == 0 {
                    return Ok(());
                }
                peer.next_record(class, now)
            };
            match record {
                Some(record) => writer.add(&record)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn uninstall(&self, class: StreamClass, writer: &mut Writer) {
        writer.install(None, 0);
        self.half(class).installed.store(0, Ordering::Release);
    }

    /// The reader has a connection that both sides have greeted.
    pub(crate) fn install(&self, class: StreamClass, conn: &Arc<Conn>, id: u64) {
        let half = self.half(class);
        *lock(&half.current) = Some(Arc::clone(conn));
        lock(&half.writer).install(Some(Arc::clone(conn)), id);
        half.installed.store(id, Ordering::Release);
        half.connections.fetch_add(1, Ordering::Relaxed);
        // it may have been ended before it could be found in `current`
        if lock(&self.peer).stream(class).conn() != id || self.stopped() {
            conn.shutdown();
        }
        self.flush(class);
    }

    /// The reader's connection is over.
    pub(crate) fn remove(&self, class: StreamClass, conn: &Conn, id: u64) {
        conn.shutdown();
        let half = self.half(class);
        *lock(&half.current) = None;
        self.uninstall(class, &mut lock(&half.writer));
        lock(&self.peer).lost(class, id, self.clock.now());
    }

    /// Ends the connection of a class; its reader goes on to the next job.
    pub(crate) fn close(&self, class: StreamClass) {
        if let Some(conn) = &*lock(&self.half(class).current) {
            conn.shutdown();
        }
    }

    /// The sender thread: takes over when a socket is full.
    pub(crate) fn sender(&self, class: StreamClass) {
        let half = self.half(class);
        loop {
            {
                let mut full = lock(&half.full);
                while !*full && !self.stopped() {
                    full = half.full_came.wait(full).unwrap_or_else(PoisonError::into_inner);
                }
                *full = false;
            }
            if self.stopped() {
                return;
            }
            loop {
                let drained = self.pump(class, &mut lock(&half.writer), true, 64);
                if drained && !self.unwritten(class) || self.stopped() {
                    break;
                }
            }
        }
    }

    /// Gives the reader of a class something to do; an older job that nobody took is dropped.
    pub(crate) fn give(&self, class: StreamClass, job: Job) {
        let half = self.half(class);
        let replaced = lock(&half.job).replace(job);
        if let Some(Job::Accept(old)) = replaced {
            old.conn.shutdown();
        }
        half.job_came.notify_one();
    }

    /// Waits for the next job; nothing when the node stops.
    pub(crate) fn take(&self, class: StreamClass) -> Option<Job> {
        let half = self.half(class);
        let mut job = lock(&half.job);
        loop {
            if self.stopped() {
                return None;
            }
            if let Some(job) = job.take() {
                return Some(job);
            }
            job = half.job_came.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does what the state machine asks for, in its order.
    pub(crate) fn obey(&self) {
        let _control = lock(&self.control);
        let commands = lock(&self.peer).commands();
        for command in commands {
            match command {
                Command::Dial(class) => self.give(class, Job::Dial),
                Command::Close(class) => self.close(class),
                Command::Up => {
                    self.clear_trouble();
                    self.handler.up(self.id);
                }
                Command::Down(reason) => {
                    let _message = lock(&self.halves[0].delivery);
                    let _bulk = lock(&self.halves[1].delivery);
                    self.handler.down(self.id, reason);
                    self.credit.notify_all();
                }
            }
        }
    }

    /// Time passes.
    pub(crate) fn tick(&self) {
        lock(&self.peer).tick(self.clock.now());
        self.obey();
        // A stream that is busy sends no heartbeats; the other one does.
        let rtt = StreamClass::ALL.map(|class| lock(&self.peer).stream(class).rtt);
        let near = rtt.iter().any(|rtt| (1..NEAR_NS).contains(rtt));
        for class in StreamClass::ALL {
            if near && let Some(conn) = &*lock(&self.half(class).current) {
                conn.near();
            }
            if self.unwritten(class) {
                self.flush(class);
            }
        }
    }

    /// Ends the session; what follows is done with the next tick.
    pub(crate) fn give_up(&self) {
        let mut peer = lock(&self.peer);
        // Also before the first connection: what was queued for the next session must not go out in it.
        if peer.state() != State::Dead {
            peer.give_up(DownReason::Flooded, self.clock.now());
        }
    }

    /// It is in no list any more: its session ends, and its threads do.
    pub(crate) fn forgotten(&self) {
        // A reader may be greeting at this moment: nothing comes of it.
        lock(&self.peer).forget(self.clock.now());
        self.obey();
        self.shut();
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.peer).state()
    }

    /// Ends all threads of this node.
    pub(crate) fn shut(&self) {
        self.stop.store(true, Ordering::Release);
        for half in &self.halves {
            if let Some(conn) = &*lock(&half.current) {
                conn.shutdown();
            }
            drop(lock(&half.job));
            half.job_came.notify_all();
            drop(lock(&half.full));
            half.full_came.notify_all();
        }
        self.credit.notify_all();
    }
}
