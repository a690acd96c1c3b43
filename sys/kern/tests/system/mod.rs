//! Three nodes, each with kernel and radar, over one log: messages, leases, links that break, nodes that die.
#![allow(dead_code, reason = "each test uses a part of it")]

mod machine;

use dvs_abi::{Code, DcId, Effect, Endpoint, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command as Entered, Entry, Reply};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::{Member, NodeCard};
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::state::{Answer, State};
use dvs_kern::node::event::{Event, Want};
use dvs_kern::node::record::Record;
use dvs_radar::Terms;
pub use machine::{Key, Machine};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const DC: DcId = DcId(0);
pub const SERVICE: i32 = 5;
/// Between two steps.
pub const STEP_NS: u64 = 25_000_000;
const TOKEN: [u8; 32] = [7; 32];

/// Between proxies.
#[derive(Clone, Debug)]
pub enum Frame {
    Call { from: Endpoint, to: Endpoint, key: Key, number: u64 },
    Reply(Key, u64),
    Failed(Key, u64, Code, Effect),
}

/// One decision, with the state after it.
#[derive(Clone)]
pub struct Item {
    pub place: Epoch,
    pub changes: Vec<Change>,
    pub state: State,
    pub answer: Option<(u16, Epoch, u64, Result<(), Code>)>,
}

/// What servers have done: how often each call of each node's client. A service with a table of duplicates
/// does a call once.
#[derive(Default)]
pub struct Done {
    pub table: bool,
    pub times: BTreeMap<(u16, u64), u32>,
}

impl Done {
    pub fn enter(&mut self, caller: u16, number: u64) {
        let times = self.times.entry((caller, number)).or_default();
        if *times == 0 || !self.table {
            *times += 1;
        }
        assert_eq!(*times, 1, "call {number} of n{caller} was done twice");
    }
}

pub struct World {
    pub now: u64,
    pub machines: Vec<Machine>,
    pub state: State,
    pub done: Done,
    /// From whom nothing gets through to whom.
    pub cut: BTreeSet<(u16, u16)>,
    wires: BTreeMap<(u16, u16), VecDeque<Passed>>,
    /// When a node was granted its lease last.
    granted: [u64; 3],
    begins: u64,
    lives: u32,
}

/// What passes between nodes, in order.
enum Passed {
    Record(Record),
    Frame(Frame),
}

fn card(n: u16) -> NodeCard {
    NodeCard { name: format!("n{n}"), address: format!("n{n}:1"), key: [n as u8; 32], witness: false }
}

impl World {
    /// A service of this kind that may be on nodes 0 and 1, and is served by both as far as its kind allows.
    pub fn new(kind: Kind) -> World {
        let state = State::found(card(0));
        let machines = (0..3).map(|n| Machine::new(n, state.clone(), 1)).collect();
        let mut w = World {
            now: 1_000_000_000,
            machines,
            state,
            done: Done { table: kind != Kind::Single, times: BTreeMap::new() },
            cut: BTreeSet::new(),
            wires: BTreeMap::new(),
            granted: [0; 3],
            begins: 0,
            lives: 1,
        };
        w.begin(0);
        w.enter(0, Entered::Invite { token: TOKEN, until: u64::MAX, uses: 2 }).unwrap();
        for n in 1..3 {
            w.enter(0, Entered::Admit { token: TOKEN, card: card(n) }).unwrap();
            w.begin(n);
        }
        let (warn, warn_type) = (Endpoint::NONE.raw(), 0);
        let name = "shop".into();
        let spec =
            DcConfig { name, tasks: 35, procs: 100, sysprocs: 64, warn, warn_type, nodes: 0b111, born: 0 };
        w.enter(0, Entered::Create { dc: Some(DC), spec }).unwrap();
        let spec = ServiceSpec { name: "s".into(), kind, nodes: 0b11, rule: PartitionRule::Stop };
        w.enter(0, Entered::Declare { dc: DC, slot: SERVICE, spec }).unwrap();
        for n in 0..3 {
            w.machines[n].state = w.state.clone();
            w.machines[n].items.clear();
            w.machines[n].incarnation = w.incarnation(n as u16).unwrap();
            w.machines[n].start(w.now);
            let incarnation = w.machines[n].incarnation;
            w.machines[n].steer(dvs_radar::Event::Began { incarnation }, w.now);
        }
        w.run(4);
        w.machines[0].serve(w.now);
        w.run(6);
        if kind != Kind::Single {
            w.machines[1].serve(w.now);
            w.run(6);
        }
        // What was before this is not known to radars that have just started: until a lease is over.
        w.run(30);
        w
    }

    pub fn incarnation(&self, n: u16) -> Option<Epoch> {
        self.state.member(NodeId(n)).and_then(Member::incarnation)
    }

    pub fn place(&self) -> Option<Place> {
        Some(self.state.container(DC)?.services.get(&SERVICE)?.place)
    }

    fn apply(&mut self, entry: &Entry, ticket: Option<u64>) -> Answer {
        let (mut changes, place) = (Vec::new(), Epoch(self.state.last().0 + 1));
        let answer = self.state.apply(place, entry, &mut changes);
        let result = answer.clone().map(|_| ()).map_err(|r| Code::from_i32(r.code).unwrap());
        let answered = ticket.map(|t| (entry.from.0, entry.incarnation, t, result));
        let item = Item { place, changes, state: self.state.clone(), answer: answered };
        self.machines.iter_mut().for_each(|m| m.items.push_back(item.clone()));
        answer
    }

    fn entry(&self, from: u16, incarnation: Epoch, command: Entered) -> Entry {
        let number = self.state.member(NodeId(from)).map_or(0, |m| m.last) + 1;
        Entry { from: NodeId(from), incarnation, number, at: self.now, command }
    }

    pub fn enter(&mut self, from: u16, command: Entered) -> Answer {
        let incarnation = self.incarnation(from).unwrap_or_default();
        self.apply(&self.entry(from, incarnation, command), None)
    }

    fn begin(&mut self, n: u16) {
        self.begins += 1;
        let last = self.state.member(NodeId(n)).map(Member::last_incarnation).unwrap_or_default();
        let begin = Entered::Begin { address: format!("n{n}:1"), nonce: self.begins };
        assert!(matches!(self.apply(&self.entry(n, last, begin), None), Ok(Reply::Begun(_))));
    }

    fn linked(&self, a: u16, b: u16) -> bool {
        let alive = |n: u16| self.machines[n as usize].alive;
        alive(a) && alive(b) && !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    /// Whether a node is one of a majority.
    fn major(&self, n: u16) -> bool {
        let alive = self.machines[n as usize].alive;
        alive && (0..3).any(|o| o != n && self.linked(n, o))
    }

    pub fn run(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step());
    }

    fn step(&mut self) {
        self.now += STEP_NS;
        self.see_links();
        for n in 0..3u16 {
            if !self.major(n) {
                continue;
            }
            self.catch_up(n);
            self.propose(n);
        }
        (0..3).filter(|n| self.major(*n)).collect::<Vec<_>>().into_iter().for_each(|n| self.catch_up(n));
        self.grant();
        for _ in 0..3 {
            self.carry();
        }
        for n in 0..3 {
            if self.machines[n].alive {
                self.machines[n].steer(dvs_radar::Event::Tick, self.now);
                self.machines[n].feed(Event::Tick, self.now);
                self.machines[n].work(&mut self.done, self.now);
            }
        }
        self.carry();
        self.watch();
    }

    fn see_links(&mut self) {
        for a in 0..3u16 {
            for b in (0..3u16).filter(|b| *b != a) {
                let (up, now) = (self.linked(a, b), self.now);
                if !self.machines[a as usize].alive {
                    continue;
                }
                self.machines[a as usize].steer(dvs_radar::Event::Link { node: NodeId(b), up }, now);
                if up && !self.machines[a as usize].peers[b as usize] {
                    // A session begins on both sides.
                    for (x, y) in [(a, b), (b, a)] {
                        self.wires.remove(&(x, y));
                        let m = &mut self.machines[x as usize];
                        m.feed(Event::NodeDown { node: y }, now);
                        m.peers[y as usize] = true;
                        m.feed(Event::NodeUp { node: y }, now);
                    }
                }
            }
        }
    }

    fn catch_up(&mut self, n: u16) {
        let now = self.now;
        while let Some(item) = self.machines[n as usize].items.pop_front() {
            self.machines[n as usize].hear(item, now);
        }
    }

    /// What a node wants is decided, in its order; one whose incarnation is over begins anew.
    fn propose(&mut self, n: u16) {
        let m = &mut self.machines[n as usize];
        if self.state.member(NodeId(n)).and_then(Member::incarnation) != Some(m.incarnation) {
            m.wants.clear();
            self.begin(n);
            return;
        }
        let (incarnation, wants) = (m.incarnation, std::mem::take(&mut m.wants));
        for (ticket, want) in wants {
            let in_step = true;
            let command = match want {
                Want::Create { dc, config } => Entered::Create { dc: Some(DcId(dc)), spec: config },
                Want::End { dc } => Entered::End { dc: DcId(dc) },
                Want::Allow { dc, node, on } => Entered::Allow { dc: DcId(dc), node: NodeId(node), on },
                Want::Slots { dc, request } => Entered::Slots { dc: DcId(dc), request },
                Want::Declare { dc, slot, name, kind, rule, nodes } => {
                    let spec = ServiceSpec { name, kind, nodes, rule };
                    Entered::Declare { dc: DcId(dc), slot, spec }
                }
                Want::Offer { dc, slot } => Entered::Offer { dc: DcId(dc), slot, in_step },
                Want::Retire { dc, slot } => Entered::Retire { dc: DcId(dc), slot },
                Want::Move { dc, slot, to, .. } => {
                    Entered::Move { dc: DcId(dc), slot, to: NodeId(to), deadline: u64::MAX }
                }
                Want::Undo { dc, slot, number } => {
                    Entered::Undo { dc: DcId(dc), slot, number: Epoch(number) }
                }
                Want::Arrive { dc, slot, number } => {
                    Entered::Arrive { dc: DcId(dc), slot, number: Epoch(number) }
                }
            };
            let _ = self.apply(&self.entry(n, incarnation, command), Some(ticket));
        }
    }

    fn grant(&mut self) {
        let now = self.now;
        for n in (0..3u16).filter(|n| self.major(*n)).collect::<Vec<_>>() {
            let m = &self.machines[n as usize];
            if self.incarnation(n) == Some(m.incarnation) {
                let upto = self.state.last();
                self.machines[n as usize].steer(dvs_radar::Event::Granted { sent: now, upto }, now);
                self.granted[n as usize] = now;
            }
            for o in (0..3u16).filter(|o| self.linked(n, *o) && *o != n).collect::<Vec<_>>() {
                let applied = self.machines[o as usize].radar.applied();
                self.machines[n as usize].steer(dvs_radar::Event::Heard { node: NodeId(o), applied }, now);
            }
        }
    }

    /// What nodes say to each other arrives, in order, or waits for the link.
    fn carry(&mut self) {
        let now = self.now;
        for n in 0..3u16 {
            let m = &mut self.machines[n as usize];
            let records = std::mem::take(&mut m.records).into_iter().map(|(to, r)| (to, Passed::Record(r)));
            let frames = std::mem::take(&mut m.frames).into_iter().map(|(to, f)| (to, Passed::Frame(f)));
            for (to, passed) in records.chain(frames) {
                if m.alive && m.peers[to as usize] {
                    self.wires.entry((n, to)).or_default().push_back(passed);
                }
            }
        }
        let pairs: Vec<_> = self.wires.keys().copied().collect();
        for (from, to) in pairs {
            while self.linked(from, to) && self.machines[to as usize].peers[from as usize] {
                let Some(passed) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
                    break;
                };
                match passed {
                    Passed::Record(record) => {
                        self.machines[to as usize].feed(Event::Record { node: from, record }, now);
                    }
                    Passed::Frame(frame) => self.machines[to as usize].frame(from, frame, now),
                }
            }
        }
    }

    /// Whoever has not been granted its lease for long is lost.
    fn watch(&mut self) {
        let Some(by) = (0..3).find(|n| self.major(*n)) else { return };
        for n in 0..3u16 {
            let over = self.granted[n as usize] + Terms::default().wait_ns() <= self.now;
            if let Some(incarnation) = self.incarnation(n).filter(|_| over && !self.major(n)) {
                self.enter(by, Entered::Lost { node: NodeId(n), incarnation }).unwrap();
            }
        }
    }

    pub fn isolate(&mut self, n: u16) {
        self.cut.extend((0..3).filter(|o| *o != n).map(|o| (n, o)));
    }

    /// A node loses its power: what it had is gone.
    pub fn crash(&mut self, n: u16) {
        self.machines[n as usize].alive = false;
        self.wires.retain(|(a, b), _| *a != n && *b != n);
    }

    /// Everything is mended; daemons that are not there are started.
    pub fn heal(&mut self) {
        self.cut.clear();
        for n in 0..3u16 {
            if self.machines[n as usize].alive {
                continue;
            }
            self.lives += 1;
            let (seen, now) = (self.machines[n as usize].seen, self.now);
            let mut m = Machine::new(n, self.state.clone(), self.lives);
            m.seen = seen;
            self.begin(n);
            m.state = self.state.clone();
            m.incarnation = self.incarnation(n).unwrap();
            self.machines[n as usize] = m;
            self.machines[n as usize].start(now);
            let incarnation = self.machines[n as usize].incarnation;
            self.machines[n as usize].steer(dvs_radar::Event::Began { incarnation }, now);
            for o in (0..3usize).filter(|o| *o != n as usize) {
                self.machines[o].peers[n as usize] = false;
            }
        }
    }
}
