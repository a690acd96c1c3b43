//! The door to the other nodes.
//!
//! The proxy is a session inside the daemon (number 0): lanes to endpoints of other nodes end there. It runs
//! in threads of its own and talks to the loop by two channels, so that no peer can hold up the daemon:
//!
//! ```text
//!   Daemon ── ToProxy ──►  proxy  ◄── frames ──► peers
//!          ◄─ FromProxy ──
//! ```
//! What peers may have waiting in there is bounded by `backlog`.
//!
//! Without a proxy (a system of one, which listens nowhere) what is meant for it is dropped.
//!
//! [`start()`] makes it of the configuration; `router` is the part with threads.

mod backlog;
mod feeder;
mod nodes;
mod router;
mod start;
#[cfg(test)]
mod tests;

pub use backlog::Backlog;
pub use nodes::resolve;
pub use start::{node_key, random, start};

use dvs_abi::{Endpoint, Error, NodeId};
use dvs_ipc::bell::Ringer;
use dvs_ipc::control::{Answer as Answered, Event, WireError};
use dvs_kern::node::event::SessionId;
use dvs_linux::LinuxHost;
use dvs_linux::memory::Mapping;
use dvs_proxy::{Answer, Fingerprint};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

/// What the daemon tells the proxy, in order.
#[allow(missing_docs)]
pub enum ToProxy {
    /// A new link: the proxy is `side` and knows it as `number`; the peer is rung with `bell_link`.
    Link { number: u16, side: u8, bell_link: u16, peer_pid: u32, memory: Arc<Mapping>, ringer: Ringer },
    /// An event other than a link; of an opened lane the node its callee is on.
    Told(Event, Option<NodeId>),
    /// The answer to [`FromProxy::Open`] with this number.
    Reply { id: u64, result: Result<Answered, WireError> },
    /// Carry a record to a node, as `CONTROL`.
    Control { node: u16, bytes: Vec<u8> },
    /// The same for what the replicated log says, which is dropped rather than kept when the node takes too
    /// little: the log says it again.
    Log { node: u16, bytes: Vec<u8> },
    /// Move `length` bytes for a session; answered by [`FromProxy::Copied`]. What was lent is checked by the
    /// proxy against the lanes, before each chunk.
    Copy { session: SessionId, id: u64, from: CopyEnd, to: CopyEnd, length: u64 },
    /// Whoever ordered this copy does not wait any more; it is still answered.
    Withdraw { session: SessionId, id: u64 },
    /// A session ended.
    Gone { session: SessionId },
    /// End.
    Stop,
}

/// With whom connections are kept.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum NodeOrder {
    /// With this one, too, or at another address from now on; `key` unless connections are plain.
    Admit { node: u16, address: String, key: Option<[u8; 32]> },
    /// With this one no more.
    Forget { node: u16 },
    /// The session with this one is over; another one may begin.
    GiveUp { node: u16 },
}

/// One side of a copy.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum CopyEnd {
    /// Memory of the process that asks.
    Own { pid: u32, address: u64 },
    /// Memory lent by a caller of this node; its lane is in `memory`.
    Here { pid: u32, memory: Arc<Mapping>, lane: u8, seq: u64, address: u64 },
    /// Memory lent by a caller of another node, whose lane is in the proxy's link `number`.
    There { number: u16, lane: u8, seq: u64, address: u64 },
}

/// What the proxy tells the daemon.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum FromProxy {
    /// There is a session with a node.
    Up { node: u16 },
    /// A node was declared dead.
    Down { node: u16 },
    /// A machine wants to join: the key it proved to have, where it comes from, what it says.
    Knock { key: Option<Fingerprint>, from: SocketAddr, payload: Vec<u8>, answer: Answer },
    /// A record came from a node.
    Control { node: u16, bytes: Vec<u8> },
    /// A lane is wanted for messages of `from` on `node`.
    Open { id: u64, node: u16, dc: u16, from: i32, to: i32, remaining: u64 },
    /// A notification came for an endpoint that moved away from here.
    Notice { dc: u16, from: Endpoint, to: Endpoint, value: u64 },
    /// A closed lane was forgotten.
    Free { link: u16, lane: u8 },
    /// A copy ended.
    Copied { session: SessionId, id: u64, result: Result<(), Error> },
    /// Worth a line in the log.
    Log(String),
}

/// The memories of the proxy's doorbell and the channel to it, given to the daemon.
pub struct Door {
    /// The bell's memory, handed to sessions that have a link with the proxy.
    pub bell: Arc<OwnedFd>,
    /// The status page beside it.
    pub status: Arc<OwnedFd>,
    /// To the proxy, which waits for nothing while it takes: what has no credit yet goes into bounded queues.
    pub to: Sender<ToProxy>,
    /// From the proxy.
    pub from: Receiver<FromProxy>,
    /// Records of other nodes that are in `from`: those not taken by [`Door::next`] hold up their senders.
    pub backlog: Arc<Backlog>,
    /// Wakes the proxy after something was put into `to`.
    pub ringer: Ringer,
    /// To the thread that has connections begin and end.
    pub nodes: Sender<NodeOrder>,
    /// Ends after [`ToProxy::Stop`].
    pub thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Tells the proxy; false when it has ended.
    pub fn tell(&self, message: ToProxy) -> bool {
        let told = self.to.send(message).is_ok();
        self.ringer.ring_own(&LinuxHost);
        told
    }

    /// What the proxy has to say next, if anything; never waits.
    pub fn next(&self) -> Option<FromProxy> {
        let message = self.from.try_recv().ok()?;
        if let FromProxy::Control { node, bytes } = &message {
            self.backlog.leave(*node, bytes.len());
        }
        Some(message)
    }
}

impl Drop for Door {
    /// Ends the proxy: its connections and threads are gone afterwards.
    fn drop(&mut self) {
        // First: a reader that is held up may be the one that hears it.
        self.backlog.close();
        self.tell(ToProxy::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Wakes the daemon's loop after something was put into [`Door::from`], or to stop it.
#[derive(Clone, Debug)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        Ok(Waker { fd: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?) })
    }

    /// Wakes the loop; never blocks.
    pub fn wake(&self) {
        // A full counter means that it is going to wake anyway.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
    }
}
