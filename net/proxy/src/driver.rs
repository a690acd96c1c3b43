//! Connections to all other nodes: the part that has sockets, threads and a clock.
//!
//! Threads: one listener, one clock, and four a peer (a reader and a sender for messages and for bulk). A
//! sender thread only works when a socket is full; otherwise whoever sends writes.

use crate::answer::Answer;
use crate::conn::lock;
use crate::greet::Greeter;
use crate::listen::Listener;
use crate::node::Node;
use crate::outbox::SendError;
use crate::peer::Peer;
use crate::reader;
use crate::session::{DownReason, State, Timing};
use crate::table::Table;
use crate::tls::{Fingerprint, NodeKey, Security, TlsError};
use dvs_abi::NodeId;
use dvs_abi::limits::KNOCK_WAIT_NS;
use dvs_abi::limits::NODES_MAX;
use dvs_wire::{DataFrame, Frame, StreamClass, VERSIONS, Versions};
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Stack of a reader or sender thread; the router's handler runs on a reader.
const STACK_BYTES: usize = 1 << 20;

/// What the router hears. Called from the threads here; must not block for long, and may send.
pub trait Handler: Send + Sync + 'static {
    /// A frame, in the order in which it was sent on its stream.
    fn frame(&self, node: NodeId, frame: &Frame<'_>);
    /// All frames that arrived together were delivered, or the connection broke among them. What the handler
    /// queued meanwhile is written after this.
    fn batch_end(&self, _node: NodeId) {}
    /// The reader of a node's messages is about to poll its socket: whether it should [`Handler::look`]
    /// between two polls. Then [`Handler::unwatch`] follows before it blocks.
    fn watch(&self, _node: NodeId) -> bool {
        false
    }
    /// Looks for something else to do; says whether there was any.
    fn look(&self, _node: NodeId) -> bool {
        false
    }
    /// The reader is about to block, or ends.
    fn unwatch(&self, _node: NodeId) {}
    /// A new session began; said before its first frame.
    fn up(&self, node: NodeId);
    /// The session ended: what was sent and not answered will never be. Said after its last frame, once. Also
    /// said when no session could begin for too long, for what was queued until then.
    fn down(&self, node: NodeId, reason: DownReason);
    /// The node confirmed frames: who had `WouldBlock` may try again.
    fn credit(&self, _node: NodeId, _class: StreamClass) {}
    /// A machine wants to join: the key it has proved to have (nothing without TLS: then only what it says
    /// tells who it is), where it comes from, and what it says, which is hostile until checked. It may be a
    /// node that is known, and asks again as it heard no answer. The answer may be given later, from any
    /// thread, within [`Config::knock_wait`]; this returns at once. Runs on a thread of its own; at most
    /// [`KNOCKS_MAX`](dvs_abi::limits::KNOCKS_MAX) at a time. Unless overridden, the answer is dropped:
    /// nobody is let in.
    fn knock(&self, _key: Option<Fingerprint>, _from: SocketAddr, _payload: Vec<u8>, _answer: Answer) {}
    /// Something for the log; also kept for [`Peers::trouble`].
    fn trouble(&self, _node: Option<NodeId>, _text: &str) {}
}

/// Another node.
#[derive(Clone, Debug)]
pub struct NodeAddress {
    /// Its id.
    pub id: NodeId,
    /// Where it listens; the lower id dials the higher.
    pub address: SocketAddr,
    /// Its key; needed with TLS.
    pub fingerprint: Option<Fingerprint>,
}

/// How to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// A random number of this run, never used before.
    pub boot: u128,
    /// Tells this node's system from every other: with a node of another one nothing begins, also where no
    /// keys say who is who.
    pub system: u128,
    /// Where to listen; port 0 takes any, see [`Peers::address`]. It may be 0.0.0.0 or \[::\]: where the
    /// other nodes find this one is what *their* entries for it say, and never told by this address.
    pub listen: SocketAddr,
    /// The others.
    pub nodes: Vec<NodeAddress>,
    /// TLS or, by explicit configuration, none.
    pub security: Security,
    /// Heartbeat and patience.
    pub timing: Timing,
    /// Protocol versions to offer; [`VERSIONS`] unless a test says otherwise.
    pub versions: Versions,
    /// How long a machine that knocks is kept waiting for [`Handler::knock`]'s answer.
    pub knock_wait: Duration,
}

impl Config {
    /// A configuration with the usual times.
    pub fn new(
        me: NodeId,
        boot: u128,
        listen: SocketAddr,
        nodes: Vec<NodeAddress>,
        security: Security,
    ) -> Self {
        Config {
            me,
            boot,
            listen,
            nodes,
            security,
            timing: Timing::default(),
            versions: VERSIONS,
            knock_wait: Duration::from_nanos(KNOCK_WAIT_NS),
            system: 0,
        }
    }
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The node list is wrong.
    #[error("node list: {0}")]
    Nodes(String),
    /// The key is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Nanoseconds since the start.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// TLS configurations, or none.
pub(crate) struct Keys {
    own: Option<Arc<NodeKey>>,
    server: Option<Arc<ServerConfig>>,
}

impl Keys {
    pub(crate) fn client(&self, node: &Node) -> io::Result<Option<Arc<ClientConfig>>> {
        let Some(own) = &self.own else { return Ok(None) };
        let pinned =
            node.fingerprint.ok_or_else(|| io::Error::other("the node list has no fingerprint for it"))?;
        own.client(pinned).map(Some).map_err(io::Error::other)
    }

    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }
}

/// How long [`Peers::send_wait`] may wait for credit.
pub type Wait = Duration;

/// Counters of one peer.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The peer.
    pub node: NodeId,
    /// Where it stands.
    pub state: State,
    /// Smoothed round trip of heartbeats in ns; 0 = unknown.
    pub rtt_ns: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Batches, bytes and compressed batches sent, over both streams.
    pub batches_out: u64,
    /// Bytes of frames sent, before compression.
    pub bytes_out: u64,
    /// Batches that were sent compressed.
    pub compressed_out: u64,
    /// Connections made, over both streams; two unless something broke.
    pub connections: u64,
    /// Frames sent and not confirmed.
    pub outstanding: u64,
    /// Drain rate of the bulk connection in bytes a second, once it was full.
    pub link_rate: Option<f64>,
}

/// Connections to all other nodes.
pub struct Peers {
    config: Config,
    handler: Arc<dyn Handler>,
    clock: Clock,
    keys: Arc<Keys>,
    table: Arc<Table>,
    address: SocketAddr,
    /// How many nodes were admitted.
    admitted: AtomicU64,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Peers {
    /// Listens, and keeps connecting to every other node.
    ///
    /// # Errors
    /// The address is taken, the node list or the key is wrong.
    pub fn start(config: Config, handler: Arc<dyn Handler>) -> Result<Peers, StartError> {
        let listen = |error| StartError::Listen { address: config.listen, error };
        let socket = TcpListener::bind(config.listen).map_err(listen)?;
        Self::start_on(socket, config, handler)
    }

    /// The same on a socket that listens already; `config.listen` is ignored.
    ///
    /// # Errors
    /// As [`Peers::start`].
    pub fn start_on(
        socket: TcpListener,
        config: Config,
        handler: Arc<dyn Handler>,
    ) -> Result<Peers, StartError> {
        let error = |error| StartError::Listen { address: config.listen, error };
        socket.set_nonblocking(true).map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        let table = Arc::<Table>::default();
        let keys = Arc::new(keys(&config)?);
        let peers = Peers {
            handler: Arc::clone(&handler),
            clock: Clock(Instant::now()),
            keys: Arc::clone(&keys),
            table: Arc::clone(&table),
            address,
            admitted: AtomicU64::new(0),
            stop: Arc::new(AtomicBool::new(false)),
            threads: Mutex::new(Vec::new()),
            config,
        };
        for node in peers.config.nodes.clone() {
            if peers.table.get(node.id).is_some() {
                return Err(StartError::Nodes(format!("{} is there twice", node.id)));
            }
            peers.admit(node)?;
        }
        let stop = Arc::clone(&peers.stop);
        let nodes = Arc::clone(&table);
        let (versions, knock_wait) = (peers.config.versions, peers.config.knock_wait);
        let greeter = Greeter::new(table, keys, stop, handler, peers.clock, versions, knock_wait);
        let listener = Listener { socket, greeter: Arc::new(greeter) };
        peers.spawn("dvs-listen".to_owned(), move || listener.run())?;
        let stop = Arc::clone(&peers.stop);
        let pause = Duration::from_nanos(peers.config.timing.ping_every / 4)
            .clamp(Duration::from_millis(2), Duration::from_millis(25));
        peers.spawn("dvs-clock".to_owned(), move || {
            while !stop.load(Ordering::Acquire) {
                nodes.all().for_each(|n| n.tick());
                // tidy: the clock of all sessions; what it waits for is time
                std::thread::sleep(pause);
            }
        })?;
        Ok(peers)
    }

    /// From here on, connections with this node are kept, too; those with others stand. For a node that is
    /// there already with the same key, only its address changes, from the next connection on.
    ///
    /// # Errors
    /// The entry is wrong, or another node has that id; no thread.
    pub fn admit(&self, node: NodeAddress) -> Result<(), StartError> {
        check(&self.config, &node)?;
        if let Some(there) = self.table.get(node.id) {
            if there.fingerprint != node.fingerprint {
                return Err(StartError::Nodes(format!("{} is there twice, with another key", node.id)));
            }
            there.moved(node.address);
            return Ok(());
        }
        // No session is given up this often.
        let life = self.admitted.fetch_add(1, Ordering::Relaxed) << 32;
        let new = new_node(&self.config, &node, &self.handler, self.clock, life);
        // Before its threads: whoever dials at once is known.
        if !self.table.put(&new) {
            return Err(StartError::Nodes(format!("{} is there twice", node.id)));
        }
        let started = self.start_node(&new);
        if started.is_err() {
            self.forget(node.id);
        }
        started
    }

    fn start_node(&self, node: &Arc<Node>) -> Result<(), StartError> {
        for class in StreamClass::ALL {
            let (n, k) = (Arc::clone(node), Arc::clone(&self.keys));
            self.spawn(format!("dvs-r{}-{}", class as u8, node.id), move || reader::run(&n, class, &k))?;
            let n = Arc::clone(node);
            self.spawn(format!("dvs-s{}-{}", class as u8, node.id), move || n.sender(class))?;
        }
        Ok(())
    }

    /// No connection with this node is kept or taken any more; if it dials, it is refused as any stranger.
    /// Unless it was dead, [`Handler::down`] is called before this returns. Not to be called by a handler.
    pub fn forget(&self, node: NodeId) {
        if let Some(node) = self.table.take(node) {
            node.forgotten();
        }
    }

    fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread =
            Builder::new().name(name).stack_size(STACK_BYTES).spawn(body).map_err(StartError::Thread)?;
        let mut threads = lock(&self.threads);
        // Those of nodes that were forgotten.
        threads.retain(|t| !t.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn node(&self, id: NodeId) -> Result<Arc<Node>, SendError> {
        self.table.get(id).ok_or(SendError::Dead)
    }

    /// The stream a frame belongs on: chunks of copies and their announcements go by bulk, so that they
    /// stay in order among each other; all else goes by message.
    pub const fn class_of(frame: &Frame<'_>) -> StreamClass {
        match frame {
            Frame::Data { .. } => StreamClass::Bulk,
            _ => StreamClass::Message,
        }
    }

    /// Sends a frame on the stream it belongs on. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` without credit ([`Handler::credit`] tells when to try again), `Dead`, or a frame out of
    /// bounds.
    pub fn send(&self, node: NodeId, frame: &Frame<'_>) -> Result<(), SendError> {
        let class = Self::class_of(frame);
        let node = self.node(node)?;
        node.queue(class, frame)?;
        node.flush(class);
        Ok(())
    }

    /// Queues a frame on the message stream without writing it: for several in a row. [`Peers::flush`]
    /// writes them; what a handler queues is written when its batch ends.
    ///
    /// # Errors
    /// As [`Peers::send`].
    pub fn queue(&self, node: NodeId, frame: &Frame<'_>) -> Result<(), SendError> {
        self.node(node)?.queue(Self::class_of(frame), frame)
    }

    /// Writes what was queued for a node.
    pub fn flush(&self, node: NodeId) {
        if let Ok(node) = self.node(node) {
            StreamClass::ALL.iter().for_each(|c| node.flush(*c));
        }
    }

    /// Sends any frame on the bulk stream: what must stay in order with chunks of copies.
    ///
    /// # Errors
    /// As [`Peers::send`].
    pub fn send_bulk(&self, node: NodeId, frame: &Frame<'_>) -> Result<(), SendError> {
        let node = self.node(node)?;
        node.queue(StreamClass::Bulk, frame)?;
        node.flush(StreamClass::Bulk);
        Ok(())
    }

    /// Sends on a stream, waiting for credit at most so long. Not to be called by a handler.
    ///
    /// # Errors
    /// As [`Peers::send`]; `WouldBlock` when the time is over.
    pub fn send_wait(
        &self,
        node: NodeId,
        class: StreamClass,
        frame: &Frame<'_>,
        wait: Wait,
    ) -> Result<(), SendError> {
        let node = self.node(node)?;
        node.queue_wait(class, frame, Instant::now() + wait)?;
        node.flush(class);
        Ok(())
    }

    /// Room for a chunk of a copy to a node, used before if there is some.
    pub fn chunk(&self, node: NodeId) -> DataFrame {
        self.node(node).map_or_else(|_| DataFrame::default(), |n| DataFrame::new(n.spare_chunk()))
    }

    /// Sends a chunk of a copy as [`Peers::send_wait`] does; it comes back with an error.
    ///
    /// # Errors
    /// As [`Peers::send_wait`].
    pub fn send_chunk(
        &self,
        node: NodeId,
        chunk: DataFrame,
        wait: Wait,
    ) -> Result<(), (SendError, DataFrame)> {
        let node = match self.node(node) {
            Ok(node) => node,
            Err(e) => return Err((e, chunk)),
        };
        node.queue_encoded_wait(StreamClass::Bulk, chunk.into_bytes(), Instant::now() + wait)
            .map_err(|(e, bytes)| (e, DataFrame::new(bytes)))?;
        node.flush(StreamClass::Bulk);
        Ok(())
    }

    /// Where a node stands; `Dead` for one that is not in the list.
    pub fn state(&self, node: NodeId) -> State {
        self.node(node).map_or(State::Dead, |n| n.state())
    }

    /// What went wrong last with a node, until its next session.
    pub fn trouble(&self, node: NodeId) -> Option<String> {
        self.node(node).ok().and_then(|n| n.trouble())
    }

    /// Closes the connections with a node; they are made anew and the session goes on. For tests and
    /// operators.
    pub fn disconnect(&self, node: NodeId) {
        if let Ok(node) = self.node(node) {
            StreamClass::ALL.iter().for_each(|c| node.close(*c));
        }
    }

    /// Ends the session with a node that takes too little of what it is sent, or that the system has declared
    /// dead: what was queued and not received never will be, and [`Handler::down`] is called soon, by another
    /// thread. The next session, with a new number, begins as soon as the node is reached; a node that was
    /// only cut off learns by that that the old one is over ([`DownReason::GaveUp`]). Waits for nothing, and
    /// may be called from a handler.
    pub fn give_up(&self, node: NodeId) {
        if let Ok(node) = self.node(node) {
            node.give_up();
        }
    }

    /// Counters of every peer.
    pub fn stats(&self) -> Vec<Stats> {
        self.table.all().map(|n| stats(&n)).collect()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.table.all().for_each(|n| n.shut());
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // a handler may hold the last reference: a thread cannot wait for itself
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn stats(node: &Node) -> Stats {
    let sent = node.halves.each_ref().map(|h| lock(&h.writer).sent);
    let link_rate = lock(&node.halves[1].writer).link_rate();
    let sum = |f: fn(&crate::writer::Sent) -> u64| sent.iter().map(f).sum();
    let loads = |f: fn(&crate::node::Half) -> u64| node.halves.iter().map(f).sum();
    let peer = lock(&node.peer);
    Stats {
        node: node.id,
        state: peer.state(),
        rtt_ns: peer.stream(StreamClass::Message).rtt,
        frames_in: loads(|h| h.frames_in.load(Ordering::Relaxed)),
        batches_out: sum(|s| s.batches),
        bytes_out: sum(|s| s.bytes),
        compressed_out: sum(|s| s.compressed),
        connections: loads(|h| h.connections.load(Ordering::Relaxed)),
        outstanding: StreamClass::ALL.iter().map(|c| peer.stream(*c).out.outstanding()).sum(),
        link_rate,
    }
}

fn new_node(
    config: &Config,
    n: &NodeAddress,
    handler: &Arc<dyn Handler>,
    clock: Clock,
    life: u64,
) -> Arc<Node> {
    let peer = Peer::new(config.me, config.boot, n.id, config.timing, clock.now());
    let peer = peer.with_versions(config.versions).with_life(life).with_system(config.system);
    Arc::new(Node::new(peer, n.id, n.address, n.fingerprint, Arc::clone(handler), clock))
}

fn keys(config: &Config) -> Result<Keys, TlsError> {
    let Security::Tls(own) = &config.security else { return Ok(Keys { own: None, server: None }) };
    Ok(Keys { own: Some(Arc::clone(own)), server: Some(own.server()?) })
}

fn check(config: &Config, node: &NodeAddress) -> Result<(), StartError> {
    let id = node.id;
    if usize::from(id.0) >= NODES_MAX {
        return Err(StartError::Nodes(format!("{id} is above the highest id, n{}", NODES_MAX - 1)));
    }
    if id == config.me {
        return Err(StartError::Nodes(format!("{id} is this node itself")));
    }
    if matches!(config.security, Security::Tls(_)) && node.fingerprint.is_none() {
        return Err(StartError::Nodes(format!("{id} has no fingerprint, which TLS needs")));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Clock, Config, Handler, NodeAddress, new_node};
    use crate::node::Node;
    use crate::session::DownReason;
    use crate::tls::{Fingerprint, Security};
    use dvs_abi::NodeId;
    use dvs_wire::Frame;
    use std::sync::Arc;
    use std::time::Instant;

    struct Deaf;

    impl Handler for Deaf {
        fn frame(&self, _: NodeId, _: &Frame<'_>) {}
        fn up(&self, _: NodeId) {}
        fn down(&self, _: NodeId, _: DownReason) {}
    }

    /// A node without threads or connections.
    pub(crate) fn stranger(id: NodeId, fingerprint: Option<Fingerprint>) -> Arc<Node> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let config = Config::new(NodeId(0), 1, address, Vec::new(), Security::Plain);
        let handler: Arc<dyn Handler> = Arc::new(Deaf);
        new_node(&config, &NodeAddress { id, address, fingerprint }, &handler, Clock(Instant::now()), 0)
    }
}
