//! Circles of waits over nodes: whoever finds one, exactly one call fails, the youngest.

use dvs_abi::{Endpoint, NodeId};
use dvs_kern::control::{BindKind, Event as Told, Request, board};
use dvs_kern::node::config::{DcConfig, NodeConfig, NodeEntry};
use dvs_kern::node::event::{Command, Event};
use dvs_kern::node::record::Record;
use dvs_kern::node::{Node, Waiting};
use std::collections::VecDeque;

const MS: u64 = 1_000_000;
const CLOCKS: [u64; 3] = [5_000 * MS, 90_000 * MS, 400_000 * MS];

/// Three nodes with clocks of their own, the records between them, and what sessions were told.
struct World {
    nodes: Vec<Node>,
    wire: VecDeque<(u16, u16, Record)>,
    now: u64,
    failed: Vec<(i32, u64, Vec<i32>)>,
}

impl World {
    /// Endpoint `10 + i` is bound on node `i % 3`.
    fn new(members: usize) -> World {
        let entry = |n| NodeEntry { id: NodeId(n), name: format!("n{n}"), address: String::new() };
        let config = |me| NodeConfig {
            me: NodeId(me),
            pid: 1,
            nodes: (0..3).map(entry).collect(),
            first_generation: 0,
        };
        let nodes = (0..3).map(|n| Node::new(config(n))).collect();
        let mut w = World { nodes, wire: VecDeque::new(), now: 0, failed: Vec::new() };
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            w.event(a, Event::NodeUp { node: b });
            w.event(b, Event::NodeUp { node: a });
        }
        let dc = DcConfig {
            name: "dc".into(),
            procs: 221,
            tasks: 35,
            sysprocs: 64,
            warn: Endpoint::NONE.raw(),
            warn_type: 0,
            nodes: 0b111,
            born: 1,
        };
        for n in 0..3 {
            let (pid, name) = (100 + u32::from(n), "p".into());
            w.event(n, Event::Connected { session: 1, id: 1, pid, name, operator: true });
            w.event(n, Event::Container { dc: 1, value: Some(dc.clone()) });
        }
        w.settle();
        for i in 0..members {
            let request = Request::Bind {
                kind: BindKind::Own,
                dc: 1,
                endpoint: Endpoint::new(0, 10 + i as i32).raw(),
                pid: 0,
                node: 0,
                name: String::new(),
                board: i as u32,
            };
            w.event((i % 3) as u16, Event::Request { session: 1, id: 10 + i as u64, request });
        }
        w.settle();
        w
    }

    fn event(&mut self, node: u16, event: Event) {
        let at = CLOCKS[node as usize] + self.now;
        for command in self.nodes[node as usize].handle(event, at) {
            match command {
                Command::Control { node: to, record } => self.wire.push_back((node, to, record)),
                Command::Tell { event: Told::Deadlock { endpoint, call, cycle, .. }, .. } => {
                    self.failed.push((endpoint, call, cycle));
                }
                Command::Reply { result: Err(e), .. } => panic!("{e:?}"),
                _ => {}
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let Some((from, to, record)) = self.wire.pop_front() else { return false };
        self.event(to, Event::Record { node: from, record });
        true
    }

    /// The oldest record of some link: links are out of step with each other, each keeps its order.
    fn deliver_any(&mut self, random: &mut Random) {
        if self.wire.is_empty() {
            return;
        }
        let (from, to, _) = &self.wire[random.below(self.wire.len() as u64) as usize];
        let (from, to) = (*from, *to);
        let first = self.wire.iter().position(|r| (r.0, r.1) == (from, to));
        let Some((from, to, record)) = first.and_then(|n| self.wire.remove(n)) else { return };
        self.event(to, Event::Record { node: from, record });
    }

    fn settle(&mut self) {
        while self.deliver() {}
    }

    /// Member `i` began its call number `100 + i` to the next at `began[i]`; those that failed wait no more.
    fn boards(&mut self, began: &[u64]) {
        let members = began.len();
        self.boards_to(began, &|i| (i + 1) % members);
    }

    /// The same, member `i` to member `next(i)`.
    fn boards_to(&mut self, began: &[u64], next: &dyn Fn(usize) -> usize) {
        for node in 0..3u16 {
            let waiting = (0..began.len()).filter(|i| *i % 3 == node as usize);
            let waiting = waiting.filter(|i| !self.failed.iter().any(|f| f.0 == 10 + *i as i32));
            let at = |i: usize| Waiting {
                dc: 1,
                endpoint: 10 + i as i32,
                state: board::CALLING,
                peer: 10 + next(i) as i32,
                since: CLOCKS[node as usize] + began[i],
                call: 100 + i as u64,
            };
            let all = waiting.map(at).collect();
            self.event(node, Event::Boards(all));
        }
    }

    /// Everybody asks, while every record takes `travel`.
    fn all_ask(&mut self, began: &[u64], travel: u64) {
        for i in 0..began.len() {
            self.boards(began);
            let request = Request::DeadlockCheck { dc: 1, endpoint: 10 + i as i32, call: 100 + i as u64 };
            self.event((i % 3) as u16, Event::Request { session: 1, id: 0, request });
        }
        for round in 0.. {
            assert!(round < 1000, "it does not end");
            // What is under way at the same time arrives at the same time.
            let flight = self.wire.len();
            if flight == 0 {
                return;
            }
            self.now += travel;
            for _ in 0..flight {
                self.deliver();
            }
        }
    }
}

#[test]
fn one_call_of_a_circle_over_nodes_fails_and_it_is_the_youngest() {
    for members in 2..=7 {
        for youngest in 0..members {
            for travel in [1, MS / 10, 3 * MS] {
                let mut w = World::new(members);
                // All but the youngest are older by more than a round of probes takes.
                let began: Vec<u64> =
                    (0..members).map(|i| if i == youngest { 150 * MS } else { i as u64 }).collect();
                w.now = 300 * MS;
                w.all_ask(&began, travel);
                let told: Vec<(i32, u64)> = w.failed.iter().map(|f| (f.0, f.1)).collect();
                assert_eq!(told, [(10 + youngest as i32, 100 + youngest as u64)], "{members} {travel}");
                assert_eq!(w.failed[0].2.len(), members);
            }
        }
    }
}

#[test]
fn calls_that_began_nearly_together_still_fail_only_once() {
    for members in 2..=7u64 {
        for step in [0, 1, MS / 4, MS] {
            for up in [true, false] {
                let mut w = World::new(members as usize);
                let began: Vec<u64> =
                    (0..members).map(|i| if up { i * step } else { (members - i) * step }).collect();
                w.now = 300 * MS;
                w.all_ask(&began, 3 * MS);
                assert_eq!(w.failed.len(), 1, "{members} calls, {step} ns apart: {:?}", w.failed);
                // Who asks late, on old boards, finds it judged.
                w.all_ask(&began, MS);
                assert_eq!(w.failed.len(), 1);
            }
        }
    }
}

#[test]
fn a_call_that_has_only_begun_is_left_alone() {
    let mut w = World::new(3);
    w.now = 300 * MS;
    w.all_ask(&[0, 1, 290 * MS], MS);
    assert_eq!(w.failed, []);
    w.now = 600 * MS;
    w.all_ask(&[0, 1, 290 * MS], MS);
    assert_eq!(w.failed.len(), 1);
}

/// Where calls are no further apart than records travel, nobody can know the youngest; the choice must not
/// depend on where the judge is, who asks first and which way the records go.
#[test]
fn calls_that_cannot_be_told_apart_fail_at_the_greatest_endpoint() {
    // Of four, two are on one node, whose clock tells them apart: the greatest only if it is younger.
    for (members, up) in [(2, true), (2, false), (3, true), (3, false), (4, true), (5, true), (7, true)] {
        for step in [0, 1, MS / 4, MS] {
            let mut w = World::new(members as usize);
            let began: Vec<u64> =
                (0..members).map(|i| if up { i * step } else { (members - i) * step }).collect();
            w.now = 300 * MS;
            // Once round takes longer than all calls are apart.
            w.all_ask(&began, 8 * MS);
            let told: Vec<i32> = w.failed.iter().map(|f| f.0).collect();
            assert_eq!(told, [9 + members as i32], "{members} calls, {step} ns apart, up {up}");
        }
    }
}

/// Callers that ask at random times, records that are late and out of step (in order on each link) and lost
/// with a connection: in the end exactly one call failed, and it is the youngest or was not told from it.
fn at_random(seed: u64) {
    let mut random = Random(seed);
    let members = 2 + random.below(5) as usize;
    let spread = [MS / 2, 5 * MS, 80 * MS][random.below(3) as usize];
    let began: Vec<u64> = (0..members).map(|_| random.below(spread)).collect();
    let lost_until = if random.below(3) == 0 { 1_000 * MS } else { 0 };
    let mut w = World::new(members);
    // When each asks next, and after how long again, as a session does.
    let mut asks: Vec<(u64, u64)> =
        began.iter().map(|b| (b + 200 * MS + random.below(3 * MS), 200 * MS)).collect();
    while w.now < 8_000 * MS {
        w.now += 1 + random.below(MS);
        for (i, ask) in asks.iter_mut().enumerate() {
            if ask.0 > w.now || w.failed.iter().any(|f| f.0 == 10 + i as i32) {
                continue;
            }
            let pause = 2 * ask.1;
            *ask = (w.now + pause, pause);
            w.boards(&began);
            let request = Request::DeadlockCheck { dc: 1, endpoint: 10 + i as i32, call: 100 + i as u64 };
            w.event((i % 3) as u16, Event::Request { session: 1, id: 0, request });
        }
        if w.now < lost_until && random.below(4) == 0 {
            w.wire.clear();
        }
        for _ in 0..random.below(4) {
            w.boards(&began);
            w.deliver_any(&mut random);
        }
        // Nothing is under way: on to the next question.
        if w.wire.is_empty() {
            w.now = asks.iter().map(|a| a.0).min().unwrap_or(w.now).max(w.now);
        }
    }
    assert_eq!(w.failed.len(), 1, "seed {seed}: {:?}", w.failed);
    assert_eq!(w.failed[0].2.len(), members, "seed {seed}");
    let victim = (w.failed[0].0 - 10) as usize;
    let youngest = (0..members).max_by_key(|i| (began[*i], *i)).unwrap();
    assert!(victim >= youngest, "seed {seed}: {victim} was told from {youngest}, or chosen by chance");
}

#[test]
fn whoever_asks_when_and_whatever_is_late_or_lost_one_call_fails() {
    (0..400).for_each(at_random);
}

/// Two circles with one judge's node, both of calls that began together: measuring the one again must not
/// make the judge forget how often it measured the other.
#[test]
fn two_circles_judged_at_one_time_both_end() {
    let mut w = World::new(6);
    let next = |i: usize| if i < 3 { (i + 1) % 3 } else { 3 + (i + 1) % 3 };
    w.now = 300 * MS;
    w.boards_to(&[0; 6], &next);
    for (i, node) in [(0, 0), (3, 0)] {
        let request = Request::DeadlockCheck { dc: 1, endpoint: 10 + i, call: 100 + i as u64 };
        w.event(node, Event::Request { session: 1, id: 0, request });
    }
    for _ in 0..200 {
        w.now += MS;
        w.deliver();
    }
    let mut told: Vec<i32> = w.failed.iter().map(|f| f.0).collect();
    told.sort_unstable();
    assert_eq!(told, [12, 15]);
}

/// A small generator (SplitMix64): the same run from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}
