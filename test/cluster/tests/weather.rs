//! Five machines on a network that fails, machines that stop for a while, and a disk that is full, and what
//! clients on all of them see. As in `lab.rs`, what a client was told was done is done, and once.

use dvs_cluster::crew::Crew;
use dvs_cluster::judge::Verdict;
use dvs_cluster::lab::{Lab, Programs};
use dvs_linux::clock;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const PROGRAMS: Programs =
    Programs { daemon: env!("CARGO_BIN_EXE_cluster-daemon"), switch: env!("CARGO_BIN_EXE_cluster-switch") };
const NODES: usize = 5;
const ALL: [usize; NODES] = [0, 1, 2, 3, 4];
/// What a client may be told when its own node, or that of the server, was taken for lost.
const NODE_LOST: [&str; 9] =
    ["AGAIN", "DSTDIED", "DVSINIT", "NOTCONN", "SRCDIED", "TIMEDOUT", "DCNOTRUN", "NOTBIND", "SHUTDOWN"];
/// Half of the delay of a way there and back.
const DELAY_US: u32 = 50_000;

fn others(than: usize) -> Vec<usize> {
    ALL.into_iter().filter(|n| *n != than).collect()
}

fn only(verdict: &Verdict, allowed: &[&str]) {
    assert!(verdict.errors.keys().all(|(name, _)| allowed.contains(&name.as_str())), "{:?}", verdict.errors);
    assert!(verdict.consumed > 50, "hardly anything was served");
}

/// Goes on under this weather for so long: that time passes is what is tested.
fn weather_lasts(crew: &mut Crew, lab: &Lab, seconds: u64) {
    let end = clock::now() + seconds * 1_000_000_000;
    while clock::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        crew.look_after(lab);
    }
}

#[test]
fn a_machine_cut_off_decides_nothing_and_comes_back() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    // Both ways, then only what it says, then only what it hears; the leader, then another.
    for (out, in_, leads) in [(true, true, true), (true, false, true), (false, true, false)] {
        crew.wait_served(&lab, &ALL);
        let leader = lab.wait_leader(&ALL);
        let victim = if leads { leader } else { (leader + 1) % NODES };
        let there = others(victim);
        println!("node {victim} (leads: {leads}): says {}, hears {}", !out, !in_);
        lab.cut(victim, out, in_);
        lab.wait_standing(there[0], victim, "down");
        lab.wait_leader(&there);
        lab.wait_decision(there[1]);
        // Alone it decides nothing, and says so; its programs may not serve.
        let said = lab.nodes[victim].decide(victim as u16).expect_err("one of five is no majority");
        assert!(said.contains("no majority"), "{said}");
        assert!(!lab.nodes[victim].status().cluster.lease, "it may not serve");
        lab.heal();
        lab.wait_whole();
    }
    crew.wait_served(&lab, &ALL);
    // Two servers and five clients: their endpoints ended, and they bound others.
    assert_eq!(crew.started(), 7, "nobody's program ends because its node was cut off");
    only(&crew.calm("cut off"), &NODE_LOST);
}

#[test]
fn whoever_leads_takes_who_is_cut_off_for_lost_whatever_it_thought_before() {
    let Some(mut lab) = Lab::start(PROGRAMS, 3) else { return };
    // Cut off, a leader takes the others for lost, which nobody believes; soon it leads again.
    for _ in 0..4 {
        let victim = lab.wait_leader(&[0, 1, 2]);
        let there = (victim + 1) % 3;
        lab.cut(victim, true, true);
        lab.wait_standing(there, victim, "down");
        lab.nodes[victim].wait_status("it leads no more", |s| s.cluster.leader != Some(victim as u16));
        lab.heal();
        lab.wait_whole();
    }
}

#[test]
fn two_of_five_cut_off_wait_and_three_go_on() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    for a in [0, 1] {
        for b in [2, 3, 4] {
            lab.way(a, b, 1000, 0);
            lab.way(b, a, 1000, 0);
        }
    }
    let (few, many) = ([0, 1], [2, 3, 4]);
    few.iter().for_each(|n| lab.wait_standing(many[0], *n, "down"));
    lab.wait_leader(&many);
    lab.wait_decision(3);
    assert!(lab.nodes[1].decide(1).is_err(), "two of five are no majority");
    // Who is on the side of a server is served.
    crew.wait_answered(&lab, &many, &[1]);
    lab.heal();
    lab.wait_whole();
    crew.wait_served(&lab, &ALL);
    only(&crew.calm("two cut off"), &NODE_LOST);
}

#[test]
fn a_short_cut_costs_time_and_nothing_else() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    for n in [1, 2, 3] {
        lab.cut(n, true, true);
        std::thread::sleep(Duration::from_millis(100));
        lab.heal();
        lab.wait_whole();
        crew.wait_served(&lab, &ALL);
    }
    only(&crew.calm("cut shortly"), &NODE_LOST);
}

#[test]
fn packets_that_take_fifty_milliseconds_are_borne_without_elections() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    lab.weather(0, DELAY_US);
    // On a loaded machine one election proves nothing; were the delay a reason, each while would have one.
    let calm = (0..6).any(|_| {
        let before = lab.nodes[0].status().cluster;
        weather_lasts(&mut crew, &lab, 3);
        let after = lab.nodes[0].status().cluster;
        (before.term, before.leader) == (after.term, after.leader)
    });
    assert!(calm, "delay is no reason for an election");
    crew.wait_served(&lab, &ALL);
    lab.wait_decision(2);
    lab.heal();
    lab.wait_whole();
    only(&crew.calm("50 ms delay"), &NODE_LOST);
}

#[test]
fn a_third_of_all_packets_lost_is_borne() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    let before = lab.nodes[0].status().cluster.term;
    lab.weather(300, 0);
    weather_lasts(&mut crew, &lab, 6);
    lab.heal();
    lab.wait_whole();
    lab.wait_decision(2);
    crew.wait_served(&lab, &ALL);
    println!("30 % loss: {} elections", lab.nodes[0].status().cluster.term - before);
    only(&crew.calm("30 % loss"), &NODE_LOST);
}

#[test]
fn a_daemon_that_stood_still_for_half_a_minute_does_no_harm() {
    let Some(lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    let leader = lab.wait_leader(&ALL);
    let victim = if leader == 1 { 3 } else { 1 };
    let signal = |lab: &Lab, n: usize, signal| {
        let pid = Pid::from_raw(lab.nodes[n].pid() as i32).expect("a process");
        kill_process(pid, signal).expect("it is ours");
    };
    let before = lab.nodes[leader].rows()[victim].incarnation;
    signal(&lab, victim, Signal::STOP);
    let there = others(victim);
    lab.wait_standing(there[0], victim, "down");
    lab.wait_decision(there[0]);
    std::thread::sleep(Duration::from_secs(30));
    lab.wait_decision(there[1]);
    signal(&lab, victim, Signal::CONT);
    lab.wait_whole();
    assert!(lab.nodes[leader].rows()[victim].incarnation > before, "it is another one");
    crew.wait_served(&lab, &ALL);
    // The leader, shortly: it is succeeded, and what it had in hand harms nobody.
    let leader = lab.wait_leader(&ALL);
    signal(&lab, leader, Signal::STOP);
    let there = others(leader);
    lab.wait_standing(there[0], leader, "down");
    lab.wait_decision(there[2]);
    signal(&lab, leader, Signal::CONT);
    lab.wait_whole();
    crew.wait_served(&lab, &ALL);
    only(&crew.calm("stood still"), &NODE_LOST);
}

#[test]
fn a_full_disk_takes_one_machine_with_it_and_no_promise() {
    let Some(mut lab) = Lab::start(PROGRAMS, NODES) else { return };
    let mut crew = Crew::start(ACTOR, &lab, &[1, 3]);
    crew.wait_served(&lab, &ALL);
    for leads in [false, true] {
        let leader = lab.wait_leader(&ALL);
        let victim = if leads { leader } else { (leader + 1) % NODES };
        let filler = lab.fill(victim);
        let there = others(victim);
        // Decisions go on; sooner or later one finds no room there.
        let mut decided = 0;
        dvs_cluster::lab::until("the full machine is missed", || {
            decided += u32::from(lab.nodes[there[0]].decide(there[0] as u16).is_ok());
            lab.nodes[there[0]].rows().iter().any(|r| usize::from(r.node) == victim && r.standing == "down")
        });
        println!("missed after {decided} decisions");
        lab.wait_leader(&there);
        lab.wait_decision(there[1]);
        std::fs::remove_file(filler).expect("room again");
        if !lab.nodes[victim].runs() {
            lab.nodes[victim].reap();
            lab.nodes[victim].revive();
        }
        lab.wait_whole();
        crew.wait_served(&lab, &ALL);
    }
    only(&crew.calm("disk full"), &NODE_LOST);
}
