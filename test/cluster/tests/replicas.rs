//! Replicas as instances of a declared service: callers that know nothing of replicas, and repeat nothing,
//! see no error when the one that had their call is lost.

use dvs::{Effect, Timeout};
use dvs_cluster::held::hold_of;
use dvs_cluster::kv::{Replicas, answers, leader, plain_client, wait_whole, while_plain_callers_call};
use dvs_cluster::moves::{row_of, until};
use dvs_cluster::net::Net;
use dvs_cluster::rng::{Rng, seed};
use dvs_kv::KvError;
use dvs_linux::clock;
use dvs_replica::CallError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");

/// Four nodes, replicas on three.
fn start(lease_ms: u64) -> (Net, Replicas) {
    let net = Net::start(DAEMON, 4, lease_ms);
    let replicas = Replicas::start(ACTOR, &net.nodes[..3]);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    (net, replicas)
}

#[test]
fn a_killed_replica_is_not_seen() {
    let mut rng = Rng::new(seed());
    let (mut net, mut replicas) = start(20_000);
    while_plain_callers_call(&mut net, &[0, 1, 2, 3, 0, 1, 2, 3], |net| {
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(200 + rng.below(300)));
            let victim = rng.below(3) as usize;
            replicas.kill(victim);
            std::thread::sleep(Duration::from_millis(rng.below(800)));
            replicas.revive(&net.nodes[..3], victim);
            wait_whole(net, victim, 3);
        }
    });
}

/// The longest call of a client of node 3, which has no replica, while `work` is done; ns.
fn longest_call(net: &Net, work: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    let process = net.nodes[3].attach();
    std::thread::scope(|s| {
        let caller = s.spawn(|| {
            let (kv, mut longest) = (plain_client(&process), 0);
            while !over.load(Ordering::Acquire) {
                let begun = clock::now();
                kv.put(b"held", b"x", None).unwrap();
                longest = longest.max(clock::now() - begun);
            }
            longest
        });
        work();
        over.store(true, Ordering::Release);
        caller.join().unwrap()
    })
}

#[test]
fn a_replica_that_leads_and_ends_in_order_is_succeeded_before_and_not_seen() {
    let (net, mut replicas) = start(20_000);
    for _ in 0..4 {
        let first = leader(&net, 0).expect("somebody leads");
        let held = longest_call(&net, || {
            let mut actor = replicas.actors[first].take().expect("it runs");
            actor.tell("end");
            while actor.ended().is_none() {
                std::thread::yield_now();
            }
            let said = std::iter::from_fn(|| actor.line()).last();
            assert_eq!(said.as_deref(), Some("over"));
        });
        println!("node {first} led; a caller was held for at most {} ms", held / 1_000_000);
        let next = (0..3).find(|n| *n != first).and_then(|n| leader(&net, n));
        assert!(next.is_some_and(|n| n != first), "{next:?}");
        replicas.revive(&net.nodes[..3], first);
        wait_whole(&net, first, 3);
    }
}

/// Node 2 is gone for a while, three times, with its replica or so that this ends by itself.
fn without_node_2(net: &mut Net, replicas: &mut Replicas, rng: &mut Rng, with_its_replica: bool) {
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300 + rng.below(300)));
        if with_its_replica {
            replicas.kill(2);
        }
        net.nodes[2].kill();
        std::thread::sleep(Duration::from_millis(500 + rng.below(2000)));
        drop(replicas.actors[2].take());
        net.nodes[2].revive();
        net.join();
        net.wait_dc();
        replicas.revive(&net.nodes[..3], 2);
        answers(net, 2);
    }
}

#[test]
fn a_killed_node_is_not_seen() {
    let (mut net, mut replicas) = start(1000);
    while_plain_callers_call(&mut net, &[0, 1, 3, 0, 1, 3, 3], |net| {
        without_node_2(net, &mut replicas, &mut Rng::new(seed()), true);
    });
}

#[test]
fn a_killed_daemon_is_not_seen_on_other_nodes() {
    let (mut net, mut replicas) = start(1000);
    while_plain_callers_call(&mut net, &[0, 1, 3, 0, 1, 3, 3], |net| {
        without_node_2(net, &mut replicas, &mut Rng::new(seed()), false);
    });
}

/// By the rule of the service; the node stays cut off, as one that hears that it was lost ends its programs,
/// this test among them.
#[test]
fn a_replica_that_is_cut_off_is_read_and_refuses_changes_if_the_rule_is_reads() {
    let net = Net::start(DAEMON, 3, 1000);
    let mut replicas = Replicas::none(ACTOR, 3);
    replicas.reads = true;
    (0..3).for_each(|n| replicas.revive(&net.nodes, n));
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    let patience = Timeout::After(Duration::from_secs(3));
    let near = plain_client(&net.nodes[2].attach()).with_timeout(patience);
    let version = near.put(b"colour", b"blue", None).unwrap();
    // So that the replica here has it, too.
    assert!(near.get(b"colour").unwrap().is_some());
    let ways = (0..9).filter(|w| (w / 3 == 2) != (w % 3 == 2));
    ways.for_each(|w| net.forwards[w].cut());
    let refused = loop {
        match near.put(b"colour", b"green", None) {
            // Its lease may hold for a moment yet.
            Ok(_) => {}
            Err(KvError::Call(e)) => break e,
            Err(e) => panic!("{e}"),
        }
    };
    // One that was under way when the lease ended, nobody knows.
    assert!(refused == CallError::ReadOnly || refused.effect() == Effect::Unknown, "{refused}");
    assert_eq!(near.put(b"colour", b"red", None), Err(KvError::Call(CallError::ReadOnly)));
    let read = near.get(b"colour").unwrap().expect("it was put");
    assert!(read.0 >= version, "{read:?}");
    // The others go on, and change what it does not hear of.
    let far = plain_client(&net.nodes[0].attach());
    let later = far.put(b"colour", b"yellow", None).unwrap();
    assert_eq!(far.get(b"colour").unwrap(), Some((later, b"yellow".to_vec())));
    assert!(near.get(b"colour").unwrap().is_some_and(|(v, _)| v < later));
}

/// Which nodes have an instance in step, by the word of node 3.
fn in_step(net: &Net) -> Vec<u16> {
    row_of(&net.nodes[3], dvs_kv::SERVICE.slot()).map(|r| r.instances).unwrap_or_default()
}

/// Held back so that it falls behind, or stands still: it says so, its node's callers are served by the
/// others meanwhile, and it comes back.
fn while_one_is_behind(how: &str) {
    let (mut net, _replicas) = start(20_000);
    let leads = (0..3).find_map(|n| leader(&net, n)).expect("somebody leads");
    let slow = (leads + 1) % 3;
    let hold = hold_of(&net.nodes[slow].scratch().join("kv.log"));
    let others: Vec<u16> = (0..3).filter(|n| usize::from(*n) != slow).collect();
    let at = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
    while_plain_callers_call(&mut net, &at, |net| {
        for _ in 0..2 {
            std::fs::write(&hold, how).unwrap();
            until("it says that it is behind", || in_step(net) == others);
            // Those of its node go on while it is still held back.
            let near = plain_client(&net.nodes[slow].attach());
            (0..50).for_each(|_| drop(near.get(b"a").unwrap()));
            assert_eq!(in_step(net), others, "it is behind all the while");
            std::fs::remove_file(&hold).unwrap();
            until("it is back", || in_step(net) == [0, 1, 2]);
        }
    });
}

#[test]
fn a_replica_that_falls_behind_says_so_and_its_callers_go_to_others() {
    while_one_is_behind("20000");
}

#[test]
fn a_replica_that_stands_still_is_left_by_its_callers() {
    while_one_is_behind("still");
}
