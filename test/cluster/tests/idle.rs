//! Ten thousand bound endpoints that wait: they cost memory, and nothing else. Speed is measured in `bench/`;
//! the bounds here are coarse and only tell a busy loop from rest.

use dvs::{Call, Endpoint, Privileges};
use dvs_cluster::actor::Actor;
use dvs_cluster::node::Node;
use dvs_cluster::{DC, measure};
use dvs_linux::clock;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const ENDPOINTS: u64 = 10_000;
/// How long everything rests.
const REST: Duration = Duration::from_secs(5);
/// Ticks of ten milliseconds: a tenth of one processor.
const TICKS: u64 = 50;
/// What a bound endpoint may cost in its process and the daemon together.
const ENDPOINT_KIB: u64 = 16;

/// Gives every endpoint the right to receive, which a user process lacks, and lets them begin.
fn begin(node: &Node, actors: &mut [Actor]) {
    actors.iter_mut().for_each(|a| a.expect("bound"));
    let operator = node.attach();
    let system = operator.system();
    for slot in 0..system.dc_info(DC).unwrap().procs {
        let Ok(info) = system.proc_info(DC, slot) else { continue };
        let endpoint = Endpoint::from_raw(info.endpoint);
        let rights = system.privileges(DC, endpoint);
        let Ok(rights) = rights else { continue };
        let more = Privileges { calls: rights.calls.with(Call::Receive), ..rights };
        system.set_privileges(DC, endpoint, more).unwrap();
    }
    actors.iter_mut().for_each(|a| a.tell("go"));
    actors.iter_mut().for_each(|a| a.expect("ready"));
}

fn rest(processes: u64) {
    let node = Node::start(DAEMON);
    node.make_dc();
    node.wait_empty();
    let daemon_before = measure::anonymous_kib(node.pid());
    let each = (ENDPOINTS / processes).to_string();
    let started = clock::now();
    let mut actors: Vec<Actor> =
        (0..processes).map(|_| Actor::start(ACTOR, "idle", &node.socket(), &["0".into()])).collect();
    begin(&node, &mut actors);
    let one_without = actors.iter().map(|a| measure::anonymous_kib(a.pid())).sum::<u64>();
    drop(actors);
    let mut actors: Vec<Actor> = (0..processes)
        .map(|_| Actor::start(ACTOR, "idle", &node.socket(), std::slice::from_ref(&each)))
        .collect();
    begin(&node, &mut actors);
    node.wait_status("endpoints", |s| u64::from(s.endpoints) == ENDPOINTS);
    let took = (clock::now() - started) / 1_000_000;
    let ticks = |pids: &[u32]| pids.iter().map(|p| measure::cpu_ticks(*p)).sum::<u64>();
    let pids: Vec<u32> = actors.iter().map(Actor::pid).chain([node.pid()]).collect();
    let before = ticks(&pids);
    std::thread::sleep(REST);
    let used = ticks(&pids) - before;
    let with = actors.iter().map(|a| measure::anonymous_kib(a.pid())).sum::<u64>();
    let shared: u64 = actors.iter().map(|a| measure::resident_kib(a.pid())).sum();
    let daemon = measure::anonymous_kib(node.pid()) - daemon_before;
    println!("{processes} processes, {ENDPOINTS} endpoints, bound in {took} ms; {used} ticks in {REST:?}");
    let bytes = |kib: u64| kib * 1024 / ENDPOINTS;
    println!(
        "  bytes an endpoint: process {}, daemon {}; resident in all {shared} KiB, daemon {} KiB",
        bytes(with.saturating_sub(one_without)),
        bytes(daemon),
        measure::resident_kib(node.pid()),
    );
    assert!(used <= TICKS, "idle endpoints used {used} ticks");
    let cost = (with.saturating_sub(one_without) + daemon) / ENDPOINTS;
    assert!(cost < ENDPOINT_KIB, "{cost} KiB an endpoint");
    assert!(measure::resident_kib(node.pid()) < 20 << 10);
    for actor in &mut actors {
        assert!(actor.finish().0.success());
    }
    node.wait_empty();
}

#[test]
fn ten_thousand_endpoints_of_one_process_rest() {
    rest(1);
}

#[test]
fn a_hundred_endpoints_of_each_of_a_hundred_processes_rest() {
    rest(100);
}
