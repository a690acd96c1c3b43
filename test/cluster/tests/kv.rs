//! The key/value service over three nodes: replicas and nodes are killed, and clients see one store.

use dvs_cluster::kv::{Replicas, Seen, answers, client, leader, wait_whole};
use dvs_cluster::net::Net;
use dvs_cluster::rng::{Rng, seed};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");

#[test]
fn every_node_sees_what_any_node_put() {
    let net = Net::start(DAEMON, 3, 20_000);
    let _replicas = Replicas::start(ACTOR, &net.nodes);
    let clients: Vec<_> = net.nodes.iter().map(|n| client(&n.attach())).collect();
    for (i, writer) in clients.iter().enumerate() {
        let (key, value) = (format!("key{i}"), vec![i as u8; 5000]);
        let version = writer.put(key.as_bytes(), &value, Some(0)).unwrap();
        for reader in &clients {
            assert_eq!(reader.get(key.as_bytes()).unwrap(), Some((version, value.clone())));
        }
    }
    let large: Vec<u8> = (0..1 << 20).map(|n| n as u8).collect();
    let version = clients[1].put(b"large", &large, None).unwrap();
    assert_eq!(clients[2].get(b"large").unwrap(), Some((version, large)));
    let (page, more) = clients[0].list(b"key", None, 100, false).unwrap();
    assert_eq!((page.len(), more), (3, false));
    assert_eq!(clients[0].info().unwrap().revision, 4);
    assert!((0..3).all(|n| leader(&net, n).is_some()));
}

/// Clients write and read while `trouble` happens; then all is checked.
fn while_clients_call(net: &mut Net, at: &[usize], trouble: impl FnOnce(&mut Net)) {
    let seen = Seen::default();
    let clients: Vec<_> = at.iter().map(|n| client(&net.nodes[*n].attach())).collect();
    let counts = seen.calls_while(clients, || trouble(net));
    seen.check();
    let (done, unknown) = counts.iter().fold((0, 0), |(d, u), c| (d + c.done, u + c.unknown));
    let refused: u64 = counts.iter().map(|c| c.refused).sum();
    println!("{} calls, {done} changes, {refused} refused, {unknown} unknown", seen.calls());
    assert!(done > 50, "{counts:?}");
    let revision = client(&net.nodes[0].attach()).info().unwrap().revision;
    assert!((done..=done + unknown).contains(&revision), "{done} + {unknown}, {revision}");
}

#[test]
fn a_killed_replica_loses_and_doubles_nothing() {
    let mut rng = Rng::new(seed());
    let mut net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    while_clients_call(&mut net, &[0, 1, 2, 0, 1, 2, 0, 1], |net| {
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(300 + rng.below(300)));
            let victim = rng.below(3) as usize;
            replicas.kill(victim);
            std::thread::sleep(Duration::from_millis(rng.below(1500)));
            replicas.revive(&net.nodes, victim);
            answers(net, victim);
        }
    });
}

#[test]
fn a_killed_node_loses_and_doubles_nothing() {
    let mut rng = Rng::new(seed());
    let mut net = Net::start(DAEMON, 3, 1000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    while_clients_call(&mut net, &[0, 1, 0, 1, 0, 1, 0, 1], |net| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300 + rng.below(300)));
            replicas.kill(2);
            net.nodes[2].kill();
            std::thread::sleep(Duration::from_millis(500 + rng.below(2000)));
            net.nodes[2].revive();
            net.join();
            net.wait_dc();
            replicas.revive(&net.nodes, 2);
            answers(net, 2);
        }
    });
}

fn signal(replicas: &Replicas, n: usize, signal: Signal) {
    let pid = replicas.actors[n].as_ref().and_then(|a| Pid::from_raw(a.pid() as i32)).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn a_leader_that_was_stopped_answers_nothing_old() {
    let mut rng = Rng::new(seed());
    let mut net = Net::start(DAEMON, 3, 20_000);
    let replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    while_clients_call(&mut net, &[0, 1, 2, 0, 1, 2, 0, 1], |net| {
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(200 + rng.below(300)));
            let victim = leader(net, 0).unwrap_or(0);
            signal(&replicas, victim, Signal::STOP);
            std::thread::sleep(Duration::from_millis(rng.below(2500)));
            signal(&replicas, victim, Signal::CONT);
            answers(net, victim);
        }
    });
}

#[test]
fn a_node_that_was_cut_off_answers_nothing_old() {
    let mut rng = Rng::new(seed());
    // No node is taken for lost: its daemon would ask its programs to end, this test among them.
    let mut net = Net::start(DAEMON, 3, 20_000);
    let _replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    while_clients_call(&mut net, &[0, 1, 2, 0, 1, 2, 0, 1], |net| {
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(200 + rng.below(300)));
            let victim = rng.below(3) as usize;
            let ways: Vec<usize> = (0..9).filter(|w| (w / 3 == victim) != (w % 3 == victim)).collect();
            ways.iter().for_each(|w| net.forwards[*w].cut());
            std::thread::sleep(Duration::from_millis(rng.below(3000)));
            ways.iter().for_each(|w| net.forwards[*w].heal());
            answers(net, victim);
        }
    });
}

#[test]
fn a_node_whose_replica_is_gone_is_served_by_another_one() {
    let net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    let clients: Vec<_> = net.nodes.iter().map(|n| client(&n.attach())).collect();
    // The second time it was bound when the others were known already.
    for victim in [0, 0, 2] {
        replicas.kill(victim);
        let version = clients[victim].put(b"still", b"here", None).unwrap();
        clients.iter().for_each(|c| assert_eq!(c.get(b"still").unwrap().map(|v| v.0), Some(version)));
        replicas.revive(&net.nodes, victim);
        wait_whole(&net, victim, 3);
    }
}

#[test]
fn replicas_that_were_all_killed_at_once_come_back_with_all_that_was_acknowledged() {
    let mut net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    while_clients_call(&mut net, &[0, 1, 2, 0, 1, 2, 0, 1], |net| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(400));
            (0..3).for_each(|n| replicas.kill(n));
            (0..3).for_each(|n| replicas.revive(&net.nodes, n));
            answers(net, 0);
        }
    });
}

#[test]
fn a_replica_that_lost_its_disk_is_taken_in_again_and_founds_nothing() {
    let net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    let kv = client(&net.nodes[2].attach());
    let mut count = 0;
    let mut put = |n: u32| {
        (0..n).for_each(|_| assert!(kv.put(b"count", b"x", None).is_ok()));
        count += u64::from(n);
        assert_eq!(kv.info().unwrap().revision, count);
    };
    put(20);
    // The first seat is the one that founded the group.
    for (victim, then) in [(0, 1), (1, 0)] {
        replicas.kill(victim);
        put(20);
        std::fs::remove_file(net.nodes[victim].scratch().join("kv.log")).unwrap();
        replicas.revive(&net.nodes, victim);
        wait_whole(&net, victim, 3);
        put(20);
        // It counts again: without another one, two of three are a majority.
        replicas.kill(then);
        put(20);
        replicas.revive(&net.nodes, then);
        wait_whole(&net, then, 3);
    }
}

#[test]
fn a_replica_that_lost_its_disk_has_no_vote_about_what_it_forgot() {
    let net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::start(ACTOR, &net.nodes);
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    // The third one never hears of it.
    signal(&replicas, 2, Signal::STOP);
    let writer = client(&net.nodes[0].attach());
    let version = writer.put(b"acknowledged", b"yes", None).unwrap();
    replicas.kill(0);
    replicas.kill(1);
    std::fs::remove_file(net.nodes[1].scratch().join("kv.log")).unwrap();
    signal(&replicas, 2, Signal::CONT);
    replicas.revive(&net.nodes, 1);
    // Two of three are there, and one does not know what it acknowledged: the truth is "nobody knows".
    let port = net.nodes[2].attach().bind(dvs_cluster::DC, dvs::Endpoint::NONE).unwrap();
    let reader = dvs_kv::Client::new(port, dvs_kv::SERVICE);
    let reader = reader.with_timeout(dvs::Timeout::After(Duration::from_secs(3)));
    let read = reader.get(b"acknowledged");
    assert!(read.is_err(), "{read:?}");
    replicas.revive(&net.nodes, 0);
    let reader = client(&net.nodes[2].attach());
    assert_eq!(reader.get(b"acknowledged").unwrap(), Some((version, b"yes".to_vec())));
    (0..3).for_each(|n| wait_whole(&net, n, 3));
}

/// A small disk in memory, for as long as it is held.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<SmallDisk> {
        let at = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "kv-test"]).arg(at.path());
        mount.status().is_ok_and(|s| s.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_replica_whose_disk_is_full_steps_back_and_the_others_go_on() {
    let Some(disk) = SmallDisk::mount(8 << 20) else {
        println!("SKIP: a small disk cannot be mounted (needs root)");
        return;
    };
    let net = Net::start(DAEMON, 3, 20_000);
    let mut replicas = Replicas::none(ACTOR, 3);
    (0..2).for_each(|n| replicas.revive(&net.nodes, n));
    replicas.revive_on(&net.nodes, 2, &disk.0.path().join("kv.log"));
    (0..3).for_each(|n| wait_whole(&net, n, 3));
    let kv = client(&net.nodes[2].attach());
    let mut actor = replicas.actors[2].take().unwrap();
    let said = std::thread::spawn(move || std::iter::from_fn(|| actor.line()).last());
    let (value, mut done) = (vec![7; 20_000], 0_u64);
    while !said.is_finished() {
        kv.put(format!("key{}", done % 100).as_bytes(), &value, None).unwrap();
        done += 1;
        assert!(done < 100_000, "the disk is never full");
    }
    let said = said.join().unwrap().unwrap();
    assert!(said.contains("the disk is full"), "{said}");
    for _ in 0..20 {
        kv.put(b"after", &value, None).unwrap();
    }
    assert_eq!(kv.info().unwrap().revision, done + 20);
}
