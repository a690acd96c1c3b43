//! Five machines whose daemons are killed, that lose power, and that are all started again.
//!
//! In each test clients of all machines call servers on two of them all the time. Nothing they were told to
//! be done is lost, nothing is done twice, what ended with "not done" was not done, and nobody hangs
//! ([`dvs_cluster::judge`]); which errors they see besides is stated by the test.

use dvs_cluster::crew::Crew;
use dvs_cluster::judge::Verdict;
use dvs_cluster::lab::{Lab, Programs};

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const PROGRAMS: Programs =
    Programs { daemon: env!("CARGO_BIN_EXE_cluster-daemon"), switch: env!("CARGO_BIN_EXE_cluster-switch") };
const NODES: usize = 5;
const ALL: [usize; NODES] = [0, 1, 2, 3, 4];
/// What a client may be told when a daemon ends: its own has, that of the server has, it did not come back
/// yet.
const DAEMON_ENDS: [&str; 7] = ["AGAIN", "DSTDIED", "DVSINIT", "NOTCONN", "SRCDIED", "TIMEDOUT", "DCNOTRUN"];

fn others(than: usize) -> Vec<usize> {
    ALL.into_iter().filter(|n| *n != than).collect()
}

fn only(verdict: &Verdict, allowed: &[&str]) {
    assert!(verdict.errors.keys().all(|(name, _)| allowed.contains(&name.as_str())), "{:?}", verdict.errors);
    assert!(verdict.consumed > 100, "hardly anything was served");
}

#[test]
fn a_daemon_killed_leader_or_not_is_missed_and_comes_back() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    for leads in [true, false, true] {
        let leader = lab.wait_leader(&ALL);
        let victim = if leads { leader } else { (leader + 1) % NODES };
        lab.nodes[victim].kill();
        let there = others(victim);
        // The others go on by themselves, also with decisions.
        lab.wait_standing(there[0], victim, "down");
        lab.wait_leader(&there);
        lab.wait_decision(there[1]);
        lab.nodes[victim].revive();
        lab.wait_whole();
        crew.wait_served(&lab, &ALL);
    }
    only(&crew.calm("daemons killed"), &DAEMON_ENDS);
}

#[test]
fn a_machine_without_power_is_missed_and_comes_back() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    for victim in [1, lab.wait_leader(&ALL)] {
        // Nobody hears that it ends.
        lab.cut(victim, true, true);
        lab.nodes[victim].kill();
        crew.power_off(victim);
        let there = others(victim);
        lab.wait_standing(there[0], victim, "down");
        lab.wait_leader(&there);
        lab.wait_decision(there[2]);
        lab.heal();
        lab.nodes[victim].revive();
        lab.wait_whole();
        crew.wait_served(&lab, &ALL);
    }
    only(&crew.calm("power lost"), &DAEMON_ENDS);
}

#[test]
fn all_are_started_again_at_once_and_everything_is_there() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    let before: Vec<u64> = lab.nodes[0].rows().iter().map(|r| r.incarnation).collect();
    lab.nodes.iter_mut().for_each(|n| n.kill());
    lab.nodes.iter_mut().for_each(|n| n.spawn());
    lab.wait_whole();
    let after: Vec<u64> = lab.nodes[0].rows().iter().map(|r| r.incarnation).collect();
    assert!(before.len() == NODES && before.iter().zip(&after).all(|(b, a)| a > b), "{before:?} {after:?}");
    // The container is there, on all nodes: clients and servers find each other in it.
    crew.wait_served(&lab, &ALL);
    lab.wait_decision(4);
    only(&crew.calm("all started again"), &DAEMON_ENDS);
}

#[test]
fn one_after_the_other_is_started_again_under_load() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    for n in ALL {
        crew.wait_served(&lab, &ALL);
        lab.nodes[n].kill();
        lab.nodes[n].revive();
        lab.wait_whole();
    }
    crew.wait_served(&lab, &ALL);
    lab.wait_decision(0);
    only(&crew.calm("rolling restart"), &DAEMON_ENDS);
}
