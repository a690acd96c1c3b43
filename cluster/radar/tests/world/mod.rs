//! A model of a system: a log that whoever reaches a majority may add to, nodes that hear it late, links that
//! break one by one, clocks that drift, processes that die; and on each node a client that calls each service
//! again and again.
#![allow(dead_code, reason = "each test file uses a part of it")]

mod host;

use dvs_abi::{DcId, Endpoint, NodeId};
use dvs_control::command::{Command, Entry, Reply};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::{Member, NodeCard};
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::state::{Answer, ServiceName, State};
use dvs_radar::gate::Callers;
use dvs_radar::vigil::Vigil;
use dvs_radar::{Event, Serving, Terms};
pub use host::{Call, Host, Instance};
use std::collections::{BTreeMap, BTreeSet};

pub const DC: DcId = DcId(0);
/// Between two steps.
pub const STEP_NS: u64 = 25_000_000;
const TOKEN: [u8; 32] = [7; 32];

pub struct World {
    pub real: u64,
    pub hosts: Vec<Host>,
    pub terms: Terms,
    log: Vec<Entry>,
    pub truth: State,
    /// From whom nothing gets through to whom.
    pub cut: BTreeSet<(usize, usize)>,
    leader: Option<(usize, Vigil)>,
    /// Zero: everything happens at once and nothing by chance.
    random: u64,
    processes: u64,
}

fn card(n: usize) -> NodeCard {
    NodeCard { name: format!("node{n}"), address: format!("[::1]:{n}"), key: [n as u8; 32] }
}

/// A container on all nodes.
pub fn create(nodes: usize) -> Command {
    let nodes = (1 << nodes) - 1;
    let spec = DcConfig {
        name: "shop".into(),
        tasks: 35,
        procs: 100,
        sysprocs: 64,
        warn: Endpoint::NONE.raw(),
        warn_type: 0,
        nodes,
        born: 0,
    };
    Command::Create { dc: Some(DC), spec }
}

impl World {
    /// So many nodes, and a container on all. With a seed, things take their time.
    pub fn new(nodes: usize, seed: u64) -> Self {
        let terms = Terms::default();
        let mut w = World {
            real: 1_000_000_000,
            hosts: Vec::new(),
            terms,
            log: Vec::new(),
            truth: State::found(card(0)),
            cut: BTreeSet::new(),
            leader: None,
            random: seed,
            processes: 0,
        };
        let founder = State::found(card(0));
        let Ok(Reply::Begun(first)) =
            w.put(0, Epoch::default(), 0, Command::Begin { address: card(0).address, nonce: 0 })
        else {
            panic!("it begins")
        };
        let uses = nodes as u16;
        let mut commands = vec![Command::Invite { token: TOKEN, until: u64::MAX, uses }];
        commands.extend((1..nodes).map(|n| Command::Admit { token: TOKEN, card: card(n) }));
        commands.push(create(nodes));
        for (number, command) in (1..).zip(commands) {
            w.put(0, first, number, command).unwrap();
        }
        for n in 0..nodes {
            let drift = if seed == 0 { 0 } else { w.below(2 * 1200) as i64 - 1200 };
            let offset = w.below(1 << 40);
            let mut host = Host::new(NodeId(n as u16), founder.clone(), (offset, drift), terms);
            host.hear(Event::Restored, w.real);
            w.hosts.push(host);
        }
        w
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Whether something that may take its time happens now; always if nothing is left to chance.
    fn soon(&mut self, calm: bool, percent: u64) -> bool {
        calm || self.chance(percent)
    }

    fn put(&mut self, n: usize, incarnation: Epoch, number: u64, command: Command) -> Answer {
        let entry = Entry { from: NodeId(n as u16), incarnation, number, at: self.real, command };
        let place = Epoch(self.log.len() as u64 + 1);
        let answer = self.truth.apply(place, &entry, &mut Vec::new());
        self.log.push(entry);
        self.truth.validate().unwrap();
        answer
    }

    /// A command of a node, if it reaches the leader.
    pub fn say(&mut self, n: usize, command: Command) -> Option<Answer> {
        let (leader, _) = self.leader.as_ref()?;
        if !self.hosts[n].runs() || !self.joined(n, *leader) {
            return None;
        }
        self.hosts[n].number += 1;
        let incarnation = self.hosts[n].incarnation?;
        Some(self.put(n, incarnation, self.hosts[n].number, command))
    }

    pub fn declare(&mut self, slot: i32, kind: Kind, nodes: u32, rule: PartitionRule) -> ServiceName {
        let spec = ServiceSpec { name: format!("s{slot}"), kind, nodes, rule };
        self.say(0, Command::Declare { dc: DC, slot, spec }).unwrap().unwrap();
        (DC, slot)
    }

    pub fn place(&self, name: ServiceName) -> Option<Place> {
        self.truth.container(name.0)?.services.get(&name.1).map(|s| s.place)
    }

    fn lives(&self, n: usize) -> bool {
        let h = &self.hosts[n];
        h.incarnation.is_some() && self.truth.member(h.node).and_then(Member::incarnation) == h.incarnation
    }

    /// Whether messages get through both ways.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        let through = !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        a == b || (through && self.hosts[a].runs() && self.hosts[b].runs())
    }

    /// Nothing gets through between a node and the others.
    pub fn isolate(&mut self, n: usize) {
        for other in (0..self.hosts.len()).filter(|o| *o != n) {
            self.cut.extend([(n, other), (other, n)]);
        }
    }

    pub fn crash(&mut self, n: usize) {
        self.hosts[n].alive = false;
        self.hosts[n].paused = false;
    }

    pub fn restart(&mut self, n: usize) {
        let (terms, real) = (self.terms, self.real);
        self.hosts[n].restart(terms, real);
    }

    /// An instance's process dies; its node's daemon sees it.
    pub fn kill(&mut self, n: usize, name: ServiceName) {
        if self.hosts[n].procs.remove(&name).is_some() {
            self.hosts[n].retiring.insert(name);
        }
    }

    /// No fault is left.
    pub fn heal(&mut self) {
        self.cut.clear();
        for n in 0..self.hosts.len() {
            self.hosts[n].paused = false;
            if !self.hosts[n].alive {
                self.restart(n);
            }
        }
    }

    pub fn run(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.step(true));
    }

    /// Time goes on, and something happens everywhere.
    pub fn step(&mut self, calm: bool) {
        self.real += STEP_NS;
        self.elect();
        for n in 0..self.hosts.len() {
            if self.hosts[n].runs() {
                self.begin(n);
                self.lease(n, calm);
                self.follow(n, calm);
                self.listen(n, calm);
                self.offer(n, calm);
            }
        }
        self.hand_over(calm);
        self.bury();
        for n in 0..self.hosts.len() {
            if self.hosts[n].runs() {
                self.hosts[n].hear(Event::Tick, self.real);
                self.call(n, calm);
            }
        }
        self.check();
    }

    fn elect(&mut self) {
        let all = self.hosts.len();
        let leads = |w: &World, n: usize| {
            w.hosts[n].runs() && (0..all).filter(|o| w.hosts[*o].runs() && w.joined(n, *o)).count() * 2 > all
        };
        if self.leader.as_ref().is_some_and(|(n, _)| leads(self, *n)) {
            return;
        }
        let next = (0..all).find(|n| leads(self, *n));
        self.leader = next.map(|n| (n, Vigil::new(self.terms, self.hosts[n].now(self.real))));
    }

    fn follows(&self, n: usize) -> bool {
        self.leader.as_ref().is_some_and(|(l, _)| self.joined(n, *l))
    }

    fn begin(&mut self, n: usize) {
        if !self.follows(n) || self.lives(n) || self.truth.member(self.hosts[n].node).is_none() {
            return;
        }
        self.processes += 1;
        let known = self.truth.member(self.hosts[n].node).map(Member::last_incarnation).unwrap_or_default();
        let begin = Command::Begin { address: card(n).address, nonce: self.processes };
        let begun = self.put(n, known, 0, begin);
        let Ok(Reply::Begun(incarnation)) = begun else { panic!("{begun:?}") };
        let h = &mut self.hosts[n];
        (h.incarnation, h.number) = (Some(incarnation), 0);
        h.procs.clear();
        h.retiring.clear();
        h.hear(Event::Began { incarnation }, self.real);
    }

    /// It asks whether it is still one of us, and hears answers.
    fn lease(&mut self, n: usize, calm: bool) {
        let delay = if calm { 0 } else { self.below(5) * STEP_NS };
        if self.follows(n) && self.lives(n) && self.soon(calm, 70) {
            // It asked a step ago.
            let sent = self.hosts[n].now(self.real - STEP_NS);
            let upto = Epoch(self.log.len() as u64);
            if let Some((l, vigil)) = &mut self.leader {
                vigil.granted(self.hosts[n].node, self.hosts[*l].now(self.real));
            }
            // The answer may be lost where the question was not.
            if self.soon(calm, 85) {
                self.hosts[n].mail.push((self.real + delay, sent, upto));
            }
        }
        let real = self.real;
        let (now, later): (Vec<_>, Vec<_>) = self.hosts[n].mail.iter().partition(|m| m.0 <= real);
        self.hosts[n].mail = later;
        for (_, sent, upto) in now {
            self.hosts[n].hear(Event::Granted { sent, upto }, real);
        }
    }

    /// It hears some of the log.
    fn follow(&mut self, n: usize, calm: bool) {
        if !self.follows(n) || !self.soon(calm, 60) {
            return;
        }
        let most = if calm { u64::MAX } else { self.below(6) };
        let known = self.hosts[n].state.last().0;
        for place in known + 1..=self.log.len() as u64 {
            if place - known > most {
                return;
            }
            let entry = self.log[place as usize - 1].clone();
            let (h, mut changes) = (&mut self.hosts[n], Vec::new());
            let _ = h.state.apply(Epoch(place), &entry, &mut changes);
            let event = Event::Applied { place: Epoch(place), changes: &changes };
            h.hear(event, self.real);
            assert_eq!(h.hear(event, self.real), 0, "an entry that comes twice");
        }
    }

    /// It is sent a snapshot.
    pub fn restore(&mut self, n: usize) {
        if self.hosts[n].runs() && self.follows(n) {
            self.hosts[n].state = self.truth.clone();
            self.hosts[n].hear(Event::Restored, self.real);
        }
    }

    fn listen(&mut self, n: usize, calm: bool) {
        for other in (0..self.hosts.len()).filter(|o| *o != n) {
            let (node, up) = (self.hosts[other].node, self.joined(n, other));
            if self.soon(calm, 50) {
                self.hosts[n].hear(Event::Link { node, up }, self.real);
            }
            let applied = self.hosts[other].radar.applied();
            if up && self.soon(calm, 30) {
                self.hosts[n].hear(Event::Heard { node, applied }, self.real);
            }
        }
    }

    /// It starts instances, says what became of them, and ends those that are not to be.
    fn offer(&mut self, n: usize, calm: bool) {
        let h = &mut self.hosts[n];
        let (node, last) = (h.node, h.state.last());
        let over: Vec<_> = h.procs.iter().filter(|(_, p)| p.offered <= last).map(|(s, _)| *s).collect();
        for name in over {
            let service = h.state.container(name.0).and_then(|c| c.services.get(&name.1));
            if let Some(s) = service.filter(|s| s.instances.contains_key(&node)) {
                if !s.withdrawn && s.spec.allows(node) {
                    continue;
                }
                h.retiring.insert(name);
            }
            h.procs.remove(&name);
        }
        for name in h.retiring.clone() {
            let retired = self.say(n, Command::Retire { dc: name.0, slot: name.1 });
            if retired.is_some() {
                self.hosts[n].retiring.remove(&name);
                let place = Epoch(self.log.len() as u64);
                self.hosts[n].retired.insert(name, place);
            }
        }
        let Some(c) = self.hosts[n].state.container(DC).filter(|c| c.spec.runs_on(node.0)).cloned() else {
            return;
        };
        for (slot, s) in c.services.into_iter().filter(|(_, s)| !s.withdrawn) {
            let name = (DC, slot);
            let state = &self.hosts[n].state;
            let up = |m: NodeId| state.member(m).is_some_and(|m| m.incarnation().is_some());
            let home = (0..32).map(NodeId).find(|m| s.spec.allows(*m) && c.spec.runs_on(m.0) && up(*m));
            let wanted = s.spec.kind != Kind::Single || (s.place == Place::Vacant && home == Some(node));
            let there = s.instances.get(&node).map(|i| i.in_step);
            let runs = self.hosts[n].procs.contains_key(&name);
            let behind = runs && there == Some(false);
            let new = wanted && !runs && there.is_none() && s.spec.allows(node);
            if (new || behind) && self.hosts[n].retired_all(name) && self.soon(calm, 40) {
                let in_step = s.spec.kind == Kind::Single || self.soon(calm, 50);
                self.offer_one(n, name, in_step);
            }
        }
    }

    fn offer_one(&mut self, n: usize, name: ServiceName, in_step: bool) {
        self.processes += 1;
        let id = self.hosts[n].procs.get(&name).map_or(self.processes, |p| p.id);
        let done = self.say(n, Command::Offer { dc: name.0, slot: name.1, in_step });
        if matches!(done, Some(Ok(_))) {
            let offered = Epoch(self.log.len() as u64);
            self.hosts[n].procs.insert(name, Instance { id, offered });
        }
    }

    fn arrive(&mut self, n: usize, name: ServiceName, number: Epoch) {
        self.processes += 1;
        let id = self.hosts[n].procs.get(&name).map_or(self.processes, |p| p.id);
        let done = self.say(n, Command::Arrive { dc: name.0, slot: name.1, number });
        if matches!(done, Some(Ok(_))) {
            let offered = Epoch(self.log.len() as u64);
            self.hosts[n].procs.insert(name, Instance { id, offered });
        }
    }

    /// Services that move: what the old process had goes to the new one.
    fn hand_over(&mut self, calm: bool) {
        for name in self.names() {
            let Some(Place::Moving { from, to, number, .. }) = self.place(name) else { continue };
            let (a, b) = (usize::from(from.0), usize::from(to.0));
            let heard = |h: &Host| {
                let place = h.service(name).map(|s| s.place);
                matches!(place, Some(Place::Moving { number: n, .. }) if n == number)
            };
            let Some(old) = self.hosts[a].procs.get(&name).map(|p| (from, p.id)) else { continue };
            let ready = heard(&self.hosts[a]) && heard(&self.hosts[b]) && self.joined(a, b) && self.lives(b);
            if !ready || !self.hosts[b].retired_all(name) || !self.soon(calm, 50) {
                continue;
            }
            let applied = self.hosts[a].radar.applied();
            self.hosts[b].hear(Event::Heard { node: from, applied }, self.real);
            self.arrive(b, name, number);
            let Some(new) = self.hosts[b].procs.get(&name).map(|p| (to, p.id)) else { continue };
            for h in &mut self.hosts {
                if let Some(Call::Taken(_, by)) = h.calls.get_mut(&name)
                    && by.contains(&old)
                {
                    by.insert(new);
                }
            }
        }
    }

    /// The leader declares lost who cannot hold a lease any more.
    fn bury(&mut self) {
        let Some((l, vigil)) = self.leader.clone() else { return };
        let now = self.hosts[l].now(self.real);
        let up: Vec<_> = self.truth.members().filter_map(|(n, m)| Some((n, m.incarnation()?))).collect();
        for (node, incarnation) in up {
            if usize::from(node.0) != l && vigil.over(node, now) {
                self.say(l, Command::Lost { node, incarnation });
            }
        }
    }

    pub fn names(&self) -> Vec<ServiceName> {
        let all = self.truth.containers().flat_map(|(dc, c)| c.services.iter().map(move |s| (dc, s)));
        all.filter(|(_, (_, s))| !s.withdrawn).map(|(dc, (slot, _))| (dc, *slot)).collect()
    }

    /// Its clients go on.
    fn call(&mut self, n: usize, calm: bool) {
        for name in self.hosts[n].gates.keys().copied().collect::<Vec<_>>() {
            self.hosts[n].call(name);
            let gate = self.hosts[n].gate(name);
            let next = match self.hosts[n].calls.get(&name).cloned() {
                Some(Call::Waits) if gate.callers == Callers::Go => {
                    let to = usize::from(gate.node.unwrap().0);
                    let active = self.hosts[n].service(name).is_some_and(|s| s.spec.kind == Kind::Active);
                    let current = active || self.hosts[to].gate(name).epoch == gate.epoch;
                    let takes = current && self.answers(n, to, name) && self.soon(calm, 80);
                    let by = self.hosts[to].procs.get(&name).map(|p| (NodeId(to as u16), p.id));
                    by.filter(|_| takes).map(|by| Call::Taken(by.0, [by].into()))
                }
                Some(Call::Taken(_, by)) => {
                    let has = |w: &World, (m, id): (NodeId, u64)| {
                        let m = usize::from(m.0);
                        w.hosts[m].procs.get(&name).is_some_and(|p| p.id == id) && w.answers(n, m, name)
                    };
                    let done = by.into_iter().any(|p| has(self, p)) && self.soon(calm, 30);
                    done.then_some(Call::Idle)
                }
                _ => None,
            };
            if let Some(next) = next {
                let h = &mut self.hosts[n];
                if matches!(next, Call::Idle) {
                    h.seen.entry(name).or_default().answered += 1;
                }
                h.calls.insert(name, next);
            }
        }
    }

    /// Whether the instance on a node takes up and answers calls of a client on another.
    fn answers(&self, client: usize, n: usize, name: ServiceName) -> bool {
        self.joined(client, n)
            && self.hosts[n].procs.contains_key(&name)
            && self.hosts[n].serving(name, self.real) == Serving::Full
    }

    /// What must hold at any moment.
    fn check(&self) {
        for name in self.names() {
            let serving = |h: &&Host| {
                let ruled = h.service(name).is_some_and(|s| {
                    s.spec.kind != Kind::Active
                        && (s.spec.rule != PartitionRule::Continue || h.radar.holds_lease(h.now(self.real)))
                });
                h.alive && ruled && h.procs.contains_key(&name) && h.serving(name, self.real) == Serving::Full
            };
            let who: Vec<_> = self.hosts.iter().filter(serving).map(|h| h.node).collect();
            assert!(who.len() <= 1, "{who:?} serve {name:?}, {:?}", self.place(name));
        }
        let mut places = BTreeMap::new();
        for h in &self.hosts {
            for ((name, epoch, active), node) in &h.points {
                if !active {
                    let other = places.insert((*name, *epoch), *node);
                    assert!(other.is_none_or(|o| o == *node), "{name:?} {epoch}: {node} and {other:?}");
                }
            }
        }
    }
}
