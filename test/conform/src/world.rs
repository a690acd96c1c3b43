//! The world a scenario runs in: actors at sites, the proof that one of them is blocked, and faults.
//!
//! ```text
//!   scenario ── World ── Player ──acts──> actor (thread, coroutine, process, C process; here or on a node)
//!                  │        └─Pending <──seen──┘
//!                  └── watcher of each node: asks the system's tables, so "it is blocked" is known
//! ```
//!
//! Nothing waits a fixed time: a step waits for the event it needs, and a watchdog of [`WATCHDOG`] turns a
//! hang into a failure that names the act.

use crate::act::Act;
use crate::seen::Seen;
use dvs_abi::{Endpoint, Timeout};
use dvs_ipc::control::BindKind;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Longest time any step may take before the scenario fails.
pub const WATCHDOG: Duration = Duration::from_secs(20);

/// The container every scenario starts with.
pub const DC: u16 = 1;

/// Where an actor of a script is; a home maps sites to its processes and nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Site {
    /// Usually the server's.
    A,
    /// Usually the client's.
    B,
    /// The third party's.
    C,
}

/// What a scenario needs beyond messages; a home that lacks it does not run the scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Actors that are processes of their own (binding by pid, exit, kill).
    Processes,
    /// Actors whose pending call can be cancelled from outside.
    Cancel,
    /// At least two nodes, sites A and B on different ones.
    TwoNodes,
    /// At least three nodes, one a site.
    ThreeNodes,
    /// Sites A, B and C on one node.
    OneNode,
    /// Connections between nodes that can be cut and healed.
    Cut,
    /// Daemons that can be killed and started again.
    KillNode,
    /// Memory of another party can be reached.
    Copy,
    /// A daemon (more than a stand-alone process) holds the tables.
    Daemon,
}

/// What a home gives for each actor.
pub trait Remote {
    /// Gives the actor an act; its answer comes through the channel (never, when the actor died).
    fn submit(&mut self, act: &Act) -> Receiver<Seen>;
    /// Asks the actor's pending call to end with INTR.
    fn cancel(&mut self);
    /// Ends the actor without a word (SIGKILL) and waits until it is gone.
    fn kill(&mut self);
    /// Process id, 0 where actors are not processes.
    fn pid(&self) -> u32;
}

/// A home: where actors live.
pub trait Home {
    /// Whether there is no daemon: containers need not be made, and everybody knows what is bound at once.
    fn alone(&self) -> bool {
        false
    }
    /// Whether a message is in its receiver's sight once its sender is seen blocked.
    fn exact(&self) -> bool {
        true
    }
    /// For messages: `threads`, `coroutines`, ….
    fn name(&self) -> &'static str;
    /// Whether it has what a scenario needs.
    fn can(&self, need: Need) -> bool;
    /// Number of nodes.
    fn nodes(&self) -> u16;
    /// The node of a site.
    fn node(&self, site: Site) -> u16;
    /// A new actor, not bound.
    fn spawn(&mut self, site: Site) -> Box<dyn Remote>;
    /// A new actor on a given node (for watching and moves); processes where there are processes.
    fn spawn_on(&mut self, node: u16) -> Box<dyn Remote>;
    /// Cuts the connections between two nodes.
    fn cut(&mut self, _a: u16, _b: u16) {}
    /// Lets them connect again.
    fn heal(&mut self, _a: u16, _b: u16) {}
    /// Kills a node's daemon and every process on it.
    fn kill_node(&mut self, _node: u16) {}
    /// Starts the daemon again, empty.
    fn start_node(&mut self, _node: u16) {}
    /// Ends a node's daemon in order and waits until it is gone.
    fn stop_node(&mut self, _node: u16) {}
    /// Tries to start a second daemon for a node that has one; what it says.
    ///
    /// # Errors
    /// Its complaint: the outcome the suite wants.
    fn start_again(&mut self, _node: u16) -> Result<(), String> {
        Err("this home has no daemon".into())
    }
    /// Tries to start a daemon for node `number`; what it says.
    ///
    /// # Errors
    /// Its complaint: the outcome the suite wants.
    fn start_as(&mut self, _number: i64) -> Result<(), String> {
        Err("this home has no daemon".into())
    }
}

type Shared = Rc<RefCell<Box<dyn Remote>>>;

/// The world of one scenario.
pub struct World {
    home: Box<dyn Home>,
    watchers: Vec<Player>,
}

/// An actor as the script sees it.
#[derive(Clone)]
pub struct Player {
    remote: Shared,
    watcher: Option<Shared>,
    name: Rc<str>,
    /// Node it runs on.
    pub node: u16,
    /// Its endpoint once bound by the script, NONE before.
    pub ep: Rc<Cell<Endpoint>>,
}

/// An act under way.
#[must_use = "an act that nobody waits for proves nothing"]
pub struct Pending {
    what: String,
    since: Instant,
    answer: Receiver<Seen>,
    /// The actor lives at least as long as its act.
    _actor: Shared,
}

impl Pending {
    /// Waits for the end of the act.
    ///
    /// # Panics
    /// When it does not end in time, or the actor died: the scenario has failed.
    #[track_caller]
    pub fn wait(self) -> Seen {
        self.wait_timed().0
    }

    /// The same with the time from the start of the act to when its end was seen.
    ///
    /// # Panics
    /// As [`Pending::wait`].
    #[track_caller]
    pub fn wait_timed(self) -> (Seen, Duration) {
        match self.answer.recv_timeout(WATCHDOG) {
            Ok(seen) => (seen, self.since.elapsed()),
            Err(RecvTimeoutError::Timeout) => panic!("hangs: {}", self.what),
            Err(RecvTimeoutError::Disconnected) => panic!("the actor died in: {}", self.what),
        }
    }

    /// Waits until the actor is gone without having answered.
    ///
    /// # Panics
    /// When it answered or lives on.
    #[track_caller]
    pub fn gone(self) {
        match self.answer.recv_timeout(WATCHDOG) {
            Ok(seen) => panic!("{} ended with: {seen}", self.what),
            Err(RecvTimeoutError::Timeout) => panic!("still alive: {}", self.what),
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }

    /// Whether it has ended; its answer then stays for [`Pending::wait`] only if this gave false.
    #[track_caller]
    pub fn still_blocked(&self) {
        if let Ok(seen) = self.answer.try_recv() {
            panic!("{} should still wait, but ended with: {seen}", self.what);
        }
    }
}

/// State bits of facts §1.6 the scripts look at.
pub mod rts {
    /// Unused slot.
    pub const FREE: u32 = 1 << 0;
    /// Blocked sending.
    pub const SENDING: u32 = 1 << 2;
    /// Blocked receiving.
    pub const RECEIVING: u32 = 1 << 3;
    /// On another node.
    pub const REMOTE: u32 = 1 << 12;
    /// Being moved.
    pub const MIGRATE: u32 = 1 << 11;
    /// Waits for a peer's move.
    pub const WAITMIGR: u32 = 1 << 15;
}

impl Player {
    /// Gives the actor an act and goes on.
    pub fn start(&self, act: Act) -> Pending {
        let what = format!("{}: {act}", self.name);
        let since = Instant::now();
        let answer = self.remote.borrow_mut().submit(&act);
        Pending { what, since, answer, _actor: self.remote.clone() }
    }

    /// Gives the actor an act and waits for its end.
    #[track_caller]
    pub fn run(&self, act: Act) -> Seen {
        self.start(act).wait()
    }

    /// Its endpoint.
    pub fn ep(&self) -> Endpoint {
        self.ep.get()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.remote.borrow().pid()
    }

    /// Ends its pending call from outside.
    pub fn cancel(&self) {
        self.remote.borrow_mut().cancel();
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        self.remote.borrow_mut().kill();
    }

    /// Binds it as itself.
    #[track_caller]
    pub fn bind(&self, endpoint: Endpoint) -> Endpoint {
        let act = Act::Bind {
            kind: BindKind::Own,
            dc: DC,
            endpoint,
            pid: 0,
            node: self.node,
            name: self.name.to_string(),
        };
        let ep = self.run(act).ok().fact("endpoint");
        self.ep.set(ep);
        ep
    }

    /// Waits until the system's tables say `wanted` of this actor's slot.
    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(u32, &Seen) -> bool) {
        let watcher = self.watcher.as_ref().unwrap_or(&self.remote);
        let end = Instant::now() + WATCHDOG;
        loop {
            let act = Act::ProcInfo { dc: DC, slot: self.ep().slot() };
            let answer = watcher.borrow_mut().submit(&act);
            let seen = answer.recv_timeout(WATCHDOG).unwrap_or_else(|_| panic!("watcher hangs: {act}"));
            if seen.error.is_none() && wanted(seen.fact("rts"), &seen) {
                return;
            }
            assert!(Instant::now() < end, "{} never came to be {what}: {seen}", self.name);
            std::thread::park_timeout(Duration::from_micros(300));
        }
    }

    /// Returns once it is provably blocked in a receive (or awaits an answer).
    #[track_caller]
    pub fn receiving(&self) {
        self.until("receiving", |rts, _| rts & (rts::RECEIVING | rts::SENDING) == rts::RECEIVING);
    }

    /// Returns once it is provably blocked in a send, or in a call whose request is not consumed.
    #[track_caller]
    pub fn sending(&self) {
        self.until("sending", |rts, _| rts & rts::SENDING != 0);
    }

    /// Returns once it is provably blocked in a call to `dst`. That the request was consumed is proven by the
    /// receive that took it: what a caller shows of itself changes only when it runs again.
    #[track_caller]
    pub fn awaiting(&self, dst: Endpoint) {
        self.until("in a call", |rts, seen| {
            rts & rts::RECEIVING != 0 && seen.fact::<Endpoint>("getfrom") == dst
        });
    }

    /// Returns once it waits for a move to end (or, where that is not told apart, is blocked in its send).
    #[track_caller]
    pub fn held(&self) {
        self.until("held by a move", |rts, _| rts & (rts::WAITMIGR | rts::SENDING) != 0);
    }

    /// Returns once it is provably in no call.
    #[track_caller]
    pub fn idle(&self) {
        self.until("idle", |rts, _| rts & (rts::RECEIVING | rts::SENDING | rts::WAITMIGR | rts::FREE) == 0);
    }

    /// Returns once its slot is free again.
    #[track_caller]
    pub fn freed(&self) {
        self.until("freed", |rts, _| rts & rts::FREE != 0);
    }
}

impl World {
    /// A world with container [`DC`] on every node of the home.
    ///
    /// # Panics
    /// When the home cannot even do that.
    pub fn new(mut home: Box<dyn Home>) -> Self {
        let nodes = home.nodes();
        let watchers: Vec<Player> = (0..nodes)
            .map(|node| {
                let remote = Rc::new(RefCell::new(home.spawn_on(node)));
                player(remote, None, &format!("watcher{node}"), node)
            })
            .collect();
        let world = World { home, watchers };
        world.container(DC, "conform");
        for (node, watcher) in world.watchers.iter().enumerate() {
            // From the end of the server slots down, out of the scripts' way. Other nodes learn of the
            // container in their own time, hence the loop.
            let slot = Endpoint::new(0, 28 - node as i32);
            until_ok(watcher, &own(DC, slot));
            watcher.ep.set(slot);
        }
        world
    }

    /// The home's name.
    pub fn name(&self) -> &'static str {
        self.home.name()
    }

    /// Number of nodes.
    pub fn nodes(&self) -> u16 {
        self.home.nodes()
    }

    /// The node of a site.
    pub fn node(&self, site: Site) -> u16 {
        self.home.node(site)
    }

    /// Whether two sites are on one node.
    pub fn same_node(&self, a: Site, b: Site) -> bool {
        self.node(a) == self.node(b)
    }

    /// A new actor, not bound.
    pub fn actor(&mut self, name: &str, site: Site) -> Player {
        let node = self.home.node(site);
        let remote = Rc::new(RefCell::new(self.home.spawn(site)));
        player(remote, Some(self.watchers[node as usize].remote.clone()), name, node)
    }

    /// A new actor on a given node, not bound.
    pub fn actor_on(&mut self, name: &str, node: u16) -> Player {
        let remote = Rc::new(RefCell::new(self.home.spawn_on(node)));
        player(remote, Some(self.watchers[node as usize].remote.clone()), name, node)
    }

    /// A new actor bound to `slot` of generation 0, known on every node.
    #[track_caller]
    pub fn bound(&mut self, name: &str, site: Site, slot: i32) -> Player {
        let p = self.actor(name, site);
        p.bind(Endpoint::new(0, slot));
        self.known(p.ep());
        p
    }

    /// A new actor bound to any free user slot, known on every node.
    #[track_caller]
    pub fn user(&mut self, name: &str, site: Site) -> Player {
        let p = self.actor(name, site);
        p.bind(Endpoint::NONE);
        self.known(p.ep());
        p
    }

    /// Whether a message is in its receiver's sight once its sender is seen blocked.
    pub fn exact(&self) -> bool {
        self.home.exact()
    }

    /// Whether all actors share one table, so that the order in which they came is known exactly.
    pub fn one_table(&self) -> bool {
        self.home.alone()
    }

    /// Makes a container on every node.
    #[track_caller]
    pub fn container(&self, dc: u16, name: &str) {
        if !self.home.alone() {
            self.watchers[0].run(dc_init(dc, name, (0..self.home.nodes()).collect())).ok();
        }
    }

    /// Returns once every node knows that nobody is `ep` any more.
    #[track_caller]
    pub fn gone(&self, ep: Endpoint) {
        if self.home.alone() {
            return;
        }
        for w in &self.watchers {
            w.run(Act::Wait4unbind { endpoint: ep, t: Timeout::Forever }).ok();
        }
    }

    /// Returns once every node knows `ep`.
    #[track_caller]
    pub fn known(&self, ep: Endpoint) {
        if self.home.alone() {
            return;
        }
        for w in &self.watchers {
            w.run(Act::Wait4bind { endpoint: ep, t: Timeout::After(WATCHDOG / 2) }).ok();
        }
    }

    /// The watcher of a node: a bound system process that does nothing else.
    pub fn watcher(&self, node: u16) -> &Player {
        &self.watchers[node as usize]
    }

    /// The table entry of `slot` on `node`.
    #[track_caller]
    pub fn info(&self, node: u16, slot: i32) -> Seen {
        self.watchers[node as usize].run(Act::ProcInfo { dc: DC, slot })
    }

    /// Returns once `wanted` holds of a slot's entry on `node`.
    #[track_caller]
    pub fn info_until(&self, node: u16, slot: i32, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let end = Instant::now() + WATCHDOG;
        loop {
            let seen = self.info(node, slot);
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < end, "slot {slot} on node {node} never came to be as wanted: {seen}");
            std::thread::park_timeout(Duration::from_micros(300));
        }
    }

    /// Faults.
    pub fn home(&mut self) -> &mut dyn Home {
        &mut *self.home
    }
}

fn player(remote: Shared, watcher: Option<Shared>, name: &str, node: u16) -> Player {
    Player { remote, watcher, name: name.into(), node, ep: Rc::new(Cell::new(Endpoint::NONE)) }
}

/// Repeats an act until it succeeds: for what other nodes learn in their own time.
///
/// # Panics
/// When it does not within the watchdog.
#[track_caller]
pub fn until_ok(p: &Player, act: &Act) -> Seen {
    let end = Instant::now() + WATCHDOG;
    loop {
        let seen = p.run(act.clone());
        if seen.error.is_none() {
            return seen;
        }
        assert!(Instant::now() < end, "{act} never succeeded: {seen}");
        std::thread::park_timeout(Duration::from_micros(500));
    }
}

/// A container with the reference system's limits.
pub fn dc_init(dc: u16, name: &str, nodes: Vec<u16>) -> Act {
    Act::DcInit { dc, name: name.into(), procs: 221, sysprocs: 64, warn: Endpoint::NONE, warn_type: 0, nodes }
}

/// A binding of the actor itself.
pub fn own(dc: u16, endpoint: Endpoint) -> Act {
    Act::Bind { kind: BindKind::Own, dc, endpoint, pid: 0, node: 0, name: "own".into() }
}
