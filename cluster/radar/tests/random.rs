//! A thousand schedules of faults: the checks of the model hold at every step, and once faults stop
//! every call ends.

mod world;

use dvs_abi::{Code, NodeId};
use dvs_control::command::Command;
use dvs_control::service::{Kind, PartitionRule, ServiceSpec};
use dvs_radar::gate::Callers;
use std::collections::BTreeMap;
use world::{DC, World};

const NODES: usize = 5;

fn spec(slot: i32, kind: Kind, nodes: u32, rule: PartitionRule) -> ServiceSpec {
    ServiceSpec { name: format!("s{slot}"), kind, nodes, rule }
}

/// Five nodes, and a service of each kind on some of them.
fn system(seed: u64) -> World {
    let mut w = World::new(NODES, seed);
    while !w.hosts.iter().all(|h| h.incarnation.is_some()) {
        w.step(true);
    }
    let kinds = [Kind::Single, Kind::Passive, Kind::Active, Kind::Single, Kind::Passive];
    for (slot, kind) in (0..).zip(kinds) {
        let rule = any_rule(&mut w);
        let nodes = 1 + w.below(31) as u32;
        w.declare(slot, kind, nodes, rule);
    }
    w
}

fn any_rule(w: &mut World) -> PartitionRule {
    match w.below(4) {
        0 => PartitionRule::Reads,
        1 => PartitionRule::Continue,
        _ => PartitionRule::Stop,
    }
}

/// Something goes wrong, or somebody wants something.
fn disturb(w: &mut World) {
    let (a, b) = (w.below(NODES as u64) as usize, w.below(NODES as u64) as usize);
    let slot = w.below(5) as i32;
    match w.below(40) {
        0..=3 if a != b => drop(w.cut.insert((a, b))),
        4..=6 => drop(w.cut.remove(&(a, b))),
        7 => w.isolate(a),
        8 | 9 => w.cut.clear(),
        10 | 11 => w.crash(a),
        12..=15 if !w.hosts[a].alive => w.restart(a),
        16 => w.hosts[a].paused = w.hosts[a].alive,
        17..=19 => w.hosts[a].paused = false,
        20..=22 => w.kill(a, (DC, slot)),
        23..=26 => {
            let deadline = w.real + w.below(20) * world::STEP_NS;
            w.say(b, Command::Move { dc: DC, slot, to: NodeId(a as u16), deadline });
        }
        27 => w.restore(a),
        28 => {
            let nodes = 1 + w.below(31) as u32;
            let old = w.truth.container(DC).and_then(|c| c.services.get(&slot)).map(|s| s.spec.kind);
            let kinds = [Kind::Single, Kind::Passive, Kind::Active];
            let kind = old.unwrap_or(kinds[w.below(3) as usize]);
            let rule = any_rule(w);
            w.say(a, Command::Declare { dc: DC, slot, spec: spec(slot, kind, nodes, rule) });
        }
        29 if w.below(3) == 0 => drop(w.say(a, Command::Withdraw { dc: DC, slot })),
        30 if w.below(3) == 0 => {
            let on = w.below(3) > 0;
            w.say(a, Command::Allow { dc: DC, node: NodeId(b as u16), on });
        }
        31 if w.below(4) == 0 && w.say(a, Command::End { dc: DC }).is_some() => {
            w.say(a, world::create(NODES));
        }
        _ => {}
    }
}

fn history(seed: u64, steps: usize) -> World {
    let mut w = system(seed);
    for _ in 0..steps {
        if w.below(100) < 60 {
            disturb(&mut w);
        }
        w.step(false);
    }
    w
}

/// Faults stop: everything that can serve does, and everybody is answered.
fn settles(w: &mut World, seed: u64) {
    w.heal();
    w.run(120);
    let before: BTreeMap<_, _> = w.hosts.iter().map(|h| (h.node, h.seen.clone())).collect();
    w.run(30);
    for name in w.names() {
        let s = &w.truth.container(DC).unwrap().services[&name.1];
        for h in w.hosts.iter().filter(|h| h.service(name).is_some()) {
            let gate = h.gate(name);
            if s.instances.values().all(|i| !i.in_step) {
                assert!(matches!(gate.callers, Callers::Wait(_)), "seed {seed}: {gate:?}, {s:?}");
                continue;
            }
            assert_eq!(gate.callers, Callers::Go, "seed {seed}: {} {s:?}", h.node);
            let (seen, before) = (h.seen[&name], before[&h.node].get(&name).copied().unwrap_or_default());
            if seen.answered == before.answered {
                for h in &w.hosts {
                    let serving = h.serving(name, w.real);
                    eprintln!(
                        "{} {:?} {serving:?} {:?} {:?} {} applied {} of {}, own {:?}, lease {}",
                        h.node,
                        h.gate(name),
                        h.procs.get(&name),
                        h.calls.get(&name),
                        h.retiring.contains(&name),
                        h.radar.applied(),
                        w.truth.last(),
                        h.incarnation,
                        h.radar.holds_lease(h.now(w.real)),
                    );
                }
                eprintln!("{s:?}");
            }
            assert!(seen.answered > before.answered, "seed {seed}: {} {name:?} {:?}", h.node, h.calls[&name]);
            assert_eq!((seen.unknown, seen.ended), (before.unknown, before.ended), "seed {seed}");
        }
    }
    for h in &w.hosts {
        for (name, gate) in h.gates.iter().filter(|(n, _)| h.service(**n).is_none()) {
            let ended = matches!(gate.callers, Callers::End(Code::DSTDIED | Code::NODCNODE | Code::DCNOTRUN));
            assert!(ended, "seed {seed}: {} {name:?} {gate:?}", h.node);
        }
    }
}

fn seeds(range: std::ops::Range<u64>) {
    for seed in range {
        let result = std::panic::catch_unwind(|| settles(&mut history(seed, 150), seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn five_hundred_histories_keep_every_promise() {
    seeds(1..501);
}

#[test]
fn five_hundred_more_keep_them_too() {
    seeds(501..1001);
}

#[test]
fn equal_seeds_give_equal_commands_and_others_do_not() {
    let trace = |seed| {
        let w = history(seed, 100);
        w.hosts.into_iter().map(|h| h.trace).collect::<Vec<_>>()
    };
    for seed in 1..20 {
        let first = trace(seed);
        assert!(first.iter().any(|t| !t.is_empty()));
        assert_eq!(first, trace(seed));
        assert_ne!(first, trace(seed + 1));
    }
}
