//! User slots over three nodes: leased by the log, asked for, given back, claimed; binds that wait for one.

mod council;
mod world;

use dvs_abi::Endpoint;
use dvs_kern::control::{BindKind, Request};
use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};
use world::{Act, FIRST_USER, NODES, PROCS, SESSIONS, World, init};

fn bind(endpoint: i32) -> Request {
    let (kind, name) = (BindKind::Own, "x".into());
    Request::Bind { kind, dc: 0, endpoint, pid: 0, node: 0, name, board: 0 }
}

fn act() -> impl Strategy<Value = Act> {
    let any = || Just(bind(Endpoint::NONE.raw()));
    let by_number = (FIRST_USER..PROCS, 1..4u32).prop_map(|(s, g)| bind(Endpoint::new(g, s).raw()));
    prop_oneof![
        10 => (0..NODES, 0..SESSIONS, any()).prop_map(|(n, s, r)| Act::Ask(n, s, r)),
        1 => (0..NODES, 0..SESSIONS, by_number).prop_map(|(n, s, r)| Act::Ask(n, s, r)),
        8 => (0..NODES, 0..SESSIONS, 0..4usize).prop_map(|(n, s, which)| Act::Unbind(n, s, which)),
        1 => (0..NODES, 0..SESSIONS).prop_map(|(n, s)| Act::Die(n, s)),
        3 => (0..NODES, 0..SESSIONS).prop_map(|(n, s)| Act::Connect(n, s)),
        20 => Just(Act::Decide),
        40 => (0..NODES).prop_map(Act::Told),
        20 => (0..NODES, 0..NODES).prop_map(|(a, b)| Act::Deliver(a, b)),
    ]
}

/// Three nodes with a container, all sessions there.
fn world() -> World {
    let mut w = World::new();
    for n in 0..NODES {
        for s in 0..SESSIONS {
            w.act(Act::Connect(n, s));
        }
    }
    w.act(Act::Ask(0, 0, init(0, vec![0, 1, 2])));
    w.quiet();
    w
}

proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 2000, failure_persistence: None, ..Default::default()
    })]

    /// The world looks after the rules, at every step: see its `slots`.
    #[test]
    fn no_bind_is_refused_while_a_slot_is_free(acts in prop::collection::vec(act(), 1..300)) {
        let mut w = world();
        for a in acts {
            w.act(a);
        }
        w.quiet();
        assert!(!w.slots.harsh);
        assert!(w.slots.waiting.is_empty(), "{:?} wait for ever", w.slots.waiting);
    }
}

#[test]
fn every_slot_is_found_and_the_next_bind_is_told_that_all_are_used() {
    let mut w = world();
    for i in 0..PROCS - FIRST_USER {
        w.act(Act::Ask(i as u16 % NODES, 0, bind(Endpoint::NONE.raw())));
        w.quiet();
    }
    assert_eq!((w.slots.bound, w.slots.full), (8, 0));
    w.act(Act::Ask(1, 1, bind(Endpoint::NONE.raw())));
    w.quiet();
    assert_eq!((w.slots.bound, w.slots.full), (8, 1));
    w.act(Act::Unbind(0, 0, 0));
    w.quiet();
    w.act(Act::Ask(2, 1, bind(Endpoint::NONE.raw())));
    w.quiet();
    assert_eq!((w.slots.bound, w.slots.full), (9, 1), "the slot of another node");
}
