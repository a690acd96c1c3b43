//! The list of a service's replicas changes while all serve, and whoever takes part in it may die meanwhile.

use dvs::{Endpoint, NodeId, ThreadWait};
use dvs_cluster::kv::{Replicas, client, leader, wait_whole, while_plain_callers_call};
use dvs_cluster::net::Net;
use dvs_cluster::rng::{Rng, seed};
use dvs_cluster::{DC, WATCHDOG, WATCHDOG_NS};
use dvs_kv::{Client, SERVICE};
use dvs_replica::crew::CrewError;
use dvs_replica::list::{Change, Refusal};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const LONG: Duration = Duration::from_nanos(WATCHDOG_NS);

/// Four nodes, replicas on three; room for one on the fourth.
fn start() -> (Net, Replicas) {
    let net = Net::start(DAEMON, 4, 20_000);
    let mut replicas = Replicas::on_first(ACTOR, &net.nodes, 3);
    replicas.actors.push(None);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    (net, replicas)
}

fn node(n: usize) -> NodeId {
    NodeId(n as u16)
}

/// Whoever looks after the list, at a node: at a servers' slot behind those of the replicas.
fn keeper(net: &Net, n: usize) -> Client<ThreadWait> {
    let process = net.nodes[n].attach();
    let mut free = (21..29).filter_map(|slot| process.bind(DC, Endpoint::new(0, slot)).ok());
    Client::new(free.next().expect("a servers' slot is free"), SERVICE).with_timeout(WATCHDOG)
}

#[test]
fn the_list_is_changed_from_servers_slots_only() {
    let (net, _replicas) = start();
    let kv = client(&net.nodes[0].attach());
    let before = kv.replicas().crew().unwrap().list;
    for change in [Change::Add(node(3)), Change::Remove(node(2))] {
        assert_eq!(kv.replicas().change(change, true, LONG), Err(CrewError::NotYou));
    }
    let leads = leader(&net, 0).expect("somebody leads");
    assert_eq!(kv.replicas().resign(node(leads)), Err(CrewError::NotYou));
    kv.put(b"colour", b"blue", None).unwrap();
    assert_eq!((leader(&net, 0), kv.replicas().crew().unwrap().list), (Some(leads), before));
    let keeper = keeper(&net, 1);
    keeper.replicas().resign(node(leads)).unwrap();
    keeper.replicas().change(Change::Add(node(3)), false, LONG).unwrap();
}

fn add(net: &Net, replicas: &mut Replicas, n: usize) {
    let kv = keeper(net, 0);
    kv.replicas().change(Change::Add(node(n)), false, LONG).unwrap();
    replicas.revive(&net.nodes, n);
    kv.replicas().await_added(node(n), LONG).unwrap();
}

/// Takes one out, which is told so and ends.
fn take_out(net: &Net, replicas: &mut Replicas, n: usize) {
    let kv = keeper(net, 0);
    kv.replicas().change(Change::Remove(node(n)), false, LONG).unwrap();
    kv.replicas().await_removed(node(n), LONG).unwrap();
    is_told(replicas, n);
}

fn is_told(replicas: &mut Replicas, n: usize) {
    let mut actor = replicas.actors[n].take().expect("it runs");
    let said = std::iter::from_fn(|| actor.line()).last().unwrap_or_default();
    assert!(said.contains("is not in the list of the service's nodes any more"), "node {n}: {said:?}");
}

/// Plain callers of all nodes write and read while `work` is done.
fn while_all_call(net: &mut Net, work: impl FnOnce(&mut Net)) {
    while_plain_callers_call(net, &[0, 1, 2, 3, 0, 1, 2, 3], work);
}

#[test]
fn replicas_go_round_the_nodes_and_nobody_sees_it() {
    let (mut net, mut replicas) = start();
    while_all_call(&mut net, |net| {
        let mut free = 3;
        for _ in 0..6 {
            add(net, &mut replicas, free);
            let leads = (0..4).find_map(|n| leader(net, n)).unwrap_or(0);
            take_out(net, &mut replicas, leads);
            free = leads;
        }
    });
}

#[test]
fn a_replica_that_was_taken_out_while_it_was_dead_is_told_when_it_comes_back() {
    let (net, mut replicas) = start();
    let kv = keeper(&net, 0);
    kv.put(b"colour", b"blue", None).unwrap();
    replicas.kill(2);
    // Nothing could be decided any more.
    let refused = kv.replicas().change(Change::Remove(node(1)), false, LONG);
    assert!(
        matches!(refused, Err(CrewError::Refused(Refusal::TooFew { there: 1, of: 2, .. }))),
        "{refused:?}"
    );
    kv.replicas().change(Change::Remove(node(2)), false, LONG).unwrap();
    kv.replicas().await_removed(node(2), LONG).unwrap();
    replicas.actors[2] = None;
    replicas.revive(&net.nodes, 2);
    is_told(&mut replicas, 2);
    // As a new one it is welcome: its old log is not.
    add(&net, &mut replicas, 2);
    assert_eq!(keeper(&net, 2).get(b"colour").unwrap().map(|(_, v)| v), Some(b"blue".to_vec()));
}

#[test]
fn a_change_that_is_not_carried_out_can_be_undone() {
    let (net, mut replicas) = start();
    let kv = keeper(&net, 0);
    // Nobody starts it.
    kv.replicas().change(Change::Add(node(3)), false, LONG).unwrap();
    let late = kv.replicas().await_added(node(3), Duration::from_millis(300));
    assert!(matches!(late, Err(CrewError::Late(_))), "{late:?}");
    let again = kv.replicas().change(Change::Add(node(3)), false, LONG);
    assert_eq!(again, Err(CrewError::Refused(Refusal::There(node(3)))));
    kv.replicas().change(Change::Remove(node(3)), false, LONG).unwrap();
    kv.replicas().await_removed(node(3), LONG).unwrap();
    assert_eq!(
        kv.replicas().change(Change::Remove(node(3)), false, LONG).unwrap_err().to_string(),
        "n3 has no replica"
    );
    // All of the others are started anew, on what they have kept.
    (0..3).for_each(|n| replicas.kill(n));
    (0..3).for_each(|n| replicas.revive(&net.nodes, n));
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    assert_eq!(kv.replicas().crew().unwrap().list.version(), 3);
}

#[test]
fn whoever_dies_while_the_list_changes_nothing_is_lost() {
    let mut rng = Rng::new(seed());
    let (mut net, mut replicas) = start();
    while_all_call(&mut net, |net| {
        let mut free = 3;
        for _ in 0..5 {
            let pause = |rng: &mut Rng| std::thread::sleep(Duration::from_millis(rng.below(300)));
            let kv = keeper(net, 0);
            kv.replicas().change(Change::Add(node(free)), false, LONG).unwrap();
            replicas.revive(&net.nodes, free);
            pause(&mut rng);
            // Anybody of the four.
            let victim = rng.below(4) as usize;
            replicas.kill(victim);
            pause(&mut rng);
            replicas.revive(&net.nodes, victim);
            kv.replicas().await_added(node(free), LONG).unwrap();
            let goes = (free + 1 + rng.below(3) as usize) % 4;
            (0..4).for_each(|n| drop(kv.replicas().await_added(node(n), LONG).unwrap()));
            kv.replicas().change(Change::Remove(node(goes)), false, LONG).unwrap();
            let victim = rng.below(4) as usize;
            replicas.kill(victim);
            kv.replicas().await_removed(node(goes), LONG).unwrap();
            replicas.actors[victim] = None;
            replicas.revive(&net.nodes, victim);
            is_told(&mut replicas, goes);
            free = goes;
            (0..4)
                .filter(|n| *n != free)
                .for_each(|n| drop(kv.replicas().await_added(node(n), LONG).unwrap()));
        }
    });
}
