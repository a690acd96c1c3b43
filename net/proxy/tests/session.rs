//! Two peers over a simulated network that cuts, delays and leaves half-open connections; and peers that
//! restart. What is delivered is what was sent, once and in order, until a `Down`; then both start anew.

use dvs_abi::NodeId;
use dvs_proxy::outbox::SendError;
use dvs_proxy::peer::Peer;
use dvs_proxy::records::{Records, write_record};
use dvs_proxy::session::{Command, DownReason, State, Timing};
use dvs_proxy::stream::{Outgoing, Payload};
use dvs_proxy::{Frame, StreamClass};
use dvs_wire::{Frames, Greeting, Identity, RefusalReason, SessionFrame};
use std::collections::VecDeque;

const MS: u64 = 1_000_000;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One end of a connection at one node.
struct End {
    /// Bytes on the way to this end, with their time of arrival.
    incoming: VecDeque<(u64, Vec<u8>)>,
    records: Records,
    /// The peer's number of the connection, when greeted.
    conn: u64,
    /// What this end said, if it dialed.
    hello: Option<Greeting>,
    open: bool,
    /// The other end closed; seen after the bytes.
    eof: bool,
}

struct Wire {
    class: StreamClass,
    ends: [End; 2],
    /// Bytes after which the connection is cut in each direction.
    budget: u64,
    /// Half open: bytes vanish, nobody is told.
    dark: bool,
    dialed: u64,
}

struct Side {
    peer: Peer,
    /// Numbers sent in this session and those delivered, by class.
    sent: [u64; 2],
    delivered: [u64; 2],
    ups: u64,
    downs: u64,
}

struct World {
    chance: Chance,
    now: u64,
    sides: [Side; 2],
    wires: Vec<Wire>,
    faults: bool,
    /// No dial succeeds, nothing arrives.
    away: bool,
    boots: u128,
}

fn timing() -> Timing {
    Timing { ping_every: 100 * MS, silence_max: 1000 * MS, dead_after: 5000 * MS, redial_max: 400 * MS }
}

fn side(node: u16, boot: u128, now: u64) -> Side {
    let peer = Peer::new(NodeId(node), boot, NodeId(1 - node), timing(), now);
    Side { peer, sent: [0; 2], delivered: [0; 2], ups: 0, downs: 0 }
}

fn end() -> End {
    End { incoming: VecDeque::new(), records: Records::new(), conn: 0, hello: None, open: true, eof: false }
}

impl World {
    fn new(seed: u64) -> Self {
        let sides = [side(0, 100, 0), side(1, 200, 0)];
        let chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        World { chance, now: 0, sides, wires: Vec::new(), faults: true, away: false, boots: 1000 }
    }

    /// Frames carry (session's boot-independent) running numbers so that order and count can be checked.
    fn send(&mut self, who: usize) {
        let class = if self.chance.one_in(3) { StreamClass::Bulk } else { StreamClass::Message };
        let bytes = vec![7; self.chance.below(900) as usize];
        let side = &mut self.sides[who];
        let n = side.sent[class as usize] + 1;
        let frame = match class {
            StreamClass::Message => Frame::Consumed { call: n },
            StreamClass::Bulk => Frame::Data { copy: n, offset: 0, last: true, bytes: &bytes },
        };
        match side.peer.push(class, &frame) {
            Ok(()) => side.sent[class as usize] = n,
            Err(SendError::WouldBlock) => {}
            Err(SendError::Dead) => assert_eq!(side.peer.state(), State::Dead),
            Err(e) => panic!("{e}"),
        }
    }

    fn put(&mut self, wire: usize, to: usize, bytes: Vec<u8>) {
        let delay = self.chance.below(20) * MS / 10;
        let w = &mut self.wires[wire];
        if w.dark || self.away {
            return;
        }
        let n = (bytes.len() as u64).min(w.budget);
        w.budget -= n;
        let at = (self.now + delay).max(w.ends[to].incoming.back().map_or(0, |b| b.0));
        w.ends[to].incoming.push_back((at, bytes[..n as usize].to_vec()));
        if w.budget == 0 {
            w.ends[0].eof = true;
            w.ends[1].eof = true;
        }
    }

    fn session_frame(&mut self, wire: usize, to: usize, frame: SessionFrame) {
        let mut bytes = Vec::new();
        write_record(&Outgoing { ack: 0, payload: Payload::Session(frame) }, &mut bytes);
        self.put(wire, to, bytes);
    }

    fn commands(&mut self, who: usize) {
        for c in self.sides[who].peer.commands() {
            match c {
                Command::Dial(class) => self.dial(who, class),
                Command::Close(class) => {
                    for i in 0..self.wires.len() {
                        if self.wires[i].class == class && self.wires[i].ends[who].conn != 0 {
                            self.close(i, who);
                        }
                    }
                }
                Command::Up => self.sides[who].ups += 1,
                Command::Down(_) => {
                    let side = &mut self.sides[who];
                    side.downs += 1;
                    (side.sent, side.delivered) = ([0; 2], [0; 2]);
                }
            }
        }
    }

    fn dial(&mut self, who: usize, class: StreamClass) {
        if self.away || self.faults && self.chance.one_in(4) {
            let now = self.now;
            self.sides[who].peer.dial_failed(class, now);
            return;
        }
        let budget = if self.faults { self.chance.below(30_000) + 1 } else { u64::MAX };
        let dark = self.faults && self.chance.one_in(10);
        let mut wire = Wire { class, ends: [end(), end()], budget, dark, dialed: self.now };
        let hello = self.sides[who].peer.hello(class);
        wire.ends[who].hello = Some(hello);
        self.wires.push(wire);
        self.session_frame(self.wires.len() - 1, 1 - who, SessionFrame::Hello(hello));
    }

    /// This end closes; the other sees it later.
    fn close(&mut self, wire: usize, who: usize) {
        let w = &mut self.wires[wire];
        w.ends[who].open = false;
        w.ends[1 - who].eof = true;
    }

    fn flush(&mut self, who: usize) {
        for class in StreamClass::ALL {
            while self.sides[who].peer.stream(class).wants_write() {
                let conn = self.sides[who].peer.stream(class).conn();
                let record = self.sides[who].peer.next_record(class, self.now).unwrap();
                let mut bytes = Vec::new();
                write_record(&record, &mut bytes);
                let found = self.wires.iter().position(|w| w.class == class && w.ends[who].conn == conn);
                self.put(found.expect("a current connection is known"), 1 - who, bytes);
            }
        }
    }

    fn receive(&mut self, wire: usize, who: usize) {
        let class = self.wires[wire].class;
        let mut alive = true;
        while alive && self.wires[wire].ends[who].incoming.front().is_some_and(|b| b.0 <= self.now) {
            let end = &mut self.wires[wire].ends[who];
            let (_, bytes) = end.incoming.pop_front().unwrap();
            if !end.open {
                continue;
            }
            let mut rest = &bytes[..];
            while alive && !rest.is_empty() {
                rest = &rest[self.wires[wire].ends[who].records.feed(rest)..];
                alive = self.records(wire, who);
            }
        }
        let end = &self.wires[wire].ends[who];
        if end.open && (!alive || end.eof && end.incoming.is_empty()) {
            let (conn, dialed) = (end.conn, end.hello.is_some());
            self.close(wire, who);
            if conn != 0 {
                self.sides[who].peer.lost(class, conn, self.now);
            } else if dialed && alive {
                self.sides[who].peer.dial_failed(class, self.now);
            }
        }
    }

    /// Handles the whole records that are there; false closes the connection.
    fn records(&mut self, wire: usize, who: usize) -> bool {
        let class = self.wires[wire].class;
        loop {
            let end = &mut self.wires[wire].ends[who];
            let (conn, hello) = (end.conn, end.hello);
            let Some((head, payload)) = end.records.next_record().expect("the simulation damages nothing")
            else {
                return true;
            };
            let payload = payload.to_vec();
            if conn == 0 {
                if !self.greet(wire, who, hello, &SessionFrame::decode(&payload).unwrap()) {
                    return false;
                }
                continue;
            }
            let now = self.now;
            let side = &mut self.sides[who];
            let Ok((received, _)) = side.peer.begin(class, conn, &head, now) else { return false };
            let mut last = received;
            if head.session {
                side.peer.session_frame(class, &SessionFrame::decode(&payload).unwrap(), now).unwrap();
            } else {
                for (n, frame) in (head.first..).zip(Frames::new(&payload)) {
                    let id = match frame.unwrap() {
                        Frame::Consumed { call } => call,
                        Frame::Data { copy, .. } => copy,
                        f => panic!("{f:?}"),
                    };
                    if n <= received {
                        continue;
                    }
                    last = n;
                    side.delivered[class as usize] += 1;
                    assert_eq!(id, side.delivered[class as usize], "order or count broken");
                }
            }
            side.peer.end(class, conn, last, payload.len(), now).unwrap();
        }
    }

    fn greet(&mut self, wire: usize, who: usize, hello: Option<Greeting>, frame: &SessionFrame) -> bool {
        let (now, peer) = (self.now, &mut self.sides[who].peer);
        let conn = match (frame, hello) {
            (SessionFrame::Hello(g), None) => match peer.on_hello(g, now) {
                Ok((welcome, conn)) => {
                    self.commands(who);
                    self.session_frame(wire, 1 - who, SessionFrame::Welcome(welcome));
                    Some(conn)
                }
                Err(refusal) => {
                    self.session_frame(wire, 1 - who, SessionFrame::Refuse(refusal));
                    None
                }
            },
            (SessionFrame::Welcome(g), Some(_)) => peer.on_welcome(g, now),
            (SessionFrame::Refuse(r), Some(hello)) => {
                peer.on_refuse(&hello, r, now);
                None
            }
            other => panic!("{other:?}"),
        };
        self.commands(who);
        let Some(conn) = conn else { return false };
        // a newer connection replaces an older one of the class
        for i in 0..self.wires.len() {
            if i != wire && self.wires[i].class == self.wires[wire].class && self.wires[i].ends[who].conn != 0
            {
                self.close(i, who);
            }
        }
        self.wires[wire].ends[who].conn = conn;
        true
    }

    fn restart(&mut self, who: usize) {
        self.boots += 1;
        self.sides[who] = side(who as u16, self.boots, self.now);
        for i in 0..self.wires.len() {
            self.close(i, who);
        }
    }

    /// The driver gives a greeting so long.
    fn time_out_greetings(&mut self, who: usize) {
        for i in 0..self.wires.len() {
            let w = &self.wires[i];
            let end = &w.ends[who];
            if end.open && end.conn == 0 && self.now - w.dialed > 1000 * MS {
                let (class, dialed) = (w.class, end.hello.is_some());
                self.close(i, who);
                if dialed {
                    self.sides[who].peer.dial_failed(class, self.now);
                }
            }
        }
    }

    fn step(&mut self, sending: bool) {
        self.now += MS / 2;
        for who in 0..2 {
            if sending && self.chance.one_in(3) {
                (0..=self.chance.below(4)).for_each(|_| self.send(who));
            }
            for i in 0..self.wires.len() {
                self.receive(i, who);
            }
            self.time_out_greetings(who);
            self.commands(who);
            self.sides[who].peer.tick(self.now);
            self.commands(who);
            self.flush(who);
        }
        self.wires.retain(|w| w.ends.iter().any(|e| e.open));
        assert!(self.wires.len() < 200, "connections pile up");
    }

    /// A phase that must heal: everything outstanding arrives.
    fn heal(&mut self) {
        self.faults = false;
        for w in &mut self.wires {
            w.budget = w.budget.min(1000);
        }
        for _ in 0..40_000 {
            self.step(false);
            let [a, b] = &self.sides;
            if a.peer.state() == State::Up
                && b.peer.state() == State::Up
                && a.sent == b.delivered
                && b.sent == a.delivered
                && a.peer.stream(StreamClass::Message).out.outstanding() == 0
            {
                return;
            }
        }
        let [a, b] = &self.sides;
        panic!("not healed: {:?} {:?} vs {:?} {:?}", a.sent, a.delivered, b.sent, b.delivered);
    }
}

#[test]
fn cuts_delays_and_half_open_connections_lose_and_double_nothing() {
    let mut frames = 0;
    for seed in 1..=60 {
        let mut w = World::new(seed);
        for _ in 0..6_000 {
            w.step(true);
        }
        w.heal();
        if w.sides[0].downs + w.sides[1].downs == 0 {
            frames += w.sides[0].sent[0] + w.sides[1].sent[0];
        }
    }
    assert!(frames > 10_000, "{frames}: too few seeds ran without a death");
}

#[test]
fn a_restarting_peer_is_reported_once_and_a_new_session_begins() {
    for seed in 1..=40 {
        let mut w = World::new(seed);
        for round in 0..6 {
            for _ in 0..w.chance.below(3_000) + 200 {
                w.step(true);
            }
            w.heal();
            let who = (seed + round) as usize % 2;
            let (ups, downs) = (w.sides[1 - who].ups, w.sides[1 - who].downs);
            assert_eq!(ups, downs + 1);
            w.restart(who);
            w.heal();
            assert_eq!((w.sides[1 - who].ups, w.sides[1 - who].downs), (ups + 1, downs + 1), "seed {seed}");
            assert_eq!(w.sides[who].ups, 1);
            w.faults = true;
        }
    }
}

#[test]
fn peers_that_restart_at_any_moment_find_each_other_again() {
    for seed in 1..=200 {
        let mut w = World::new(seed);
        for _ in 0..20 {
            // often in the middle of a greeting
            (0..w.chance.below(60)).for_each(|_| w.step(true));
            if w.chance.one_in(4) {
                (0..w.chance.below(1_000)).for_each(|_| w.step(true));
            }
            let who = w.chance.below(2) as usize;
            w.restart(who);
        }
        w.heal();
    }
}

#[test]
fn nothing_begins_with_a_peer_that_was_forgotten_while_it_greeted() {
    let mut low = Peer::new(NodeId(0), 100, NodeId(1), timing(), 0);
    let mut high = Peer::new(NodeId(1), 200, NodeId(0), timing(), 0);
    low.tick(0);
    low.commands();
    let class = StreamClass::Message;
    let hello = low.hello(class);
    high.forget(1);
    assert!(high.commands().contains(&Command::Down(DownReason::Forgotten)));
    let refusal = high.on_hello(&hello, 2).unwrap_err();
    assert_eq!(
        (refusal.reason, &refusal.text[..]),
        (RefusalReason::Unknown, "n0 is not in this node's list")
    );
    assert!(high.commands().is_empty() && high.state() == State::Dead);
    assert_eq!(high.push(class, &Frame::Cancel { call: 1 }), Err(SendError::Dead));
    let (welcome, _) = Peer::new(NodeId(1), 200, NodeId(0), timing(), 0).on_hello(&hello, 2).unwrap();
    low.forget(3);
    low.commands();
    assert!(low.on_welcome(&welcome, 4).is_none());
    low.tick(10_000 * MS);
    low.forget(10_001 * MS);
    assert!(low.commands().is_empty() && low.state() == State::Dead);
}

/// Two dials are under way; the node restarts between its two answers.
#[test]
fn an_answer_by_another_than_answered_the_other_dial_does_not_end_the_dialing() {
    for first in StreamClass::ALL {
        let second = StreamClass::ALL[1 - first as usize];
        let mut a = Peer::new(NodeId(0), 100, NodeId(1), timing(), 0);
        let mut before = Peer::new(NodeId(1), 200, NodeId(0), timing(), 0);
        let mut after = Peer::new(NodeId(1), 201, NodeId(0), timing(), 0);
        a.tick(0);
        assert_eq!(a.commands().len(), 2, "two dials");
        let hellos = [a.hello(first), a.hello(second)];
        let (welcome, _) = before.on_hello(&hellos[0], 1).unwrap();
        assert!(a.on_welcome(&welcome, 2).is_some() && a.commands() == [Command::Up]);
        let (welcome, _) = after.on_hello(&hellos[1], 3).unwrap();
        assert!(a.on_welcome(&welcome, 4).is_none());
        assert!(a.commands().contains(&Command::Down(DownReason::Restarted)));
        let mut dials = Vec::new();
        for ms in 0..1000 {
            a.tick(4 + ms * MS);
            dials.extend(a.commands());
        }
        for class in StreamClass::ALL {
            assert!(dials.contains(&Command::Dial(class)), "{class:?} is never dialed again: {dials:?}");
        }
    }
}

/// Without keys a node is known by its number alone, and an address may come to lead to another system: their
/// sessions, and with them their logs, must not mix.
#[test]
fn nodes_of_two_systems_refuse_each_other() {
    let node = |me, system| Peer::new(NodeId(me), 100, NodeId(1 - me), timing(), 0).with_system(system);
    let (mut low, mut high, mut other) = (node(0, 5), node(1, 5), node(1, 6));
    low.tick(1);
    for class in StreamClass::ALL {
        let (welcome, _) = high.on_hello(&low.hello(class), 2).unwrap();
        assert!(low.on_welcome(&welcome, 2).is_some());
    }
    low.commands();
    high.commands();
    // A node of the other system with the number of `low` does not end the session that stands.
    let refused = high.on_hello(&node(0, 6).hello(StreamClass::Message), 3).unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Unknown);
    assert!(refused.text.contains("another system"), "{}", refused.text);
    assert!(high.commands().is_empty() && high.state() == State::Up);
    // Nor does one that answers in the place of `high`.
    let hello = low.hello(StreamClass::Message);
    let (welcome, _) = other.on_hello(&Greeting { system: 6, to: Identity::NOBODY, ..hello }, 4).unwrap();
    assert_eq!(low.on_welcome(&welcome, 4), None);
    assert!(!low.commands().iter().any(|c| matches!(c, Command::Down(_))));
    assert_ne!(low.state(), State::Dead);
}

#[test]
fn a_session_that_either_side_gives_up_is_over_for_both_and_the_next_begins_at_once() {
    for seed in 1..=40 {
        let mut w = World::new(seed);
        for round in 0..6 {
            w.faults = true;
            for _ in 0..w.chance.below(2_000) + 200 {
                w.step(true);
            }
            w.heal();
            let before = w.sides.each_ref().map(|s| (s.ups, s.downs));
            let (who, cut_off) = ((seed + round) as usize % 2, round % 3 != 0);
            w.away = cut_off;
            let (away, back) = (w.chance.below(4_000), w.chance.below(4_000));
            (0..if cut_off { away } else { 0 }).for_each(|_| w.step(true));
            w.sides[who].peer.give_up(DownReason::Flooded, w.now);
            w.commands(who);
            (0..if cut_off { back } else { 0 }).for_each(|_| w.step(true));
            w.away = false;
            let start = w.now;
            while w.sides.iter().zip(before).any(|(s, b)| s.peer.state() != State::Up || s.ups == b.0) {
                w.step(true);
                assert!(w.now - start < 4_000 * MS, "seed {seed}, round {round}");
            }
            assert!(cut_off || w.now - start < 300 * MS, "{} ms", (w.now - start) / MS);
            w.heal();
            for (side, (ups, downs)) in w.sides.iter().zip(before) {
                assert_eq!((side.ups, side.downs), (ups + 1, downs + 1), "seed {seed}, round {round}");
            }
        }
    }
}

#[test]
fn a_node_that_stays_away_is_dead_and_comes_back() {
    let mut w = World::new(7);
    w.faults = false;
    (0..400).for_each(|_| w.step(true));
    w.heal();
    w.away = true;
    let (start, mut broken) = (w.now, 0);
    while w.sides[0].peer.state() != State::Dead {
        w.step(true);
        if w.sides[0].peer.state() == State::Broken && broken == 0 {
            broken = w.now;
        }
        assert!(w.now < start + 60_000 * MS, "never declared dead");
    }
    assert!(broken - start >= 900 * MS && w.now - broken >= 4_900 * MS);
    assert_eq!(w.sides[0].peer.push(StreamClass::Message, &Frame::Cancel { call: 1 }), Err(SendError::Dead));
    assert_eq!(w.sides[0].downs, 1);
    while w.sides[1].peer.state() != State::Dead {
        w.step(true);
        assert!(w.now < start + 60_000 * MS, "never declared dead");
    }
    w.away = false;
    w.restart(0);
    w.heal();
    assert_eq!((w.sides[1].ups, w.sides[1].downs), (2, 1));
}

#[test]
fn a_silent_peer_does_not_count_as_dead_while_frames_are_being_delivered() {
    let mut w = World::new(3);
    w.faults = false;
    (0..200).for_each(|_| w.step(true));
    w.heal();
    let class = StreamClass::Message;
    let conn = w.sides[1].peer.stream(class).conn();
    let head = dvs_wire::RecordHead { ack: w.sides[1].sent[0], ..Default::default() };
    w.sides[1].peer.begin(class, conn, &head, w.now).unwrap();
    w.sides[1].peer.tick(w.now + 900 * MS);
    assert_eq!(w.sides[1].peer.state(), State::Up);
    let before = w.sides[1].peer.stream(class).conn();
    w.sides[1].peer.tick(w.now + 3_000 * MS);
    assert_eq!(w.sides[1].peer.stream(class).conn(), before, "busy, so not broken");
}
