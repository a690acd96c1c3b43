//! One peer node: the session and its two streams, as one state machine without input or output.
//!
//! The driver and the simulation in `tests/session.rs` call the same few functions:
//!
//! ```text
//! caller   push ─────────────▶          ─▶ next_record   sender writes it
//! reader   connected, begin / end, lost ─▶ commands      dial, close, tell the router
//! clock    tick ─────────────▶          ─▶ commands
//! ```
//!
//! A connection is known by a number that is never used twice; events of an old one are ignored.

use crate::outbox::SendError;
use crate::session::{Command, DownReason, Session, State, Timing};
use crate::stream::{Outgoing, Stream, StreamError};
use dvs_abi::NodeId;
use dvs_wire::{Frame, Greeting, RecordHead, Refusal, SessionFrame, StreamClass, Versions};

/// A peer node.
#[derive(Debug)]
pub struct Peer {
    session: Session,
    streams: [Stream; 2],
    /// Number of the last connection.
    conns: u64,
    commands: Vec<Command>,
}

impl Peer {
    /// Node `node`, which runs as `boot` (random), towards `peer`.
    pub fn new(node: NodeId, boot: u128, peer: NodeId, timing: Timing, now: u64) -> Self {
        Peer {
            session: Session::new(node, boot, peer, timing, now),
            streams: StreamClass::ALL.map(Stream::new),
            conns: 0,
            commands: Vec::new(),
        }
    }

    /// Speaks other versions (for tests of the negotiation).
    pub fn with_versions(mut self, versions: Versions) -> Self {
        self.session = self.session.with_versions(versions);
        self
    }

    /// A node of this system: see [`Session::with_system`].
    pub fn with_system(mut self, system: u128) -> Self {
        self.session = self.session.with_system(system);
        self
    }

    /// Begins with this life: see [`Session::with_life`].
    pub fn with_life(mut self, life: u64) -> Self {
        self.session = self.session.with_life(life);
        self
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// Whether this side dials.
    pub fn dials(&self) -> bool {
        self.session.dials()
    }

    /// One stream.
    pub fn stream(&self, class: StreamClass) -> &Stream {
        &self.streams[class as usize]
    }

    fn stream_mut(&mut self, class: StreamClass) -> &mut Stream {
        &mut self.streams[class as usize]
    }

    /// What is to be done; the list is empty afterwards. Streams are already reset when it says `Down`.
    pub fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    fn settle(&mut self, from: usize) {
        if self.commands[from..].iter().any(|c| matches!(c, Command::Down(_))) {
            self.streams.iter_mut().for_each(Stream::reset);
        }
    }

    /// Puts a frame at the end of a stream.
    ///
    /// # Errors
    /// Dead, no credit, or a frame that breaks a bound.
    pub fn push(&mut self, class: StreamClass, frame: &Frame<'_>) -> Result<(), SendError> {
        if self.state() == State::Dead {
            return Err(SendError::Dead);
        }
        self.stream_mut(class).out.push(frame)
    }

    /// The same for one encoded frame, whose bytes come back with an error.
    ///
    /// # Errors
    /// Dead or no credit.
    pub fn push_encoded(&mut self, class: StreamClass, frame: Vec<u8>) -> Result<(), (SendError, Vec<u8>)> {
        if self.state() == State::Dead {
            return Err((SendError::Dead, frame));
        }
        self.stream_mut(class).out.push_encoded(frame).map_err(|f| (SendError::WouldBlock, f))
    }

    /// Room for a chunk of a copy: see [`crate::outbox::Outbox::spare_chunk`].
    pub fn spare_chunk(&mut self) -> Vec<u8> {
        self.stream_mut(StreamClass::Bulk).out.spare_chunk()
    }

    /// What to say on a new connection of ours.
    pub fn hello(&self, class: StreamClass) -> Greeting {
        self.session.hello(class, self.stream(class).received())
    }

    /// A HELLO came on a new connection: WELCOME and the number of the connection, or a refusal.
    ///
    /// # Errors
    /// The refusal to send before closing.
    pub fn on_hello(&mut self, g: &Greeting, now: u64) -> Result<(Greeting, u64), Refusal> {
        let from = self.commands.len();
        let answer = self.session.on_hello(g, now, &mut self.commands);
        self.settle(from);
        answer?;
        match self.open(g, now) {
            Some(conn) => Ok((self.session.welcome(g, self.stream(g.class).received()), conn)),
            None => Err(Refusal {
                reason: dvs_wire::RefusalReason::Stale,
                versions: dvs_wire::VERSIONS,
                boot: 0,
                text: "the numbers do not fit the session".to_owned(),
            }),
        }
    }

    /// A WELCOME came on a connection of ours: its number, or nothing when it is to be closed.
    pub fn on_welcome(&mut self, g: &Greeting, now: u64) -> Option<u64> {
        let from = self.commands.len();
        let usable = self.session.on_welcome(g, now, &mut self.commands);
        self.settle(from);
        if usable { self.open(g, now) } else { None }
    }

    fn open(&mut self, g: &Greeting, now: u64) -> Option<u64> {
        self.conns += 1;
        let conn = self.conns;
        if self.stream_mut(g.class).open(conn, g.received, now).is_ok() {
            return Some(conn);
        }
        self.give_up(DownReason::Protocol, now);
        None
    }

    /// Ends the session; a new one begins when the node is reached.
    pub fn give_up(&mut self, reason: DownReason, now: u64) {
        let from = self.commands.len();
        self.session.lost(reason, now, &mut self.commands);
        self.settle(from);
    }

    /// The peer is in the list no more: its session ends, and none begins.
    pub fn forget(&mut self, now: u64) {
        let from = self.commands.len();
        self.session.forget(now, &mut self.commands);
        self.settle(from);
    }

    /// A REFUSE came in answer to our `hello`.
    pub fn on_refuse(&mut self, hello: &Greeting, r: &Refusal, now: u64) {
        let from = self.commands.len();
        self.session.on_refuse(hello, r, now, &mut self.commands);
        self.settle(from);
    }

    /// A dial failed before any greeting.
    pub fn dial_failed(&mut self, class: StreamClass, now: u64) {
        self.session.closed(class, now);
    }

    /// Connection `conn` is gone.
    pub fn lost(&mut self, class: StreamClass, conn: u64, now: u64) {
        if self.stream_mut(class).close(conn) {
            self.session.closed(class, now);
        }
    }

    /// The next record for the connection of a class.
    pub fn next_record(&mut self, class: StreamClass, now: u64) -> Option<Outgoing> {
        self.stream_mut(class).next_record(now)
    }

    /// A record arrived: see [`Stream::begin`].
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn begin(
        &mut self,
        class: StreamClass,
        conn: u64,
        head: &RecordHead,
        now: u64,
    ) -> Result<(u64, bool), StreamError> {
        self.stream_mut(class).begin(conn, head, now)
    }

    /// Its frames were delivered: see [`Stream::end`].
    ///
    /// # Errors
    /// The connection was replaced meanwhile.
    pub fn end(
        &mut self,
        class: StreamClass,
        conn: u64,
        last: u64,
        bytes: usize,
        now: u64,
    ) -> Result<bool, StreamError> {
        self.stream_mut(class).end(conn, last, bytes, now)
    }

    /// Bytes that are no whole record yet.
    pub fn noise(&mut self, class: StreamClass, conn: u64, now: u64) {
        self.stream_mut(class).noise(conn, now);
    }

    /// A session frame arrived: see [`Stream::session_frame`].
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn session_frame(
        &mut self,
        class: StreamClass,
        f: &SessionFrame,
        now: u64,
    ) -> Result<bool, StreamError> {
        self.stream_mut(class).session_frame(f, now)
    }

    /// Time passes.
    pub fn tick(&mut self, now: u64) {
        let (ping, silence) = (self.session.timing().ping_every, self.session.timing().silence_max);
        for class in StreamClass::ALL {
            if !self.stream_mut(class).tick(now, ping, silence) {
                let conn = self.stream(class).conn();
                self.lost(class, conn, now);
                self.commands.push(Command::Close(class));
            }
        }
        let from = self.commands.len();
        self.session.tick(now, &mut self.commands);
        self.settle(from);
    }
}
