//! A single service that moves, over three nodes, while callers of all of them call: nothing is lost or done
//! twice, whoever is killed in whatever phase, and one instance lives afterwards.

use dvs_cluster::actor::Actor;
use dvs_cluster::moves::{Called, Raise, Stop, call, declare, look, migrate, mover, order, row, until};
use dvs_cluster::net::Net;
use dvs_cluster::node::Node;
use dvs_linux::clock;
use dvsd::client::AdminClient;
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
/// Callers are held for so long at most, ms.
const HOLD: u64 = 1500;

#[test]
fn calls_are_neither_lost_nor_done_twice_while_their_server_moves() {
    let net = Net::start(DAEMON, 3, 20_000);
    declare(&net.nodes[0]);
    let _movers: Vec<Actor> = net.nodes.iter().map(|n| mover(ACTOR, n, 3 << 20, Stop::Never)).collect();
    let stop = AtomicBool::new(false);
    let called: Vec<Called> = std::thread::scope(|s| {
        let stop = &stop;
        let callers = |n: usize| net.nodes[n % 3].attach();
        let threads: Vec<_> = (0..6).map(callers).map(|p| s.spawn(move || call(&p, stop, false))).collect();
        let raise = Raise(stop);
        let mut held = Vec::new();
        for n in 1..25 {
            // Ordered at any node.
            let asked = &net.nodes[n / 3 % 3];
            match migrate(&asked.admin_socket(), n % 3, HOLD) {
                Some((true, ns)) => held.push(ns.parse::<u64>().unwrap() / 1000),
                other => panic!("move {n}: {other:?}"),
            }
        }
        held.sort_unstable();
        println!("callers were held for {held:?} us");
        drop(raise);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let process = net.nodes[1].attach();
    for c in &called {
        assert_eq!((c.unknown, c.refused), (0, 0), "{c:?}");
        assert!(c.done > 20, "{c:?}");
        assert_eq!(look(&process, c.endpoint), c.done);
    }
    let longest = called.iter().map(|c| c.longest_ns / 1_000_000).max();
    println!("{called:?}; longest {longest:?} ms");
    assert_eq!(row(&net.nodes[2]).and_then(|r| r.at), Some(0));
}

/// Programs on nodes 0 and 2, one of them the instance; node 2 is taken for lost and begins anew.
fn the_program_of_a_lost_node_ends(serves: usize) {
    let net = Net::start(DAEMON, 3, 1000);
    declare(&net.nodes[0]);
    let first = mover(ACTOR, &net.nodes[serves], 0, Stop::Never);
    let second = mover(ACTOR, &net.nodes[2 - serves], 0, Stop::Never);
    let (mut lost, _other) = if serves == 2 { (first, second) } else { (second, first) };
    let daemon = Pid::from_raw(net.nodes[2].pid() as i32).unwrap();
    let standing = |wanted: &str| net.nodes[0].rows().iter().any(|r| r.node == 2 && r.standing == wanted);
    until("all have a vote", || {
        let rows = net.nodes[0].rows();
        rows.len() == 3 && rows.iter().all(|r| r.role == "voter" || r.role == "leader")
    });
    kill_process(daemon, Signal::STOP).unwrap();
    until("it is lost", || standing("down"));
    kill_process(daemon, Signal::CONT).unwrap();
    until("it is up again", || standing("up"));
    until("its program has ended", || lost.ended().is_some());
}

#[test]
fn who_stands_by_on_a_node_that_is_taken_for_lost_ends() {
    the_program_of_a_lost_node_ends(0);
}

/// It waited for ever for the thread that moves it to say where it is.
#[test]
fn who_serves_on_a_node_that_is_taken_for_lost_ends() {
    the_program_of_a_lost_node_ends(2);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Source,
    Target,
    SourceDaemon,
    TargetDaemon,
    Leader,
    Operator,
}

/// The service moves from node 1 to node 2; node 0 has founded the system and mostly leads.
struct Case {
    net: Net,
    movers: [Option<Actor>; 2],
}

impl Case {
    fn new(stop: Stop) -> Case {
        let net = Net::start(DAEMON, 3, 1000);
        until("all have a vote", || {
            let rows = net.nodes[0].rows();
            rows.len() == 3 && rows.iter().all(|r| r.role == "voter" || r.role == "leader")
        });
        declare(&net.nodes[0]);
        let [source, target] = match stop {
            Stop::Taken => [Stop::Never, stop],
            _ => [stop, Stop::Never],
        };
        // So little that the second round is the last one.
        let first = mover(ACTOR, &net.nodes[1], 1000, source);
        let second = mover(ACTOR, &net.nodes[2], 0, target);
        Case { net, movers: [Some(first), Some(second)] }
    }

    fn kill(&mut self, victim: Victim) {
        let mover = |m: &mut Option<Actor>| {
            m.take().map(|mut a| a.kill());
        };
        match victim {
            Victim::Source => mover(&mut self.movers[0]),
            Victim::Target => mover(&mut self.movers[1]),
            Victim::SourceDaemon => self.net.nodes[1].kill(),
            Victim::TargetDaemon => self.net.nodes[2].kill(),
            Victim::Leader => self.net.nodes[0].kill(),
            Victim::Operator => {}
        }
    }

    /// Whatever was killed is started again.
    fn heal(&mut self, victim: Victim) {
        let node = match victim {
            Victim::SourceDaemon => Some(1),
            Victim::TargetDaemon => Some(2),
            Victim::Leader => Some(0),
            _ => None,
        };
        if let Some(n) = node {
            self.net.nodes[n].revive();
            self.net.join();
            self.net.wait_dc();
        }
        let dead = |m: &mut Option<Actor>| m.as_mut().is_none_or(|a| a.ended().is_some());
        if matches!(victim, Victim::SourceDaemon | Victim::TargetDaemon) {
            let n = usize::from(victim == Victim::TargetDaemon);
            until("its program has ended", || dead(&mut self.movers[n]));
        }
        for n in 0..2 {
            if dead(&mut self.movers[n]) {
                self.movers[n] = Some(mover(ACTOR, &self.net.nodes[n + 1], 0, Stop::Never));
            }
        }
    }

    /// One instance lives, and each node sends its callers there.
    fn one_lives(&self) {
        until("it is placed", || {
            let at: Vec<_> = self.net.nodes.iter().filter_map(|n| row(n).and_then(|r| r.at)).collect();
            at.len() == 3 && at.iter().all(|n| *n == at[0])
        });
        let serving = || self.net.nodes.iter().filter(|n| row(n).is_some_and(|r| r.here == "serves")).count();
        until("one serves", || serving() == 1);
    }
}

fn run(stop: Stop, victim: Victim) {
    println!("{stop:?} {victim:?}");
    let mut case = Case::new(stop);
    let stopped = usize::from(stop == Stop::Taken);
    // What the source had is lost with it, unless the target has all.
    let lose = stop != Stop::Taken && matches!(victim, Victim::Source | Victim::SourceDaemon);
    let survivors: &[usize] = match victim {
        Victim::SourceDaemon => &[0, 2],
        Victim::TargetDaemon => &[0, 1],
        Victim::Leader => &[1, 2],
        _ => &[0, 1, 2],
    };
    let halt = AtomicBool::new(false);
    let called: Vec<Called> = std::thread::scope(|s| {
        let halt = &halt;
        let processes: Vec<_> = survivors.iter().map(|n| case.net.nodes[*n].attach()).collect();
        let threads: Vec<_> = processes.into_iter().map(|p| s.spawn(move || call(&p, halt, lose))).collect();
        // Of whom is asked: somebody who lives, unless it is the operator who does not.
        let asked: PathBuf = case.net.nodes[survivors[0]].admin_socket();
        let mut operator = AdminClient::connect(&asked).unwrap();
        let raise = Raise(halt);
        let told = s.spawn(move || {
            let mut last = None;
            // Long enough for the move to come to where the program stops.
            let patience = if victim == Victim::Operator { 3 } else { 60 };
            operator.set_deadline(Duration::from_secs(patience));
            // One who leaves has the stopped program wait for that.
            let end = operator.ask(&order(2, HOLD), |part| {
                last = Some(part);
                true
            });
            (end.is_ok(), last)
        });
        if let Some(actor) = &mut case.movers[stopped] {
            actor.expect(&format!("at {}", stop.name()));
        }
        case.kill(victim);
        let told = match victim {
            // By its own deadline; the others are told something when the program goes on.
            Victim::Operator => Ok(told.join().unwrap()),
            _ => Err(told),
        };
        if let Some(actor) = &mut case.movers[stopped] {
            actor.tell("go on");
        }
        let told = told.unwrap_or_else(|told| told.join().unwrap());
        println!("told {told:?} {:?}", row(&case.net.nodes[survivors[0]]).map(|r| (r.at, r.to)));
        case.heal(victim);
        case.one_lives();
        let before = clock::now();
        until("callers were served for a while", || clock::now() > before + 50_000_000);
        drop(raise);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    println!("{called:?}");
    let survivor = &case.net.nodes[survivors[0]];
    if !lose {
        judge(survivor, victim, &called);
    }
    let at = row(survivor).and_then(|r| r.at);
    match (stop, victim) {
        (_, Victim::Target | Victim::TargetDaemon) => assert_eq!(at, Some(1), "it stayed"),
        (Stop::First, Victim::Operator) => assert_eq!(at, Some(1), "it was given up"),
        (Stop::Taken, Victim::Source) => assert_eq!(at, Some(2), "it had all"),
        _ => {}
    }
}

/// What was done is what callers were told.
fn judge(survivor: &Node, victim: Victim, called: &[Called]) {
    let process = survivor.attach();
    for c in called {
        let counted = look(&process, c.endpoint);
        assert!((c.done..=c.done + c.unknown).contains(&counted), "{counted}: {c:?}");
        // A move alone makes no call's fate unknown, nor does the death of those who are not needed for it.
        if matches!(victim, Victim::Operator | Victim::Target | Victim::TargetDaemon) {
            assert_eq!(c.unknown, 0, "{c:?}");
        }
        assert!(c.done > 0, "{c:?}");
    }
}

macro_rules! each {
    ($($name:ident: $stop:ident, $victim:ident;)*) => {$(
        #[test]
        fn $name() {
            run(Stop::$stop, Victim::$victim);
        }
    )*};
}

each! {
    the_source_is_killed_while_state_is_copied: First, Source;
    the_target_is_killed_while_state_is_copied: First, Target;
    the_sources_daemon_is_killed_while_state_is_copied: First, SourceDaemon;
    the_targets_daemon_is_killed_while_state_is_copied: First, TargetDaemon;
    the_leader_is_killed_while_state_is_copied: First, Leader;
    the_operator_leaves_while_state_is_copied: First, Operator;
    the_source_is_killed_while_callers_are_held: Last, Source;
    the_target_is_killed_while_callers_are_held: Last, Target;
    the_sources_daemon_is_killed_while_callers_are_held: Last, SourceDaemon;
    the_targets_daemon_is_killed_while_callers_are_held: Last, TargetDaemon;
    the_leader_is_killed_while_callers_are_held: Last, Leader;
    the_operator_leaves_while_callers_are_held: Last, Operator;
    the_source_is_killed_when_the_target_has_all: Taken, Source;
    the_target_is_killed_when_it_has_all: Taken, Target;
    the_sources_daemon_is_killed_when_the_target_has_all: Taken, SourceDaemon;
    the_targets_daemon_is_killed_when_it_has_all: Taken, TargetDaemon;
    the_leader_is_killed_when_the_target_has_all: Taken, Leader;
    the_operator_leaves_when_the_target_has_all: Taken, Operator;
}
