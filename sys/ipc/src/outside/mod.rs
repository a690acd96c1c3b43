//! The session: what a process has to do with the world outside of it.
//!
//! # The picture
//!
//! ```text
//!  calls ──────> lanes (shared memory) ──────> other session        no daemon on the way
//!    ^             |
//!    |  table      | doorbell: one blocked thread polls, the others sleep on their own
//!    +─── control thread <── socket ── daemon       binds, opens lanes, tells of deaths
//! ```
//!
//! # Locks
//! First the table of the process, then the lanes (`Lanes`); the doorbell is taken without waiting by
//! whoever polls. Nothing is sent to the daemon with the table locked.
//!
//! # When the daemon ends
//! The control thread reads the end of the socket: every lane is closed, every wait outside ends with
//! `DVSINIT`, and so does every later call that needs the daemon. Endpoints of one process still reach each
//! other.

mod ask;
mod board;
mod calls;
mod events;
mod lanes;
mod poll;
mod unsent;

pub(crate) use ask::{ask, ask_to_the_end, bind, bind_by, catch_up, unbind, watch};
pub(crate) use calls::{collect, exchange, notify, redirect, reply, take};
pub(crate) use lanes::parts;

use crate::bell::{Bell, Glance, Ringer, SpinPolicy};
use crate::control::{self, Request};
use crate::host::{Host, Memory, View};
use crate::lock::{Guard, Lock};
use crate::process::{Process, Shared};
use ask::Pending;
use board::Board;
use dvs_abi::{Code, Effect, Endpoint, Error, Grant, NodeId, Result};
use lanes::Lanes;
use poll::Sleepers;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use unsent::Unsent;

/// What became of one attempt of a call.
pub(crate) enum Attempt {
    /// It is over.
    Over,
    /// Make it again: the destination moved, or a lane had to be opened.
    Repeat,
    /// Make it again in a while: the destination has moved, and this node does not know where yet.
    Moved,
    /// Make it again under the same number: it was sent to an instance that is gone, and may have been done.
    Again,
    /// The lane is closed, but the daemon has not said so: the peer is about to end, or lies. Make it again
    /// in a while.
    Shut,
    /// A server relayed it: make it again to this endpoint.
    Redirected(Endpoint),
}

/// What cancelling a call through a lane found.
pub(crate) enum Cancelled {
    /// It is cancelled (or there was none); the effect if there was one.
    Effect(Option<Effect>),
    /// Not now: its outcome is there, a copy is going on, or another node gives the message back. It is left
    /// anyway after so long, in ns.
    Later(u64),
}

/// Memory that came with a record of the daemon.
pub enum Mapped {
    /// To be read and written.
    Memory(Arc<dyn Memory>),
    /// To be read.
    View(Arc<dyn View>),
}

/// The three memories of a session, made by its host and shown to the daemon with the first record.
pub struct SessionMemory {
    /// Rung by peers.
    pub bell: Arc<dyn Memory>,
    /// Written by the session, read by peers.
    pub status: Arc<dyn Memory>,
    /// Written by the session, read by the daemon.
    pub board: Arc<dyn Memory>,
}

/// The control socket.
pub trait Channel: Send + Sync {
    /// Makes the session's memories and sends the first record with them.
    ///
    /// # Errors
    /// `NOMEM`, `DVSINIT` when the daemon is not there.
    fn hello(&self, record: &[u8]) -> Result<SessionMemory>;

    /// Sends a record.
    ///
    /// # Errors
    /// `DVSINIT` when the daemon is not there any more.
    fn send(&self, record: &[u8]) -> Result<()>;

    /// Sends a record if there is room; whether there was.
    ///
    /// # Errors
    /// As [`Channel::send`].
    fn try_send(&self, record: &[u8]) -> Result<bool>;

    /// The next record and the memory that came with it; blocks; `None` at the end.
    fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)>;

    /// Ends the connection: whoever receives, here or at the daemon, finds its end.
    fn end(&self);
}

/// The session of a process.
pub struct Outside {
    host: Arc<dyn Host>,
    channel: Arc<dyn Channel>,
    node: NodeId,
    lanes: Lock<Lanes>,
    bell: Mutex<(Bell, SpinPolicy)>,
    own_ringer: Ringer,
    board: Board,
    pending: Mutex<HashMap<u64, Pending>>,
    unsent: Unsent,
    requests: AtomicU64,
    watched: Mutex<HashMap<(u16, i32), ()>>,
    sleepers: Sleepers,
    ended: AtomicBool,
    glance: Glance,
    /// [`Glance::taken`] when what had rung was brought in last; written under the lock of the process.
    brought: AtomicU64,
    /// How often a lane rang that was not known yet.
    puzzled: AtomicU64,
    /// How many of those times the daemon's word of it has been read.
    caught_up: AtomicU64,
}

impl Drop for Outside {
    /// The session ends with the last that holds its process; else its control thread would keep it.
    fn drop(&mut self) {
        self.channel.end();
    }
}

impl Outside {
    /// The node of the session.
    pub fn node(&self) -> NodeId {
        self.node
    }

    #[inline]
    fn lanes(&self) -> Guard<'_, Lanes> {
        // As with the table: a panic under this lock is a bug of ours and must not stop the other endpoints.
        self.lanes.lock()
    }

    pub(crate) fn alive(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) { Err(Error::early(Code::DVSINIT)) } else { Ok(()) }
    }

    /// What the caller of request `seq` of a lane lent.
    pub(crate) fn grants(&self, lane: u32, seq: u64) -> Vec<Grant> {
        self.lanes().grants(lane, seq)
    }

    /// Process of the other side of an incoming lane, and whether it is on another node.
    pub(crate) fn peer(&self, lane: u32) -> Option<(u32, bool)> {
        match self.lanes().get(lane)? {
            lanes::Use::In { peer, .. } => Some((peer.pid, peer.remote)),
            _ => None,
        }
    }

    /// Does something with a lane.
    pub(crate) fn with_lane<T>(&self, lane: u32, f: impl FnOnce(crate::lane::Lane<'_>) -> T) -> Option<T> {
        self.lanes().with_lane(lane, f)
    }

    /// Tells the other side of a lane to look at it.
    pub(crate) fn tell_peer(&self, lane: u32) {
        self.lanes().tell_peer(&*self.host, lane);
    }

    /// Counts a copy.
    pub(crate) fn copied(&self, board: u32, remote: bool) {
        self.board.copied(board, remote);
    }

    /// An endpoint is about to wait: shown on the board.
    pub(crate) fn waits(
        &self,
        board: u32,
        endpoint: Endpoint,
        phase: dvs_kern::rendezvous::Phase,
        now: u64,
        call: u64,
    ) {
        self.board.waits(board, endpoint, phase, now, call);
    }

    /// It waits no more.
    pub(crate) fn runs(&self, board: u32, endpoint: Endpoint) {
        self.board.runs(board, endpoint);
    }

    /// The request in a lane fails: its destination is gone.
    pub(crate) fn refuse(&self, lane: u32, seq: u64, error: &Error) {
        let lanes = self.lanes();
        if lanes.with_lane(lane, |l| l.fail(seq, error.code, error.effect).is_ok()) == Some(true) {
            lanes.tell_peer(&*self.host, lane);
        }
    }

    /// As `tell`, from within a call, which is not held by a daemon that reads nothing: sent now, or with
    /// what is sent next.
    pub(crate) fn tell_soon(&self, request: Request) {
        self.unsent.add(request);
        self.unsent.send(&*self.channel);
    }

    /// The same, for what is said again if it was lost.
    pub(crate) fn hint(&self, request: Request) {
        if let Ok(bytes) = control::encode(&control::Numbered { id: 0, request }) {
            let _ = self.channel.try_send(&bytes);
        }
    }

    /// Sends a record that has no answer, when there is room for it.
    pub(crate) fn tell(&self, request: Request) {
        if let Ok(bytes) = control::encode(&control::Numbered { id: 0, request }) {
            // A daemon that is gone has nothing to be told; the control thread finds the end.
            let _ = self.channel.send(&bytes);
        }
        self.unsent.send(&*self.channel);
    }
}

impl Process {
    /// A process attached to the daemon behind `channel`, under `name` in displays.
    ///
    /// # Errors
    /// `DVSINIT` when the daemon is not there, `VERSION` when it speaks no version of ours, `NOSPC` when it
    /// has as many sessions as it may.
    pub fn attach(host: Arc<dyn Host>, channel: Arc<dyn Channel>, name: &str) -> Result<Process> {
        let hello = Request::Hello { version: control::VERSION, name: name.chars().take(15).collect() };
        let memory = channel.hello(&control::encode(&control::Numbered { id: 1, request: hello })?)?;
        let node = ask::welcome(&*channel)?;
        let bell = Bell::new(memory.bell, memory.status).ok_or(Error::early(Code::NOMEM))?;
        let outside = Outside {
            host: host.clone(),
            channel: channel.clone(),
            node,
            lanes: Lock::new(Lanes::default()),
            own_ringer: bell.ringer(),
            glance: bell.glance(),
            bell: Mutex::new((bell, SpinPolicy::default())),
            board: Board::new(memory.board),
            pending: Mutex::new(HashMap::new()),
            unsent: Unsent::default(),
            requests: AtomicU64::new(1),
            watched: Mutex::new(HashMap::new()),
            sleepers: Sleepers::default(),
            ended: AtomicBool::new(false),
            brought: AtomicU64::new(0),
            puzzled: AtomicU64::new(0),
            caught_up: AtomicU64::new(0),
        };
        let process = Process::new(host, Some(outside));
        let shared: Weak<Shared> = Arc::downgrade(process.shared());
        std::thread::Builder::new()
            .name("dvs-control".into())
            .stack_size(256 << 10)
            .spawn(move || events::run(&*channel, &shared))
            .map_err(|_| Error::early(Code::NOMEM))?;
        Ok(process)
    }
}
