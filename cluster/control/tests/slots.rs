//! Nodes that bind and free at random, the log between them and the pool slow: the reference's simulation of
//! slots (facts §2.7), with its own rule beside ours over the same load.

use dvs_abi::limits::{LEASE_ASK_MIN, NODES_MAX};
use dvs_abi::{Code, NodeId};
use dvs_control::pool::Pool;
use dvs_control::slots::{Ask, Holding, SlotChange, SlotRequest};
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::{BTreeMap, VecDeque};

/// One step of time: a message to everybody.
const BROADCAST_NS: u64 = 1_000_000;
/// From a node's request until its turn in the log.
const COMMIT: u64 = 2;

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    use proptest::prelude::Rng;
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    move |n| rng.next_u64() % n
}

/// A bind: when it comes, where, and how long its program lives.
#[derive(Clone, Copy)]
struct Bind {
    at: u64,
    node: usize,
    lives: u64,
}

/// Binds of `nodes` that together would use about `load` percent of `slots`, each node busy and idle by
/// turns.
fn load(seed: u64, nodes: usize, slots: u64, load: u64, rounds: u64) -> Vec<Bind> {
    let mut r = random(seed);
    let mut busy = vec![false; nodes];
    let mut binds = Vec::new();
    let mean = 400;
    // Half of the nodes are busy at a time.
    let every = nodes as u64 * mean * 100 / (2 * slots * load).max(1);
    let per_mille = if every == 0 { 1000 } else { 1000 / every.max(1) };
    for at in 0..rounds {
        for (node, busy) in busy.iter_mut().enumerate() {
            if at == 0 || r(500) == 0 {
                *busy = r(2) == 0;
            }
            let odds = if *busy { 2 * per_mille * slots * load / (100 * nodes as u64 * mean) } else { 0 };
            if *busy && r(1000) < odds.max(slots * load * 20 / (nodes as u64 * mean)) {
                binds.push(Bind { at, node, lives: 1 + r(2 * mean) });
            }
        }
    }
    binds
}

#[derive(Default, Debug)]
struct Figures {
    bound: u64,
    refused: u64,
    /// Refused while somewhere a slot had been free all the time the bind waited.
    needlessly: u64,
    /// Steps that binds waited, by how many did.
    waited: BTreeMap<u64, u64>,
    /// Sum over time of slots in use.
    used: u64,
    most: usize,
}

impl Figures {
    fn waited_at_most(&self, percent: u64) -> u64 {
        let (all, mut sum) = (self.waited.values().sum::<u64>(), 0);
        for (steps, n) in &self.waited {
            sum += n;
            if sum * 100 >= all * percent {
                return *steps;
            }
        }
        0
    }
}

struct World {
    pool: Pool,
    nodes: Vec<Holding>,
    log: VecDeque<(u64, NodeId, SlotRequest)>,
    heard: VecDeque<(u64, SlotChange)>,
    /// Binds that wait, by node, oldest first.
    waiting: Vec<VecDeque<(u64, u64)>>,
    /// When programs end, and where they are bound.
    ends: BTreeMap<u64, Vec<(usize, i32)>>,
    /// Until when a slot was in use last; `u64::MAX` while it is.
    used_until: BTreeMap<i32, u64>,
    figures: Figures,
    now: u64,
}

impl World {
    fn new(nodes: usize, slots: i32) -> Self {
        World {
            pool: Pool::new(0, slots),
            nodes: (0..nodes).map(|n| Holding::new(NodeId(n as u16))).collect(),
            log: VecDeque::new(),
            heard: VecDeque::new(),
            waiting: vec![VecDeque::new(); nodes],
            ends: BTreeMap::new(),
            used_until: BTreeMap::new(),
            figures: Figures::default(),
            now: 0,
        }
    }

    fn ns(&self) -> u64 {
        self.now * BROADCAST_NS
    }

    fn propose(&mut self, node: usize, out: Vec<SlotRequest>) {
        let due = self.now + COMMIT;
        self.log.extend(out.into_iter().map(|r| (due, NodeId(node as u16), r)));
    }

    fn start(&mut self, node: usize, since: u64, lives: u64, slot: i32) {
        assert_ne!(self.used_until.insert(slot, u64::MAX), Some(u64::MAX), "slot {slot} is used twice");
        assert_eq!(
            self.pool.owner(slot),
            Some(NodeId(node as u16)),
            "slot {slot} is used by who was not leased it"
        );
        self.ends.entry(self.now + lives).or_default().push((node, slot));
        self.figures.bound += 1;
        *self.figures.waited.entry(self.now - since).or_default() += 1;
    }

    fn bind(&mut self, node: usize, since: u64, lives: u64) {
        let (mut out, now) = (Vec::new(), self.ns());
        match self.nodes[node].take(now, &mut out) {
            Some(slot) => self.start(node, since, lives, slot),
            None => self.waiting[node].push_back((since, lives)),
        }
        self.propose(node, out);
    }

    /// Those that wait take what has come.
    fn serve(&mut self, node: usize) {
        while self.nodes[node].free() > 0
            && let Some((since, lives)) = self.waiting[node].pop_front()
        {
            self.nodes[node].leave();
            self.bind(node, since, lives);
        }
    }

    fn hear(&mut self, change: &SlotChange) {
        let now = self.ns();
        for node in 0..self.nodes.len() {
            let mut out = Vec::new();
            let refused = self.nodes[node].hear(change, now, &mut out);
            self.propose(node, out);
            for _ in 0..refused {
                let (since, _) = self.waiting[node].pop_front().expect("as many wait");
                self.figures.refused += 1;
                let idle = |slot: i32| self.used_until.get(&slot).is_none_or(|until| *until < since);
                self.figures.needlessly += u64::from((0..self.slots()).any(idle));
            }
            self.serve(node);
        }
    }

    fn slots(&self) -> i32 {
        self.pool.free() as i32
            + (0..self.nodes.len()).map(|n| self.pool.owned(NodeId(n as u16)).count() as i32).sum::<i32>()
    }

    fn step(&mut self, binds: &[Bind]) {
        for (node, slot) in self.ends.remove(&self.now).unwrap_or_default() {
            self.used_until.insert(slot, self.now);
            self.nodes[node].put_back(slot);
            self.serve(node);
        }
        while self.log.front().is_some_and(|(due, ..)| *due <= self.now) {
            let (_, node, request) = self.log.pop_front().expect("seen");
            let mut out = Vec::new();
            let done = match request {
                SlotRequest::Ask(ask) => self.pool.ask(node, ask, &mut out),
                SlotRequest::Give { round, slots } => self.pool.give(node, round, &slots, &mut out),
                SlotRequest::Claim { slot } => self.pool.claim(node, slot, &mut out),
                SlotRequest::Keep { slot } => self.pool.keep(node, slot, &mut out),
            };
            done.expect("nodes ask for what they may");
            self.pool.validate().expect("the pool agrees with itself");
            let due = self.now + 1;
            self.heard.extend(out.into_iter().map(|c| (due, c)));
        }
        while self.heard.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, change) = self.heard.pop_front().expect("seen");
            self.hear(&change);
        }
        for b in binds {
            self.bind(b.node, self.now, b.lives);
        }
        let now = self.ns();
        for node in 0..self.nodes.len() {
            let mut out = Vec::new();
            self.nodes[node].tick(now, &mut out);
            self.propose(node, out);
        }
        let used = self.used_until.values().filter(|u| **u == u64::MAX).count();
        self.figures.used += used as u64;
        self.figures.most = self.figures.most.max(used);
        self.now += 1;
    }

    fn run(&mut self, binds: &[Bind], rounds: u64) {
        let mut next = 0;
        while self.now < rounds {
            let from = next;
            while binds.get(next).is_some_and(|b| b.at == self.now) {
                next += 1;
            }
            self.step(&binds[from..next]);
        }
    }
}

#[test]
fn no_bind_is_refused_while_a_slot_is_free_and_no_slot_has_two_owners() {
    for seed in 0..20 {
        let nodes = 2 + seed as usize % 7;
        let slots = 64 + 32 * (seed as i32 % 5);
        let percent = [60, 90, 130][seed as usize % 3];
        let binds = load(seed, nodes, slots as u64, percent, 20_000);
        let mut w = World::new(nodes, slots);
        w.run(&binds, 20_000);
        let f = &w.figures;
        assert!(f.bound > 1_000, "seed {seed}: {f:?}");
        assert_eq!(f.needlessly, 0, "seed {seed}: {f:?}");
        assert_eq!(w.slots(), slots, "seed {seed}");
        // After the load everything comes back, and nobody waits.
        let rest = w.now + 100_000;
        w.run(&[], rest);
        assert!(w.waiting.iter().all(VecDeque::is_empty), "seed {seed}");
        for node in (0..nodes).map(|n| NodeId(n as u16)) {
            let kept = w.pool.owned(node).count();
            assert!(kept <= 3 * LEASE_ASK_MIN as usize, "seed {seed}: {node} keeps {kept}");
        }
    }
}

#[test]
fn a_full_container_says_so_and_serves_again_when_there_is_room() {
    let mut w = World::new(3, 12);
    let forever = |node| Bind { at: 0, node, lives: 1_000_000 };
    w.step(&[0, 1, 2].map(forever).repeat(4));
    w.run(&[], 200);
    assert_eq!((w.figures.bound, w.figures.refused), (12, 0), "the last slot, too, is found");
    w.step(&[forever(1)]);
    w.run(&[], 300);
    assert_eq!((w.figures.bound, w.figures.refused, w.figures.needlessly), (12, 1, 0));
    let (node, slot) = w.ends.remove(&1_000_000).map(|mut e| e.swap_remove(0)).unwrap_or((0, 0));
    w.used_until.insert(slot, w.now);
    w.nodes[node].put_back(slot);
    w.step(&[forever(2)]);
    w.run(&[], 600);
    assert_eq!((w.figures.bound, w.figures.refused), (13, 1), "a slot of another node");
}

#[test]
fn slots_of_a_node_that_is_gone_are_free_and_a_round_does_not_wait_for_it() {
    let mut out = Vec::new();
    let mut pool = Pool::new(10, 12);
    let (a, b) = (NodeId(0), NodeId(1));
    let ask = |number| Ask { number, slots: 4, urgent: true };
    pool.ask(a, ask(1), &mut out).unwrap();
    pool.ask(a, ask(2), &mut out).unwrap();
    assert_eq!(pool.owned(a).collect::<Vec<_>>(), [10, 11]);
    out.clear();
    pool.ask(b, ask(1), &mut out).unwrap();
    assert_eq!(out, [SlotChange::Recall { node: a, round: 1, wanted: 4 }]);
    out.clear();
    pool.forget(a, &mut out);
    assert_eq!(out, [SlotChange::Leased { node: b, ask: 1, slots: vec![10] }]);
    assert_eq!(pool.give(a, 1, &[11], &mut out), Err(Code::BADRANGE), "no longer its own");
    assert_eq!(pool.ask(NodeId(NODES_MAX as u16), ask(1), &mut out), Err(Code::BADNODEID));
    pool.validate().unwrap();
}

#[test]
fn a_slot_wanted_by_its_number_is_had_if_nobody_has_it() {
    let mut out = Vec::new();
    let mut pool = Pool::new(10, 14);
    let (a, b) = (NodeId(0), NodeId(1));
    pool.claim(a, 12, &mut out).unwrap();
    assert_eq!(out, [SlotChange::Leased { node: a, ask: 0, slots: vec![12] }]);
    pool.validate().unwrap();
    pool.claim(a, 12, &mut out).unwrap();
    assert_eq!(out.len(), 1, "it is its own already");
    assert_eq!(pool.claim(b, 14, &mut out), Err(Code::RANGE));
    assert_eq!(pool.claim(b, i32::MIN, &mut out), Err(Code::RANGE));
    // Whoever has it gives it, or says that it is in use.
    let mut news = Vec::new();
    pool.claim(b, 12, &mut news).unwrap();
    pool.claim(b, 12, &mut news).unwrap();
    assert_eq!(news, [SlotChange::Wanted { node: a, slot: 12 }]);
    pool.validate().unwrap();
    assert_eq!(pool.keep(b, 12, &mut news), Err(Code::BADRANGE));
    pool.keep(a, 12, &mut news).unwrap();
    assert_eq!(news.pop(), Some(SlotChange::Kept { node: b, slot: 12 }));
    pool.claim(b, 12, &mut news).unwrap();
    pool.claim(NodeId(2), 12, &mut news).unwrap();
    pool.give(a, 0, &[12], &mut news).unwrap();
    let told =
        [SlotChange::Leased { node: b, ask: 0, slots: vec![12] }, SlotChange::Wanted { node: b, slot: 12 }];
    assert_eq!(news[news.len() - 2..], told);
    pool.validate().unwrap();
    pool.forget(b, &mut news);
    assert_eq!(news.pop(), Some(SlotChange::Leased { node: NodeId(2), ask: 0, slots: vec![12] }));
    pool.forget(NodeId(2), &mut news);
    // Its holder does not take it for the answer to its ask.
    let (mut h, mut wants) = (Holding::new(a), Vec::new());
    assert_eq!(h.take(0, &mut wants), None);
    h.hear(&out[0], 1, &mut wants);
    assert_eq!((wants.len(), h.free()), (1, 1));
    assert!(h.withhold(12) && !h.withhold(12) && !h.has(12));
}

#[test]
fn a_node_that_is_to_have_none_gives_all_and_answers_recalls() {
    let mut out = Vec::new();
    let mut h = Holding::new(NodeId(0));
    assert_eq!(h.take(0, &mut out), None);
    h.hear(&SlotChange::Leased { node: NodeId(0), ask: 1, slots: vec![4, 5, 6] }, 1, &mut out);
    h.leave();
    assert_eq!(h.take(1, &mut out), Some(4));
    out.clear();
    h.put_back(4);
    h.close(&mut out);
    assert_eq!(out, [SlotRequest::Give { round: 0, slots: vec![5, 6, 4] }]);
    out.clear();
    h.hear(&SlotChange::Recall { node: NodeId(0), round: 7, wanted: 2 }, 2, &mut out);
    assert_eq!(out, [SlotRequest::Give { round: 7, slots: vec![] }]);
}

/// The reference's rule (facts §2.6), in its favour: membership never changes, a node asks again as soon as
/// all have answered, and answers of zero are not held back.
struct Reference {
    free: Vec<Vec<i32>>,
    owned: Vec<usize>,
    /// Donors that have not answered yet, and how many had something.
    asked: Vec<usize>,
    /// When they arrive: to whom, what.
    donations: VecDeque<(u64, usize, Vec<i32>)>,
    requests: VecDeque<(u64, usize, usize)>,
    ends: BTreeMap<u64, Vec<(usize, i32)>>,
    figures: Figures,
    used: usize,
}

impl Reference {
    fn new(nodes: usize, slots: i32) -> Self {
        let mut free = vec![Vec::new(); nodes];
        (0..slots).for_each(|s| free[s as usize % nodes].push(s));
        let owned = free.iter().map(Vec::len).collect();
        Reference {
            free,
            owned,
            asked: vec![0; nodes],
            donations: VecDeque::new(),
            requests: VecDeque::new(),
            ends: BTreeMap::new(),
            figures: Figures::default(),
            used: 0,
        }
    }

    fn run(&mut self, slots: usize, binds: &[Bind], rounds: u64) {
        let nodes = self.free.len();
        let least = slots / nodes;
        let (low, most) = (least / 2, slots - least * (nodes - 1));
        let mut next = 0;
        for now in 0..rounds {
            for (node, slot) in self.ends.remove(&now).unwrap_or_default() {
                self.free[node].push(slot);
                self.used -= 1;
            }
            while self.requests.front().is_some_and(|(due, ..)| *due <= now) {
                let (_, to, need) = self.requests.pop_front().expect("seen");
                for donor in (0..nodes).filter(|d| *d != to) {
                    let surplus = self.free[donor].len().saturating_sub(low);
                    let gives = need.div_ceil(nodes - 1).min(surplus).min(4);
                    let keeps = self.free[donor].len() - gives;
                    self.owned[donor] -= gives;
                    let slots = self.free[donor].split_off(keeps);
                    self.donations.push_back((now + 1, to, slots));
                }
            }
            while self.donations.front().is_some_and(|(due, ..)| *due <= now) {
                let (_, to, slots) = self.donations.pop_front().expect("seen");
                self.owned[to] += slots.len();
                self.free[to].extend(slots);
                self.asked[to] -= 1;
            }
            while let Some(b) = binds.get(next).filter(|b| b.at == now) {
                next += 1;
                match self.free[b.node].pop() {
                    Some(slot) => {
                        self.ends.entry(now + b.lives).or_default().push((b.node, slot));
                        self.used += 1;
                        self.figures.bound += 1;
                    }
                    None => {
                        self.figures.refused += 1;
                        self.figures.needlessly += u64::from(self.used < slots);
                    }
                }
                let (free, owned) = (self.free[b.node].len(), self.owned[b.node]);
                if free < low && owned < most && self.asked[b.node] == 0 {
                    self.asked[b.node] = nodes - 1;
                    let need = most.div_ceil(nodes).saturating_sub(owned).max(low - free);
                    self.requests.push_back((now + 1, b.node, need));
                }
            }
            self.figures.used += self.used as u64;
        }
    }
}

#[test]
fn fewer_binds_fail_than_with_the_reference_rule_over_the_same_load() {
    let (nodes, slots, rounds) = (8, 256, 100_000);
    println!("load %  rule       in use %  failed  of which needlessly  waited p50, p99 (broadcasts)");
    for percent in [50, 75, 90, 100] {
        let binds = load(7 + percent, nodes, slots as u64, percent, rounds);
        let mut ours = World::new(nodes, slots);
        ours.run(&binds, rounds);
        let mut theirs = Reference::new(nodes, slots);
        theirs.run(slots as usize, &binds, rounds);
        for (rule, f) in [("ours", &ours.figures), ("reference", &theirs.figures)] {
            let in_use = 100 * f.used / (rounds * slots as u64);
            let (p50, p99) = (f.waited_at_most(50), f.waited_at_most(99));
            println!(
                "{percent:>6}  {rule:<9}  {in_use:>8}  {:>6}  {:>19}  {p50}, {p99}",
                f.refused, f.needlessly
            );
        }
        let (ours, theirs) = (&ours.figures, &theirs.figures);
        assert_eq!(ours.needlessly, 0);
        assert!(ours.refused <= theirs.refused, "load {percent}: {} and {}", ours.refused, theirs.refused);
        assert!(theirs.needlessly > 0 || theirs.refused == 0, "the load tells the rules apart");
    }
}
