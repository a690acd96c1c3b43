//! An answer leaves an instance only while its node's lease holds: a daemon, or a program, that was stopped
//! for longer and goes on lets none out that another instance knows nothing of.

use dvs_cluster::actor::Actor;
use dvs_cluster::lease::Asker;
use dvs_cluster::net::Net;
use dvs_linux::clock;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const LEASE_MS: u64 = 1000;

/// What is stopped on the node that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Daemon,
    Both,
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn instance(net: &Net, node: usize, kind: &str) -> Actor {
    let mut actor = Actor::start(ACTOR, "instance", &net.nodes[node].socket(), &[kind.to_owned()]);
    actor.expect("ready");
    actor
}

/// Waits until any one of the nodes can be missed.
fn wait_votes(net: &Net) {
    let end = clock::now() + dvs_cluster::WATCHDOG_NS;
    while net.nodes[0].rows().iter().any(|r| !matches!(r.role.as_str(), "leader" | "voter")) {
        assert!(clock::now() < end, "not all nodes have a vote");
        std::thread::yield_now();
    }
}

/// Node 1 serves and is stopped until node 2 serves; then it goes on.
fn the_stopped_one_answers_nothing_old(what: What) {
    let net = Net::start(DAEMON, 3, LEASE_MS);
    wait_votes(&net);
    let first = instance(&net, 1, "passive");
    let _second = instance(&net, 2, "passive");
    let askers: Vec<Asker> = net.nodes.iter().map(|n| Asker::start(ACTOR, n)).collect();
    askers.iter().for_each(|a| assert!(a.wait_answered(1, 0) > 0));
    let pids: Vec<u32> = match what {
        What::Daemon => vec![net.nodes[1].pid()],
        What::Both => vec![net.nodes[1].pid(), first.pid()],
    };
    let stopped = clock::now();
    pids.iter().for_each(|p| signal(*p, Signal::STOP));
    let taken_over = [0, 2].map(|n: usize| askers[n].wait_answered(2, stopped)).into_iter().min().unwrap();
    std::thread::sleep(Duration::from_millis(LEASE_MS / 2));
    // The program first: its daemon has not looked at its clock yet.
    pids.iter().rev().for_each(|p| signal(*p, Signal::CONT));
    std::thread::sleep(Duration::from_millis(LEASE_MS));
    for asker in &askers {
        let late = asker.seen().into_iter().rev().find(|a| a.by == 1 && a.at > taken_over);
        let by = late.map(|a| (a.at - taken_over) / 1_000_000);
        assert_eq!(by, None, "{what:?}: node 1 answered so many ms after node 2 had begun to");
    }
}

#[test]
fn a_stopped_daemon_lets_no_answer_of_its_instances_out() {
    the_stopped_one_answers_nothing_old(What::Daemon);
}

#[test]
fn a_stopped_daemon_and_instance_let_no_answer_out() {
    the_stopped_one_answers_nothing_old(What::Both);
}

#[test]
fn a_stopped_instance_whose_node_is_there_goes_on() {
    let net = Net::start(DAEMON, 2, LEASE_MS);
    let server = instance(&net, 1, "single");
    let askers: Vec<Asker> = net.nodes.iter().map(|n| Asker::start(ACTOR, n)).collect();
    askers.iter().for_each(|a| assert!(a.wait_answered(1, 0) > 0));
    signal(server.pid(), Signal::STOP);
    std::thread::sleep(Duration::from_millis(2 * LEASE_MS));
    signal(server.pid(), Signal::CONT);
    let on = clock::now();
    askers.iter().for_each(|a| assert!(a.wait_answered(1, on) > on));
}
