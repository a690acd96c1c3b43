//! What clients of a replicated service see while machines fail: five machines, replicas on three of them, a
//! client on each.
//!
//! Whatever happens, all of them together see one store that does one thing at a time; every put that was
//! acknowledged is in it once; and a call ends with its answer or, after its ten seconds, with "nobody knows"
//! ([`dvs_cluster::witness`]). The tests say who is told of the trouble at all: nobody but the clients of the
//! machine that is in it.

use dvs_cluster::kv::Replicas;
use dvs_cluster::lab::{Lab, Programs};
use dvs_cluster::witness::{Statement, while_witnessed};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const PROGRAMS: Programs =
    Programs { daemon: env!("CARGO_BIN_EXE_cluster-daemon"), switch: env!("CARGO_BIN_EXE_cluster-switch") };
const NODES: usize = 5;
const ALL: [usize; NODES] = [0, 1, 2, 3, 4];
/// The machine something happens to, with a replica on it.
const VICTIM: usize = 1;
/// One that asks.
const OTHER: usize = 4;

/// Between two calls of a client.
const REST: Duration = Duration::from_millis(1);

/// Time passes under some weather: that is what is tested.
fn lasts(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// Nobody was told of anything but who was on the machine in trouble.
fn only_the_victim(said: &[Statement]) {
    let told: Vec<usize> = (0..said.len()).filter(|n| *n != VICTIM && said[*n].failed > 0).collect();
    assert!(told.is_empty(), "clients on {told:?} were told: {said:?}");
}

fn signal(lab: &Lab, n: usize, signal: Signal) {
    let pid = Pid::from_raw(lab.nodes[n].pid() as i32).expect("a process");
    kill_process(pid, signal).expect("it is ours");
}

fn leader(lab: &Lab) -> usize {
    lab.wait_leader(&ALL)
}

#[test]
fn a_daemon_killed_is_seen_on_its_machine_only() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let said = while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        lab.nodes[VICTIM].kill();
        lab.wait_standing(OTHER, VICTIM, "down");
        lab.nodes[VICTIM].revive();
        lab.wait_whole();
    });
    only_the_victim(&said);
}

#[test]
fn a_machine_without_power_is_seen_on_it_only() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let said = while_witnessed(&mut lab, ACTOR, REST, |lab, replicas: &mut Replicas| {
        lab.cut(VICTIM, true, true);
        lab.nodes[VICTIM].kill();
        replicas.kill(VICTIM);
        lab.wait_standing(OTHER, VICTIM, "down");
        lab.heal();
        lab.nodes[VICTIM].revive();
        lab.wait_whole();
    });
    only_the_victim(&said);
}

#[test]
fn a_machine_cut_off_is_seen_on_it_only() {
    for (out, in_) in [(true, true), (true, false), (false, true)] {
        let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
        println!("says {}, hears {}", !out, !in_);
        let said = while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
            lab.cut(VICTIM, out, in_);
            lab.wait_standing(OTHER, VICTIM, "down");
            lasts(2);
            lab.heal();
            lab.wait_whole();
        });
        only_the_victim(&said);
    }
}

#[test]
fn a_daemon_that_stands_still_is_seen_on_its_machine_only() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let said = while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        signal(lab, VICTIM, Signal::STOP);
        lab.wait_standing(OTHER, VICTIM, "down");
        lasts(30);
        signal(lab, VICTIM, Signal::CONT);
        lab.wait_whole();
    });
    only_the_victim(&said);
}

#[test]
fn a_full_disk_under_the_control_plane_is_seen_on_its_machine_only() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let said = while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        let filler = lab.fill(VICTIM);
        dvs_cluster::lab::until("the full machine is missed", || {
            // Sooner or later a decision finds no room there.
            let _ = lab.nodes[OTHER].decide(OTHER as u16);
            lab.nodes[OTHER].rows().iter().any(|r| usize::from(r.node) == VICTIM && r.standing == "down")
        });
        std::fs::remove_file(filler).expect("room again");
        if !lab.nodes[VICTIM].runs() {
            lab.nodes[VICTIM].reap();
            lab.nodes[VICTIM].revive();
        }
        lab.wait_whole();
    });
    only_the_victim(&said);
}

#[test]
fn the_leader_of_the_system_killed_and_stopped_is_no_concern_of_clients_elsewhere() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut victims = Vec::new();
    let said = while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        victims.push(leader(lab));
        lab.nodes[victims[0]].kill();
        lab.wait_standing((victims[0] + 1) % NODES, victims[0], "down");
        lab.nodes[victims[0]].revive();
        lab.wait_whole();
        victims.push(leader(lab));
        signal(lab, victims[1], Signal::STOP);
        lab.wait_standing((victims[1] + 1) % NODES, victims[1], "down");
        signal(lab, victims[1], Signal::CONT);
        lab.wait_whole();
    });
    let told: Vec<usize> = (0..NODES).filter(|n| !victims.contains(n) && said[*n].failed > 0).collect();
    assert!(told.is_empty(), "clients on {told:?} were told: {said:?}");
}

#[test]
fn delay_costs_time_and_nothing_else() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    // On a machine with too much to do a node may be taken for lost all the same: nothing is said of errors.
    while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        lab.weather(0, 50_000);
        lasts(6);
        lab.heal();
        lab.wait_whole();
    });
}

#[test]
fn a_third_of_all_packets_lost_loses_no_put() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    // Nodes are taken for lost and come back, any of them: their clients are told.
    while_witnessed(&mut lab, ACTOR, REST, |lab, _| {
        lab.weather(300, 0);
        lasts(6);
        lab.heal();
        lab.wait_whole();
    });
}

#[test]
fn all_started_again_at_once_lose_no_put() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    while_witnessed(&mut lab, ACTOR, REST, |lab, replicas| {
        (0..3).for_each(|n| replicas.kill(n));
        lab.nodes.iter_mut().for_each(|n| n.kill());
        lab.nodes.iter_mut().for_each(|n| n.spawn());
        lab.wait_whole();
    });
}

#[test]
fn one_after_the_other_started_again_loses_no_put() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    while_witnessed(&mut lab, ACTOR, REST, |lab, replicas| {
        for n in ALL {
            lab.nodes[n].kill();
            lab.nodes[n].revive();
            lab.wait_whole();
            replicas.look_after(&lab.nodes);
        }
    });
}
