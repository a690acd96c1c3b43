//! What the reference system tested by hand, P1 to P6 and the transparency of a move, and what it could not:
//! node 0 has the primary, node 1 another instance, node 2 only clients (facts §3.5).

mod world;

use dvs_abi::NodeId;
use dvs_control::command::Command;
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::state::ServiceName;
use dvs_radar::gate::Callers;
use dvs_radar::{Action, Serving, Why};
use world::{DC, World};

const SLOT: i32 = 5;
/// More than a lease, in steps.
const LEASE: usize = 40;

/// Three nodes; a service that may be on nodes 0 and 1, and serves on node 0.
fn system(kind: Kind, rule: PartitionRule) -> (World, ServiceName) {
    let mut w = World::new(3, 0);
    w.run(3);
    let name = w.declare(SLOT, kind, 0b11, rule);
    w.run(6);
    assert_eq!(w.place(name), Some(Place::At(NodeId(0))));
    assert_eq!(w.hosts[0].serving(name, w.real), Serving::Full);
    for h in &w.hosts {
        assert_eq!(h.gate(name).callers, Callers::Go, "{}", h.node);
    }
    (w, name)
}

fn answered(w: &World, n: usize, name: ServiceName) -> u64 {
    let seen = w.hosts[n].seen[&name];
    assert_eq!((seen.unknown, seen.ended), (0, 0), "a client was told an error");
    seen.answered
}

/// The actions on a node since the last time.
fn since(w: &mut World, n: usize) -> Vec<Action> {
    std::mem::take(&mut w.hosts[n].trace).iter().map(|c| c.action).collect()
}

/// Client calls go on from here.
fn goes_on(w: &mut World, n: usize, name: ServiceName) {
    let before = answered(w, n, name);
    w.run(10);
    assert!(answered(w, n, name) > before, "calls go on");
}

#[test]
fn p1_a_link_that_breaks_and_heals_holds_callers_and_lets_them_go() {
    for kind in [Kind::Single, Kind::Passive, Kind::Active] {
        let (mut w, name) = system(kind, PartitionRule::Stop);
        since(&mut w, 2);
        let to = usize::from(w.hosts[2].gate(name).node.unwrap().0);
        w.cut.insert((2, to));
        w.run(3);
        assert_eq!(since(&mut w, 2), [Action::Freeze(Why::Unreachable)]);
        let held = answered(&w, 2, name);
        w.run(3);
        assert_eq!(answered(&w, 2, name), held);
        w.heal();
        w.run(1);
        assert_eq!(since(&mut w, 2), [Action::Thaw], "as it was");
        goes_on(&mut w, 2, name);
    }
}

#[test]
fn p2_a_primary_cut_off_stops_before_the_other_one_takes_over() {
    let (mut w, name) = system(Kind::Passive, PartitionRule::Stop);
    since(&mut w, 2);
    w.isolate(0);
    let mut stopped = false;
    for _ in 0..LEASE {
        w.run(1);
        stopped |= w.hosts[0].serving(name, w.real) == Serving::Stopped;
        assert!(stopped || w.hosts[1].serving(name, w.real) == Serving::Stopped);
    }
    assert_eq!(w.place(name), Some(Place::At(NodeId(1))));
    let node = NodeId(1);
    let (lost, steps) = (NodeId(0), since(&mut w, 2));
    let [cut, rest @ ..] = &steps[..] else { panic!("nothing was done") };
    assert_eq!(*cut, Action::Freeze(Why::Unreachable));
    assert_eq!(rest, [Action::Resend(lost), Action::Point(node), Action::Thaw]);
    goes_on(&mut w, 2, name);
    w.heal();
    w.run(LEASE);
    for n in 0..3 {
        assert_eq!(w.hosts[n].gate(name).node, Some(node), "it comes back and does no harm");
        goes_on(&mut w, n, name);
    }
}

#[test]
fn p3_a_primary_that_is_killed_is_followed_at_once() {
    let (mut w, name) = system(Kind::Passive, PartitionRule::Stop);
    since(&mut w, 2);
    w.kill(0, name);
    w.run(2);
    let steps = since(&mut w, 2);
    let to = NodeId(1);
    let all = [Action::Freeze(Why::Changed), Action::Resend(NodeId(0)), Action::Point(to), Action::Thaw];
    assert_eq!(steps, all, "nobody waits for a lease");
    assert_eq!(w.hosts[1].serving(name, w.real), Serving::Full);
    (0..3).for_each(|n| goes_on(&mut w, n, name));
}

#[test]
fn p4_p5_a_client_cut_off_waits_and_goes_on() {
    for kind in [Kind::Single, Kind::Passive, Kind::Active] {
        let (mut w, name) = system(kind, PartitionRule::Stop);
        w.isolate(2);
        w.run(LEASE);
        assert_eq!(w.hosts[2].gate(name).callers, Callers::Wait(Why::Unreachable));
        goes_on(&mut w, 1, name);
        w.heal();
        w.run(5);
        assert_eq!(w.hosts[2].gate(name).callers, Callers::Go);
        goes_on(&mut w, 2, name);
    }
}

#[test]
fn p6_clients_of_a_replicated_service_never_see_an_error() {
    for kind in [Kind::Passive, Kind::Active] {
        let (mut w, name) = system(kind, PartitionRule::Stop);
        for round in 0..6 {
            let n = round % 2;
            match round {
                0 | 1 => w.isolate(n),
                2 | 3 => w.crash(n),
                _ => w.kill(n, name),
            }
            w.run(LEASE);
            goes_on(&mut w, 2, name);
            w.heal();
            w.run(LEASE);
            goes_on(&mut w, 2, name);
        }
    }
}

#[test]
fn the_server_moves_amid_a_conversation_and_no_client_notices() {
    for kind in [Kind::Single, Kind::Passive] {
        let (mut w, name) = system(kind, PartitionRule::Stop);
        for round in 0..30 {
            let to = NodeId(1 - round % 2);
            let deadline = w.real + 1_000_000_000;
            (0..3).for_each(|n| drop(since(&mut w, n)));
            w.say(2, Command::Move { dc: DC, slot: SLOT, to, deadline }).unwrap().unwrap();
            w.run(4);
            assert_eq!(w.place(name), Some(Place::At(to)));
            let moved = [Action::Freeze(Why::Moving), Action::Point(to), Action::Thaw];
            assert_eq!(since(&mut w, 2), moved, "what was taken up moved along");
            (0..3).for_each(|n| goes_on(&mut w, n, name));
        }
    }
}

#[test]
fn a_move_that_fails_leaves_everybody_where_they_were() {
    let (mut w, name) = system(Kind::Single, PartitionRule::Stop);
    w.crash(1);
    since(&mut w, 2);
    let (to, deadline) = (NodeId(1), w.real + 10_000_000_000);
    w.say(0, Command::Move { dc: DC, slot: SLOT, to, deadline }).unwrap().unwrap();
    w.run(1);
    assert_eq!(w.hosts[0].serving(name, w.real), Serving::Stopped);
    w.run(LEASE);
    assert_eq!(since(&mut w, 2), [Action::Freeze(Why::Moving), Action::Thaw]);
    goes_on(&mut w, 2, name);
}

#[test]
fn a_single_service_that_is_lost_tells_the_truth_once() {
    let (mut w, name) = system(Kind::Single, PartitionRule::Stop);
    w.run(1);
    since(&mut w, 2);
    while !matches!(w.hosts[2].calls[&name], world::Call::Taken(..)) {
        w.step(false);
    }
    since(&mut w, 2);
    w.crash(0);
    w.run(2 * LEASE);
    assert_eq!(w.hosts[2].seen[&name].unknown, 1, "the call that was taken up");
    assert_eq!(w.place(name), Some(Place::At(NodeId(1))), "it was started elsewhere");
    let before = w.hosts[2].seen[&name].answered;
    w.run(10);
    assert!(w.hosts[2].seen[&name].answered > before && w.hosts[2].seen[&name].unknown == 1);
}

#[test]
fn without_a_quorum_the_rule_of_the_service_holds() {
    let rules = [
        (PartitionRule::Stop, Serving::Stopped),
        (PartitionRule::Reads, Serving::Reads),
        (PartitionRule::Continue, Serving::Full),
    ];
    for kind in [Kind::Single, Kind::Passive, Kind::Active] {
        for (rule, serving) in rules {
            let (mut w, name) = system(kind, rule);
            w.isolate(0);
            w.run(LEASE);
            assert_eq!(w.hosts[0].serving(name, w.real), serving, "{kind:?} {rule:?}");
            w.heal();
            w.run(LEASE);
            let before: Vec<_> = w.hosts.iter().map(|h| h.seen[&name].answered).collect();
            w.run(10);
            assert!(w.hosts.iter().zip(before).all(|(h, b)| h.seen[&name].answered > b));
        }
    }
}

#[test]
fn a_daemon_that_was_stopped_for_long_does_no_harm_when_it_goes_on() {
    let (mut w, name) = system(Kind::Passive, PartitionRule::Stop);
    w.hosts[0].paused = true;
    w.run(2 * LEASE);
    assert_eq!(w.place(name), Some(Place::At(NodeId(1))));
    assert_eq!(w.hosts[0].gate(name).serving, Serving::Full, "nobody has told it");
    assert_eq!(w.hosts[0].serving(name, w.real), Serving::Stopped, "but it looks at its clock");
    w.heal();
    w.run(LEASE);
    (0..3).for_each(|n| goes_on(&mut w, n, name));
}

#[test]
fn a_service_whose_container_begins_anew_waits_for_who_has_not_heard_of_it() {
    let (mut w, name) = system(Kind::Passive, PartitionRule::Stop);
    w.isolate(0);
    w.run(1);
    w.say(1, Command::End { dc: DC }).unwrap().unwrap();
    w.say(1, world::create(3)).unwrap().unwrap();
    let rule = PartitionRule::Stop;
    let spec = ServiceSpec { name: "s5".into(), kind: Kind::Passive, nodes: 0b10, rule };
    w.say(1, Command::Declare { dc: DC, slot: SLOT, spec }).unwrap().unwrap();
    w.run(2);
    assert_eq!(w.place(name), Some(Place::At(NodeId(1))), "by the log");
    assert_eq!(w.hosts[0].serving(name, w.real), Serving::Full, "it has not heard");
    assert_eq!(w.hosts[1].serving(name, w.real), Serving::Stopped, "so the other one waits");
    w.run(LEASE);
    assert_eq!(w.hosts[1].serving(name, w.real), Serving::Full);
}

#[test]
fn a_snapshot_disturbs_nobody_and_tells_what_was_missed() {
    for kind in [Kind::Single, Kind::Passive, Kind::Active] {
        let (mut w, name) = system(kind, PartitionRule::Stop);
        (0..3).for_each(|n| drop(since(&mut w, n)));
        (0..3).for_each(|n| w.restore(n));
        (0..3).for_each(|n| assert_eq!(since(&mut w, n), [], "{kind:?} node {n}"));
        (0..3).for_each(|n| goes_on(&mut w, n, name));
    }
    let (mut w, name) = system(Kind::Passive, PartitionRule::Stop);
    w.isolate(2);
    w.run(2);
    w.kill(0, name);
    w.run(10);
    since(&mut w, 2);
    w.cut.clear();
    w.restore(2);
    w.run(1);
    let to = NodeId(1);
    let why = Action::Freeze(Why::Unreachable);
    assert_eq!(since(&mut w, 2), [why, Action::Resend(NodeId(0)), Action::Point(to), Action::Thaw]);
    goes_on(&mut w, 2, name);
}

#[test]
fn a_service_withdrawn_ends_for_its_callers() {
    let (mut w, name) = system(Kind::Active, PartitionRule::Stop);
    since(&mut w, 0);
    w.say(1, Command::Withdraw { dc: DC, slot: SLOT }).unwrap().unwrap();
    w.run(2);
    assert_eq!(since(&mut w, 0), [Action::Stop, Action::End(dvs_abi::Code::DSTDIED)]);
    assert!(w.hosts.iter().all(|h| h.gate(name).callers == Callers::End(dvs_abi::Code::DSTDIED)));
}

#[test]
fn callers_of_an_active_service_keep_to_an_instance_until_it_goes() {
    let (mut w, name) = system(Kind::Active, PartitionRule::Stop);
    let own: Vec<_> = w.hosts.iter().take(2).map(|h| h.gate(name).node).collect();
    assert_eq!(own, [Some(NodeId(0)), Some(NodeId(1))], "each its own");
    let first = w.hosts[2].gate(name).node.unwrap();
    since(&mut w, 2);
    let other = 1 - usize::from(first.0);
    w.kill(other, name);
    w.run(20);
    assert_eq!(since(&mut w, 2), [], "others come and go");
    w.kill(usize::from(first.0), name);
    w.run(20);
    assert_eq!(w.hosts[2].gate(name).node, Some(NodeId(other as u16)));
    assert_eq!(since(&mut w, 2).len(), 4);
    goes_on(&mut w, 2, name);
}
