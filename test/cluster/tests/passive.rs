//! A passive service whose callers are pointed from one instance to the other on purpose, again and again,
//! while callers of all nodes call: none is lost, done twice, or of unknown effect.

use dvs::Endpoint;
use dvs_cluster::DC;
use dvs_cluster::actor::Actor;
use dvs_cluster::moves::{Called, Raise, count, look_by, row_of};
use dvs_cluster::net::Net;
use dvs_cluster::passive::{SERVICE, switch, wait_in_step};
use std::sync::atomic::AtomicBool;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const SWITCHES: usize = 20;

fn ledger(net: &Net, node: usize, other: usize) -> Actor {
    let mut actor = Actor::start(ACTOR, "ledger", &net.nodes[node].socket(), &[other.to_string()]);
    actor.expect("ready");
    actor
}

#[test]
fn calls_are_neither_lost_nor_done_twice_while_a_passive_service_is_switched() {
    let net = Net::start(DAEMON, 3, 20_000);
    let _instances = [ledger(&net, 1, 2), ledger(&net, 2, 1)];
    net.nodes.iter().for_each(|n| wait_in_step(n, SERVICE.slot(), &[1, 2]));
    let stop = AtomicBool::new(false);
    let called: Vec<(Called, u64)> = std::thread::scope(|s| {
        let stop = &stop;
        let caller = |n: usize| {
            let process = net.nodes[n % 3].attach();
            s.spawn(move || {
                let port = process.bind(DC, Endpoint::NONE).unwrap();
                let called = count(&port, SERVICE, 0, stop, false);
                (called, look_by(&port, SERVICE, called.endpoint))
            })
        };
        let threads: Vec<_> = (0..6).map(caller).collect();
        let raise = Raise(stop);
        let looker = net.nodes[0].attach().bind(DC, Endpoint::NONE).unwrap();
        for n in 0..SWITCHES {
            let to = 2 - n % 2;
            let asked = &net.nodes[n / 2 % 3];
            switch(asked, SERVICE.slot(), to).unwrap_or_else(|why| panic!("switch {n} to {to}: {why}"));
            assert_eq!(row_of(asked, SERVICE.slot()).and_then(|r| r.at), Some(to as u16));
            // Calls are done at the new place before the next one.
            let before = look_by(&looker, SERVICE, 0);
            assert_eq!(before, 0, "nobody has this endpoint");
        }
        drop(raise);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (c, counted) in &called {
        assert_eq!((c.unknown, c.refused), (0, 0), "{c:?}");
        // How many depends on the machine: a quiet one is done with all switches in a quarter of a second.
        assert!(c.done >= 5, "{c:?}");
        assert_eq!(*counted, c.done);
    }
    let longest = called.iter().map(|(c, _)| c.longest_ns / 1_000_000).max();
    println!("{called:?}; longest {longest:?} ms");
}

#[test]
fn nobody_is_pointed_to_where_no_instance_is() {
    let net = Net::start(DAEMON, 3, 20_000);
    let _instances = [ledger(&net, 1, 2), ledger(&net, 2, 1)];
    wait_in_step(&net.nodes[0], SERVICE.slot(), &[1, 2]);
    let refused = |to| switch(&net.nodes[0], SERVICE.slot(), to).unwrap_err();
    assert!(refused(0).contains("no instance on n0"), "{}", refused(0));
    let at = row_of(&net.nodes[0], SERVICE.slot()).and_then(|r| r.at).unwrap();
    assert!(refused(usize::from(at)).contains("already"));
    assert_eq!(row_of(&net.nodes[0], SERVICE.slot()).and_then(|r| r.at), Some(at));
}
