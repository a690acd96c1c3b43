//! The threads around [`Route`]: one that waits on the doorbell, and those of the peers, which deliver.
//!
//! ```text
//!   bell ──▶ dvs-proxy thread ──┐                            ┌──▶ Peers: frames, written by who made them
//!   daemon ──▶ channel ─────────┼──▶ lock(Route): one step ──┼──▶ bells of programs
//!   sockets ──▶ reader threads ─┘                            └──▶ channel to the daemon
//! ```
//! Frames are queued while the lock is held, so that they leave in the order of the steps; sockets are
//! written and bells rung after it was released. Of what came in one batch a program is woken once, at its
//! end; one that is awake sees each message at once.
//!
//! A reader that polls its socket watches the doorbell as well, and then does what the `dvs-proxy` thread
//! does: while messages go back and forth one awake thread a node serves both directions, and programs ring
//! without a system call.
//!
//! Locks: delivery of a peer (held by its reader), the channel from the daemon, then the route, then the
//! peer. Nothing waits under the route's lock.

use super::feeder::Feeder;
use super::{Backlog, CopyEnd, FromProxy, ToProxy, Waker};
use dvs_abi::limits::NODES_MAX;
use dvs_abi::{Code, Deadline, NodeId};
use dvs_ipc::bell::{Bell, Deputy, Pending, SpinPolicy, Spun, Waited};
use dvs_ipc::host::Host;
use dvs_ipc::link::Side;
use dvs_linux::LinuxHost;
use dvs_proxy::route::{Cmd, JobName, Place, Range, Route, Shore, Side as CopySide, Step, Target};
use dvs_proxy::{Answer, DownReason, Fingerprint, Frame, Handler, Peers, SendError, StreamClass};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The proxy.
pub(super) struct Router {
    state: Mutex<State>,
    peers: OnceLock<Peers>,
    daemon: Sender<FromProxy>,
    from_daemon: Mutex<Receiver<ToProxy>>,
    waker: Waker,
    backlog: Arc<Backlog>,
    deputy: Deputy,
    /// Rings that readers have taken.
    taken: AtomicU64,
    /// The daemon said so.
    stopping: AtomicBool,
    /// By node: programs its reader has marked something for and not yet woken.
    unwoken: Vec<Mutex<Vec<Arc<Shore>>>>,
    /// By node.
    feeders: Vec<Feeder>,
    myself: Weak<Router>,
}

/// The two ends of the channels with the daemon.
pub(super) struct Channels {
    pub(super) to: Sender<FromProxy>,
    pub(super) from: Receiver<ToProxy>,
    pub(super) waker: Waker,
    pub(super) backlog: Arc<Backlog>,
}

struct State {
    route: Route,
    /// Kept for its room.
    out: Vec<Cmd>,
}

/// What follows a step when the lock is released.
#[derive(Default)]
struct After {
    rings: Vec<Arc<Shore>>,
    /// One bit a node with frames to be written.
    written: u32,
    /// Jobs there is no thread for.
    unfed: Vec<JobName>,
    /// One bit a node that takes too little of what it is sent.
    flooded: u32,
}

impl After {
    /// What a node has no credit for is kept, or not.
    fn held(&mut self, node: NodeId, kept: bool) {
        self.flooded |= u32::from(!kept) << node.0;
    }
}

/// The peers' end of the router; does not keep it alive.
pub(super) struct Ear(Weak<Router>);

impl Ear {
    pub(super) fn of(router: &Arc<Router>) -> Ear {
        Ear(Arc::downgrade(router))
    }
}

impl Router {
    /// The router of node `me`; `deputy` = of the doorbell it will [`Router::run`] with.
    pub(super) fn new(me: NodeId, first_call: u64, channels: Channels, deputy: Deputy) -> Arc<Router> {
        let state = Mutex::new(State { route: Route::new(me, first_call), out: Vec::new() });
        let feeders = (0..NODES_MAX).map(|_| Feeder::default()).collect();
        let unwoken = (0..NODES_MAX).map(|_| Mutex::default()).collect();
        Arc::new_cyclic(|myself| Router {
            state,
            peers: OnceLock::new(),
            daemon: channels.to,
            from_daemon: Mutex::new(channels.from),
            waker: channels.waker,
            backlog: channels.backlog,
            deputy,
            taken: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            unwoken,
            feeders,
            myself: myself.clone(),
        })
    }

    /// The connections, which were started with an [`Ear`] of this router.
    pub(super) fn join(&self, peers: Peers) {
        // Called once, by `start`.
        let _ = self.peers.set(peers);
    }

    /// Waits on the doorbell until it is told to stop.
    pub(super) fn run(&self, mut bell: Bell) {
        let (mut policy, mut last_link, mut taken) = (SpinPolicy::default(), None, 0);
        while !self.drain() {
            // A reader that watches sees a ring as early as we do.
            let peer = last_link.filter(|_| !self.deputy.watched());
            let peer = peer.and_then(|l| self.lock().route.shores().peer_cpu(l));
            let spin = policy.spin_ns(peer, LinuxHost.cpu());
            let waited = bell.wait(&LinuxHost, Deadline::NEVER, spin);
            match bell.spun() {
                Spun::Hit => policy.on_result(true),
                Spun::Miss => policy.on_result(false),
                Spun::Not => {}
            }
            if taken != self.taken.load(Ordering::Relaxed) {
                taken = self.taken.load(Ordering::Relaxed);
                bell.rung_elsewhere(&LinuxHost);
            }
            match waited {
                Waited::Rung(pending) => {
                    last_link = pending.links().last().map(|l| l as u16).or(last_link);
                    self.rung(&pending);
                }
                Waited::Recheck => self.finish(self.step(Route::look_at_all), None),
                Waited::TimedOut | Waited::Interrupted => {}
            }
        }
    }

    /// Looks at what rang.
    fn rung(&self, pending: &Pending) {
        let after = self.step(|route, step| {
            for link in pending.links() {
                route.link_news(link as u16, step);
            }
        });
        self.finish(after, None);
    }

    /// Hears what the daemon has to say; true when it said that this is the end.
    fn drain(&self) -> bool {
        let from = self.from_daemon.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(message) = from.try_recv() {
            if matches!(message, ToProxy::Stop) {
                self.stopping.store(true, Ordering::Release);
            }
            self.told(message);
        }
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes what has rung in the place of the thread that waits on the doorbell.
    fn stand_in(&self) {
        let pending = self.deputy.take();
        self.taken.fetch_add(1, Ordering::Relaxed);
        // That thread ends, nobody else.
        if pending.own && self.drain() {
            self.deputy.rouse(&LinuxHost);
        }
        self.rung(&pending);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of ours; what is under way may be lost, the rest goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peers(&self) -> &Peers {
        // Set right after the first thread that may get here was started.
        self.peers.wait()
    }

    /// One step, and its commands as far as they need the lock.
    fn step(&self, f: impl FnOnce(&mut Route, &mut Step<'_>)) -> After {
        let mut state = self.lock();
        let State { route, out } = &mut *state;
        let mut step = Step { now: LinuxHost.now(), cpu: LinuxHost.cpu(), out };
        f(route, &mut step);
        let mut after = After::default();
        self.carry(route, out, &mut after);
        after
    }

    fn carry(&self, route: &mut Route, out: &mut Vec<Cmd>, after: &mut After) {
        for cmd in out.drain(..) {
            match cmd {
                Cmd::Send { node, frame } => {
                    let held = route.holds(node).then_some(Err(SendError::WouldBlock));
                    match held.unwrap_or_else(|| self.peers().queue(node, &frame)) {
                        Ok(()) => after.written |= 1 << node.0,
                        Err(SendError::WouldBlock) => after.held(node, route.hold(node, frame)),
                        // What was under way ends when `down` is said.
                        Err(SendError::Dead) => {}
                        Err(SendError::Wire(e)) => self.say(format!("a frame to {node}: {e}")),
                    }
                }
                Cmd::Ring(shore) => after.rings.push(shore),
                Cmd::Open { id, node, dc, from, to, remaining } => {
                    let (node, dc, from, to) = (node.0, dc.0, from.raw(), to.raw());
                    self.post(FromProxy::Open { id, node, dc, from, to, remaining });
                }
                Cmd::Notice { dc, from, to, value } => {
                    self.post(FromProxy::Notice { dc: dc.0, from, to, value });
                }
                Cmd::Free { link, lane } => self.post(FromProxy::Free { link, lane }),
                Cmd::Copied { session, id, result } => {
                    self.post(FromProxy::Copied { session, id, result });
                }
                Cmd::Feed { node, job } => {
                    let name = job.name;
                    let feeder = self.feeders.get(node.0 as usize);
                    if !feeder.is_some_and(|f| f.add(&self.myself, node, job)) {
                        after.unfed.push(name);
                    }
                }
            }
        }
    }

    /// What follows a step. `reader` = the node whose reader this is: it writes what it queued at the end of
    /// its batch.
    fn finish(&self, after: After, reader: Option<NodeId>) {
        self.ring(after.rings, reader);
        let mut written = after.written & !reader.map_or(0, |n| 1 << n.0);
        while written != 0 {
            self.peers().flush(NodeId(written.trailing_zeros() as u16));
            written &= written - 1;
        }
        let mut flooded = after.flooded;
        while flooded != 0 {
            self.peers().give_up(NodeId(flooded.trailing_zeros() as u16));
            flooded &= flooded - 1;
        }
        for name in after.unfed {
            self.fed(name, Err(Code::NOMEM));
        }
    }

    /// Rings programs: those a reader delivers to are woken when its batch ends.
    fn ring(&self, rings: Vec<Arc<Shore>>, reader: Option<NodeId>) {
        let later = reader.filter(|_| !rings.is_empty()).and_then(|n| self.unwoken.get(n.0 as usize));
        let Some(later) = later else {
            for shore in rings {
                shore.ringer.ring(&LinuxHost, shore.bell_link as usize);
            }
            return;
        };
        let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
        for shore in rings {
            shore.ringer.mark(shore.bell_link as usize);
            // Most often the last one again: a server with many callers.
            if !later.iter().rev().take(4).any(|s| Arc::ptr_eq(s, &shore)) {
                later.push(shore);
            }
        }
    }

    /// Wakes the programs a reader has delivered to.
    fn wake(&self, reader: NodeId) {
        let Some(unwoken) = self.unwoken.get(reader.0 as usize) else { return };
        let mut unwoken = unwoken.lock().unwrap_or_else(PoisonError::into_inner);
        for shore in unwoken.drain(..) {
            shore.ringer.wake(&LinuxHost);
        }
    }

    pub(super) fn post(&self, message: FromProxy) {
        // A daemon that has ended has dropped its door, and this thread is about to learn it.
        let _ = self.daemon.send(message);
        self.waker.wake();
    }

    fn say(&self, text: String) {
        self.post(FromProxy::Log(text));
    }

    fn told(&self, message: ToProxy) {
        let after = match message {
            ToProxy::Link { number, side, bell_link, memory, ringer, .. } => self.step(|route, _| {
                let side = if side == 0 { Side::A } else { Side::B };
                route.add_shore(number, Shore { memory, side, ringer, bell_link });
            }),
            ToProxy::Told(event, node) => self.step(|route, step| route.told(&event, node, step)),
            ToProxy::Reply { id, result } => self.step(|route, step| route.opened(id, result, step)),
            ToProxy::Control { node, bytes } => self.control(NodeId(node), bytes),
            ToProxy::Log { node, bytes } => return self.log(NodeId(node), &bytes),
            ToProxy::Copy { session, id, from, to, length } => {
                let (from, to) = (side(from), side(to));
                self.step(|route, step| route.copy((session, id), from, to, length, step))
            }
            ToProxy::Withdraw { session, id } => self.step(|route, step| route.withdraw((session, id), step)),
            ToProxy::Gone { session } => self.step(|route, step| route.session_gone(session, step)),
            ToProxy::Stop => return,
        };
        self.finish(after, None);
    }

    /// What cannot be sent now is lost, as on any network.
    fn log(&self, node: NodeId, bytes: &[u8]) {
        let free = !self.lock().route.holds(node);
        if free && self.peers().queue(node, &Frame::Control { bytes }).is_ok() {
            self.peers().flush(node);
        }
    }

    /// A job of a feeder has ended.
    pub(super) fn fed(&self, name: JobName, result: Result<(), Code>) {
        let after = self.step(|route, step| route.fed(name, result, step));
        self.finish(after, None);
    }

    /// A chunk of a copy came: written from where it was received, without the lock.
    fn data(&self, node: NodeId, copy: u64, offset: u64, bytes: &[u8]) {
        let mut target = None;
        let length = bytes.len() as u64;
        let after = self.step(|route, step| target = route.target(node, copy, offset, length, step));
        self.finish(after, Some(node));
        let Some(Target { name, place, address }) = target else { return };
        let result = place.write(&LinuxHost, address, bytes);
        let after = self.step(|route, step| route.wrote(name, length, result, step));
        self.finish(after, Some(node));
    }

    fn control(&self, node: NodeId, bytes: Vec<u8>) -> After {
        let mut state = self.lock();
        let mut after = After::default();
        if !state.route.holds(node) {
            match self.peers().queue(node, &Frame::Control { bytes: &bytes }) {
                Err(SendError::WouldBlock) => {}
                Err(SendError::Dead) => return after,
                Err(SendError::Wire(e)) => {
                    self.say(format!("a record to {node}: {e}"));
                    return after;
                }
                Ok(()) => {
                    after.written |= 1 << node.0;
                    return after;
                }
            }
        }
        after.held(node, state.route.hold_control(node, bytes));
        after
    }
}

impl Handler for Ear {
    fn frame(&self, node: NodeId, frame: &Frame<'_>) {
        let Some(router) = self.0.upgrade() else { return };
        if let Frame::Control { bytes } = frame {
            // No lock of ours is held here: what a full backlog stops is this reader.
            if router.backlog.enter(node.0, bytes.len()) {
                router.post(FromProxy::Control { node: node.0, bytes: bytes.to_vec() });
            }
            return;
        }
        if let Frame::Data { copy, offset, bytes, .. } = *frame {
            return router.data(node, copy, offset, bytes);
        }
        let after = router.step(|route, step| {
            route.frame(node, frame, step);
        });
        router.finish(after, Some(node));
    }

    fn batch_end(&self, node: NodeId) {
        if let Some(router) = self.0.upgrade() {
            router.wake(node);
        }
    }

    fn watch(&self, _node: NodeId) -> bool {
        self.0.upgrade().is_some_and(|router| !router.stopping() && router.deputy.watch())
    }

    fn look(&self, _node: NodeId) -> bool {
        let Some(router) = self.0.upgrade() else { return false };
        let rung = router.deputy.rung() && !router.stopping();
        if rung {
            router.stand_in();
        }
        rung
    }

    fn unwatch(&self, _node: NodeId) {
        let Some(router) = self.0.upgrade() else { return };
        if router.deputy.end() && !router.stopping() {
            router.stand_in();
        }
    }

    fn up(&self, node: NodeId) {
        let Some(router) = self.0.upgrade() else { return };
        router.lock().route.node_up(node);
        router.post(FromProxy::Up { node: node.0 });
    }

    fn down(&self, node: NodeId, reason: DownReason) {
        let Some(router) = self.0.upgrade() else { return };
        let after = router.step(|route, step| route.node_down(node, step));
        router.finish(after, None);
        router.say(format!("session with {node} ended: {reason:?}"));
        router.post(FromProxy::Down { node: node.0 });
    }

    fn credit(&self, node: NodeId, class: StreamClass) {
        let Some(router) = self.0.upgrade().filter(|_| class == StreamClass::Message) else { return };
        if !router.lock().route.holds(node) {
            return;
        }
        let after = router.step(|route, step| {
            let peers = router.peers();
            route.resume(node, step, |frame| !matches!(peers.queue(node, frame), Err(SendError::WouldBlock)));
        });
        router.finish(After { written: after.written | 1 << node.0, ..after }, None);
    }

    fn knock(&self, key: Option<Fingerprint>, from: SocketAddr, payload: Vec<u8>, answer: Answer) {
        if let Some(router) = self.0.upgrade() {
            router.post(FromProxy::Knock { key, from, payload, answer });
        }
    }

    fn trouble(&self, _node: Option<NodeId>, text: &str) {
        if let Some(router) = self.0.upgrade() {
            router.say(text.to_owned());
        }
    }
}

fn side(end: CopyEnd) -> CopySide {
    let here = |place, address| CopySide::Here(Range { place: Arc::new(place), address });
    match end {
        CopyEnd::Own { pid, address } => here(Place::Own { pid }, address),
        CopyEnd::Here { pid, memory, lane, seq, address } => {
            here(Place::Client { pid, memory, lane: lane as usize, seq, shore: None }, address)
        }
        CopyEnd::There { number, lane, seq, address } => CopySide::There { link: number, lane, seq, address },
    }
}
