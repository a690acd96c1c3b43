//! What the reference system tested by hand, P1 to P6 and the transparency of a move (facts §3.5), over three
//! kernels that carry out what three radars say: node 0 has the primary, node 1 another instance, node 2
//! clients only.

mod system;

use dvs_abi::NodeId;
use dvs_control::command::Command;
use dvs_control::service::{Kind, Place};
use dvs_kern::node::service::{Action, Callers};
use system::{DC, SERVICE, World};

/// More than a lease, in steps.
const LEASE: usize = 60;

fn answered(w: &World, n: usize) -> u64 {
    let seen = w.machines[n].seen;
    assert_eq!((seen.unknown, seen.failed), (0, 0), "n{n}: a client was told an error");
    seen.answered
}

/// Clients on these nodes are answered again and again.
#[track_caller]
fn goes_on(w: &mut World, nodes: &[usize]) {
    let before: Vec<u64> = nodes.iter().map(|n| answered(w, *n)).collect();
    w.run(12);
    for (n, before) in nodes.iter().zip(before) {
        assert!(answered(w, *n) > before + 1, "calls of n{n} go on");
    }
}

fn callers(w: &World, n: usize) -> Callers {
    let (_, c) = w.machines[n].node.containers().next().unwrap();
    c.service(SERVICE).unwrap().callers
}

fn system(kind: Kind) -> World {
    let mut w = World::new(kind);
    assert_eq!(w.place(), Some(Place::At(NodeId(0))));
    goes_on(&mut w, &[0, 1, 2]);
    w.machines.iter_mut().for_each(|m| m.trace.clear());
    w
}

const KINDS: [Kind; 3] = [Kind::Single, Kind::Passive, Kind::Active];

#[test]
fn p1_a_link_that_breaks_and_heals_holds_callers_and_lets_them_go() {
    for kind in KINDS {
        let mut w = system(kind);
        for to in [0, 1] {
            w.cut.insert((2, to));
        }
        w.run(4);
        assert_eq!(callers(&w, 2), Callers::Wait);
        let held = answered(&w, 2);
        w.run(4);
        assert_eq!(answered(&w, 2), held, "{kind:?}");
        w.heal();
        goes_on(&mut w, &[0, 1, 2]);
    }
}

#[test]
fn p2_a_primary_cut_off_stops_before_the_other_one_takes_over() {
    for kind in [Kind::Passive, Kind::Active] {
        let mut w = system(kind);
        w.isolate(0);
        w.run(LEASE);
        goes_on(&mut w, &[1, 2]);
        w.heal();
        w.run(LEASE);
        goes_on(&mut w, &[1, 2]);
        // Whoever was cut off was taken for lost with all its programs, its client too.
        let before = w.machines[0].seen.answered;
        w.run(12);
        assert!(w.machines[0].seen.answered > before, "its client was started anew");
    }
}

#[test]
fn p3_a_primary_that_is_killed_is_followed_at_once() {
    for kind in [Kind::Passive, Kind::Active] {
        let mut w = system(kind);
        let now = w.now;
        w.machines[0].kill(now);
        w.run(4);
        goes_on(&mut w, &[0, 1, 2]);
    }
}

#[test]
fn p4_p5_a_client_cut_off_waits_and_goes_on() {
    for kind in KINDS {
        let mut w = system(kind);
        w.isolate(2);
        w.run(8);
        let before = answered(&w, 2);
        goes_on(&mut w, &[0, 1]);
        assert_eq!(answered(&w, 2), before);
        w.heal();
        goes_on(&mut w, &[0, 1, 2]);
    }
}

#[test]
fn p6_clients_of_a_replicated_service_never_see_an_error() {
    for kind in [Kind::Passive, Kind::Active] {
        let mut w = system(kind);
        for round in 0..9 {
            let n = round % 2;
            let now = w.now;
            match round / 3 {
                0 => w.machines[n].kill(now),
                1 => w.isolate(n as u16),
                _ => w.crash(n as u16),
            }
            w.run(LEASE + round);
            goes_on(&mut w, &[1 - n, 2]);
            w.heal();
            w.run(LEASE);
            if w.machines[n].server.is_none() {
                let now = w.now;
                w.machines[n].serve(now);
            }
            w.run(LEASE);
            // Clients of a node that was lost end with it.
            w.machines[n].seen = Default::default();
            goes_on(&mut w, &[0, 1, 2]);
        }
    }
}

#[test]
fn a_single_service_that_is_lost_tells_the_truth_and_is_started_elsewhere() {
    for crash in [true, false] {
        let mut w = system(Kind::Single);
        let now = w.now;
        if crash {
            w.crash(0);
        } else {
            w.machines[0].kill(now);
        }
        w.run(LEASE);
        assert_eq!(w.place(), Some(Place::Vacant));
        assert_eq!(callers(&w, 2), Callers::Wait);
        let now = w.now;
        w.machines[1].serve(now);
        w.run(LEASE);
        for n in [1, 2] {
            let seen = w.machines[n].seen;
            assert!(seen.unknown <= 1 && seen.failed == 0, "one call at most had been taken up: {seen:?}");
        }
        let before = w.machines[2].seen.answered;
        w.run(12);
        assert!(w.machines[2].seen.answered > before + 1);
    }
}

#[test]
fn a_passive_service_moves_amid_calls_and_no_client_notices() {
    let mut w = system(Kind::Passive);
    for round in 0..20u16 {
        let to = NodeId(1 - round % 2);
        let deadline = w.now + 1_000_000_000;
        w.enter(2, Command::Move { dc: DC, slot: SERVICE, to, deadline }).unwrap();
        w.run(1 + usize::from(round % 4));
        let Some(Place::Moving { number, .. }) = w.place() else { panic!("{:?}", w.place()) };
        w.enter(to.0, Command::Arrive { dc: DC, slot: SERVICE, number }).unwrap();
        w.run(3);
        assert_eq!(w.place(), Some(Place::At(to)));
        goes_on(&mut w, &[0, 1, 2]);
    }
    let points = w.machines[2].trace.iter().filter(|a| matches!(a, Action::Point(_))).count();
    assert_eq!(points, 20);
    assert!(w.machines[2].trace.iter().all(|a| !matches!(a, Action::Fail(_))));
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Something happens to the system.
fn fault(w: &mut World, r: &mut Random, moves: bool) {
    let (n, m, now) = (r.below(3) as usize, r.below(3) as u16, w.now);
    match r.below(8) {
        0 => w.machines[n].kill(now),
        1 => w.isolate(n as u16),
        2 if n as u16 != m => drop(w.cut.insert((n as u16, m))),
        3 => w.crash(n as u16),
        4 | 5 => w.heal(),
        6 if n < 2 && w.machines[n].alive && w.machines[n].server.is_none() => w.machines[n].serve(now),
        7 if moves && w.incarnation(2).is_some() => {
            let (to, deadline) = (NodeId(m % 2), now + 300_000_000);
            let _ = w.enter(2, Command::Move { dc: DC, slot: SERVICE, to, deadline });
            w.run(1 + r.below(5) as usize);
            if let Some(Place::Moving { number, to, .. }) = w.place()
                && w.incarnation(to.0).is_some()
                && w.machines[usize::from(to.0)].server.is_some()
            {
                let _ = w.enter(to.0, Command::Arrive { dc: DC, slot: SERVICE, number });
            }
        }
        _ => {}
    }
}

/// Whatever happens, no call is done twice, nobody answers who may not (the system looks after both), and
/// after the faults clients are answered on all nodes.
#[test]
fn whatever_happens_calls_are_done_once_and_go_on_in_the_end() {
    for seed in 0..300 {
        let (mut r, kind) = (Random(seed), KINDS[seed as usize % 3]);
        let mut w = World::new(kind);
        for _ in 0..25 {
            fault(&mut w, &mut r, kind == Kind::Passive);
            w.run(r.below(40) as usize);
        }
        w.heal();
        w.run(LEASE);
        for n in 0..2 {
            let vacant = w.place() == Some(Place::Vacant);
            if w.machines[n].server.is_none() && (vacant || kind != Kind::Single) {
                let now = w.now;
                w.machines[n].serve(now);
                w.run(LEASE);
            }
        }
        w.run(2 * LEASE);
        let before: Vec<u64> = w.machines.iter().map(|m| m.seen.answered).collect();
        w.run(20);
        for (m, before) in w.machines.iter().zip(before) {
            assert!(m.seen.answered > before + 1, "seed {seed}: {kind:?} n{} {:?}", m.me, w.place());
            assert_eq!(m.seen.failed, 0, "seed {seed}: {kind:?} n{}: waiting is no error", m.me);
        }
    }
}
