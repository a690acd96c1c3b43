//! Three nodes, the records between them and the log they follow, driven by acts in whatever order.
#![allow(dead_code)] // not every test uses all of it

mod slots;

use super::council::{Council, entry};
use dvs_abi::{Code, Endpoint, NodeId};
use dvs_kern::control::{BindKind, Event as Told, Request};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeConfig;
use dvs_kern::node::event::{Command, Event};
use dvs_kern::node::record::Record;
use slots::Slots;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const NODES: u16 = 3;
pub const SESSIONS: u32 = 4;
/// The first user slot of the containers in these tests, and the end of all: eight are soon all in use.
pub const FIRST_USER: i32 = 29;
pub const PROCS: i32 = FIRST_USER + 8;

/// Three nodes, the records between them, and what they agreed on.
pub struct World {
    pub nodes: Vec<Node>,
    pub council: Council,
    pub wires: BTreeMap<(u16, u16), VecDeque<Record>>,
    pub up: [[bool; 3]; 3],
    pub now: u64,
    pub ids: u64,
    /// Closed lanes a session still has to free, by node.
    pub closed: Vec<Vec<(u32, u16, u8)>>,
    /// Marks a session has still to say it has heard of, by node.
    pub marks: Vec<Vec<(u32, u64)>>,
    /// The present session of each process; numbers are not used again.
    pub session: [[u32; SESSIONS as usize]; 3],
    pub sessions: u32,
    /// Slots that were to be moved: they may be on two nodes for a moment.
    pub moved: BTreeSet<i32>,
    pub slots: Slots,
}

#[derive(Clone, Debug)]
pub enum Act {
    Connect(u16, u32),
    Die(u16, u32),
    Ask(u16, u32, Request),
    /// A session unbinds one of its endpoints.
    Unbind(u16, u32, usize),
    Deliver(u16, u16),
    Up(u16, u16),
    Down(u16, u16),
    Free(u16),
    Hear(u16),
    ProxyOpen(u16, u16, i32, i32),
    Tick(u16),
    /// Something that was wanted is decided.
    Decide,
    /// A node hears what was decided.
    Told(u16),
    /// A node is taken for lost, and finds out later.
    Lose(u16),
    /// A lost node begins anew.
    Begin(u16),
    /// A node is told something of a service, whatever the log says.
    Service(u16, Event),
    /// A node's daemon ends and is started again; it may have left and joined in between.
    Restart(u16, bool),
}

fn config(me: u16) -> NodeConfig {
    NodeConfig { me: NodeId(me), pid: 1, nodes: (0..NODES).map(entry).collect(), first_generation: 0 }
}

impl World {
    pub fn new() -> World {
        World {
            nodes: (0..NODES).map(|n| Node::new(config(n))).collect(),
            council: Council::new(NODES),
            wires: BTreeMap::new(),
            up: [[false; 3]; 3],
            now: 0,
            ids: 1,
            closed: vec![Vec::new(); 3],
            marks: vec![Vec::new(); 3],
            session: [[0; SESSIONS as usize]; 3],
            sessions: 0,
            moved: BTreeSet::new(),
            slots: Slots::default(),
        }
    }

    pub fn feed(&mut self, node: u16, event: Event) {
        self.now += 10;
        self.note_used();
        let commands = self.nodes[node as usize].handle(event.clone(), self.now);
        for command in commands {
            match command {
                Command::Control { node: to, record } => {
                    assert_ne!(to, node, "{record:?} to itself");
                    self.wires.entry((node, to)).or_default().push_back(record);
                }
                Command::Tell {
                    session,
                    event: Told::LaneClosed { link, lane, .. } | Told::LaneRetired { link, lane },
                    ..
                } => {
                    self.closed[node as usize].push((session, link, lane));
                }
                Command::Tell { session, event: Told::Mark { mark }, .. } => {
                    self.marks[node as usize].push((session, mark));
                }
                Command::Decide { ticket, want } => self.council.want(node, ticket, want),
                Command::Reply { session, id, result } => {
                    let code = result.err().and_then(|e| Code::from_i32(e.code));
                    self.answered(node, session, id, code);
                }
                _ => {}
            }
        }
        if let Err(e) = self.nodes[node as usize].validate() {
            panic!("node {node} after {event:?}: {e}");
        }
        self.check_slots();
    }

    pub fn act(&mut self, act: Act) {
        match act {
            Act::Connect(n, s) => {
                let pid = 100 * (n as u32 + 1) + s;
                if self.session[n as usize][s as usize] == 0 {
                    self.sessions += 1;
                    let session = self.sessions;
                    self.session[n as usize][s as usize] = session;
                    self.feed(n, Event::Connected { session, id: 1, pid, operator: true, name: "p".into() });
                }
            }
            Act::Die(n, s) => {
                let session = std::mem::take(&mut self.session[n as usize][s as usize]);
                if session != 0 {
                    self.slots.waiting.retain(|w, _| (w.0, w.1) != (n, session));
                    self.feed(n, Event::Died { session, code: None });
                    self.closed[n as usize].retain(|c| c.0 != session);
                    self.marks[n as usize].retain(|c| c.0 != session);
                }
            }
            Act::Ask(n, s, request) => self.ask(n, s, request),
            Act::Unbind(n, s, which) => {
                let session = self.session[n as usize][s as usize];
                let held = self.nodes[n as usize].sessions().find(|(number, _)| *number == session);
                let place = held.and_then(|(_, x)| x.endpoints.iter().nth(which)).copied();
                if let Some((dc, endpoint)) = place.filter(|_| session != 0) {
                    self.ask(n, s, Request::Unbind { dc, endpoint: endpoint.raw(), remaining: 0 });
                }
            }
            Act::Deliver(from, to) => {
                if let Some(record) = self.wires.entry((from, to)).or_default().pop_front() {
                    self.feed(to, Event::Record { node: from, record });
                }
            }
            Act::Up(a, b) if a != b && !self.up[a as usize][b as usize] && self.knows(a, b) => {
                self.join(a, b, true);
            }
            Act::Down(a, b) if a != b && self.up[a as usize][b as usize] => self.join(a, b, false),
            Act::Up(..) | Act::Down(..) => {}
            Act::Free(n) => {
                if let Some((s, link, lane)) = self.closed[n as usize].pop() {
                    let request = Request::FreeLane { link, lane };
                    self.feed(n, Event::Request { session: s, id: 0, request });
                }
            }
            Act::Hear(n) => {
                if let Some((s, mark)) = self.marks[n as usize].pop() {
                    self.feed(n, Event::Request { session: s, id: 0, request: Request::Heard { mark } });
                }
            }
            Act::ProxyOpen(n, node, from, to) => {
                self.ids += 1;
                let remaining = 1000;
                self.feed(n, Event::ProxyOpen { id: self.ids, node, dc: 0, from, to, remaining });
            }
            Act::Tick(n) => {
                self.now = self.now.max(self.nodes[n as usize].next_deadline().unwrap_or(0));
                self.feed(n, Event::Tick);
            }
            other => self.act_together(other),
        }
    }

    /// What concerns what all nodes agree on.
    fn act_together(&mut self, act: Act) {
        match act {
            Act::Decide => {
                self.council.decide();
            }
            Act::Told(n) => {
                if let Some(event) = self.council.tell(n) {
                    self.feed(n, event);
                }
            }
            Act::Lose(n) => {
                let by = (0..NODES).find(|o| *o != n && self.council.incarnation(*o).is_some());
                if let Some(by) = by {
                    self.slots.harsh = true;
                    self.council.lose(n, by);
                    self.cut_off(n);
                }
            }
            Act::Begin(n) => {
                if self.council.incarnation(n).is_none() {
                    self.council.begin(n);
                }
            }
            Act::Restart(n, leaves) => self.restart(n, leaves),
            Act::Service(n, event) => self.feed(n, event),
            other => unreachable!("{other:?}"),
        }
    }

    fn ask(&mut self, n: u16, s: u32, request: Request) {
        self.ids += 1;
        let (session, id) = (self.session[n as usize][s as usize], self.ids);
        if session == 0 {
            return;
        }
        match &request {
            Request::Bind { kind: BindKind::Own | BindKind::Local, dc: 0, endpoint, .. }
                if *endpoint == Endpoint::NONE.raw() =>
            {
                self.slots.waiting.insert((n, session, id), self.now);
            }
            // What is bound elsewhere by these may be in use where it is not known.
            Request::DcEnd { .. } | Request::DelNode { .. } | Request::MigrateStart { .. } => {
                self.slots.harsh = true;
            }
            Request::MigrateCommit { endpoint, .. } => {
                self.moved.insert(Endpoint::from_raw(*endpoint).slot());
            }
            _ => {}
        }
        self.feed(n, Event::Request { session, id, request });
    }

    fn cut_off(&mut self, n: u16) {
        for other in (0..NODES).filter(|o| *o != n) {
            self.act(Act::Down(n, other));
        }
    }

    /// The node's daemon ends with all sessions; another one knows nothing but what is agreed.
    fn restart(&mut self, n: u16, leaves: bool) {
        let by = (0..NODES).find(|o| *o != n && self.council.incarnation(*o).is_some());
        let Some(by) = by else { return };
        self.slots.harsh = true;
        self.cut_off(n);
        if leaves {
            self.council.leave_and_join(n, by);
        }
        self.council.restart(n);
        self.nodes[n as usize] = Node::new(config(n));
        self.session[n as usize] = [0; SESSIONS as usize];
        self.closed[n as usize].clear();
        self.marks[n as usize].clear();
        self.slots.waiting.retain(|w, _| w.0 != n);
    }

    /// Two nodes have heard of each other: before, neither lets the other in.
    fn knows(&self, a: u16, b: u16) -> bool {
        let strange = |e: &Event| matches!(e, Event::Forgotten { .. } | Event::Admitted { .. });
        [a, b].iter().all(|n| !self.council.untold[*n as usize].iter().any(|(e, _)| strange(e)))
    }

    fn join(&mut self, a: u16, b: u16, up: bool) {
        for (x, y) in [(a, b), (b, a)] {
            self.up[x as usize][y as usize] = up;
            self.wires.remove(&(x, y));
        }
        for (x, node) in [(a, b), (b, a)] {
            self.feed(x, if up { Event::NodeUp { node } } else { Event::NodeDown { node } });
        }
    }

    /// Joins all nodes, decides and delivers everything.
    pub fn quiet(&mut self) {
        (0..NODES).for_each(|n| self.act(Act::Begin(n)));
        for _ in 0..20_000 {
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                self.act(Act::Up(a, b));
            }
            let wire = self.wires.iter().find(|(_, q)| !q.is_empty()).map(|(w, _)| *w);
            let told = (0..NODES).find(|n| !self.council.untold[*n as usize].is_empty());
            match (told, wire) {
                (Some(n), _) => self.act(Act::Told(n)),
                (None, Some((from, to))) => self.act(Act::Deliver(from, to)),
                (None, None) if self.council.decide() => {}
                (None, None) => return,
            }
        }
        panic!("the nodes do not come to rest");
    }

    /// Every local binding of one node is known on the others, unless they have one of their own there.
    pub fn agree(&self) {
        for n in &self.nodes {
            for (dc, c) in n.containers() {
                for other in self.nodes.iter().filter(|o| o.me() != n.me()) {
                    let theirs = other.containers().find(|(d, _)| *d == dc);
                    let (_, theirs) = theirs.expect("containers are agreed");
                    assert_eq!(theirs.config, c.config);
                    for d in c.descriptors().filter(|d| d.is_local()) {
                        let seen = theirs.bound(d.endpoint.slot());
                        let (e, me, them) = (d.endpoint, n.me(), other.me());
                        assert!(seen.is_some(), "{e} of {dc} on {me:?} is unknown on {them:?}");
                    }
                }
            }
        }
    }

    /// Bindings of processes that never had a session (their end would be told by their pid).
    pub fn orphans(&self, n: u16) -> usize {
        let node = &self.nodes[n as usize];
        let local = node.containers().flat_map(|(_, c)| c.descriptors()).filter(|d| d.is_local());
        local.filter(|d| d.session.is_none()).count()
    }
}

/// A container on this node and those.
pub fn init(dc: u16, nodes: Vec<u16>) -> Request {
    let name = format!("d{dc}");
    Request::DcInit { dc, name, procs: PROCS, tasks: 35, sysprocs: 64, warn: 2, warn_type: 5, nodes }
}
