//! Groups of real members in one process: they elect, go on without some, and forget nothing.

mod world;

use dvs_abi::limits::LOG_COMMAND_BYTES_MAX;
use dvs_abi::{Effect, NodeId};
use dvs_log::{LogError, Role};
use world::{LONG, SHORT, World};

#[test]
fn a_group_of_one_keeps_what_it_did() {
    let mut world = World::of(1);
    for n in 1..=10u64 {
        assert_eq!(world.propose(0, &format!("c{n}")), Ok(n));
    }
    world.kill(0);
    world.start(0);
    assert_eq!(world.diary(0).len(), 10);
    assert_eq!(world.propose(0, "more"), Ok(11));
}

#[test]
fn every_member_proposes_and_all_do_the_same() {
    let world = World::of(3);
    for n in 0..9u16 {
        assert_eq!(world.propose(n % 3, &format!("c{n}")), Ok(u64::from(n) + 1));
    }
    let first = world.diary(0);
    assert_eq!(first.len(), 9);
    assert_eq!((world.diary(1), world.diary(2)), (first.clone(), first));
    assert_eq!(world.at(2).members().len(), 3);
}

#[test]
fn the_group_goes_on_without_its_leader_and_takes_it_back() {
    let mut world = World::of(3);
    world.propose(0, "before").unwrap();
    let old = world.leader_seen(0, None);
    world.kill(old);
    let rest: Vec<u16> = (0..3).filter(|n| *n != old).collect();
    world.leader_seen(rest[0], Some(old));
    world.propose(rest[1], "without").unwrap();
    world.start(old);
    assert_eq!(world.propose(old, "back"), Ok(3));
    assert_eq!(world.diary(old), ["before", "without", "back"]);
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_its_group_goes_on() {
    let world = World::of(3);
    world.propose(0, "before").unwrap();
    let old = world.leader_seen(0, None);
    world.cut(old, true);
    let error = world.at(old).propose(b"lost".to_vec(), SHORT).unwrap_err();
    assert_ne!(error.effect(), Effect::Yes);
    let other = (old + 1) % 3;
    world.leader_seen(other, Some(old));
    world.propose(other, "meanwhile").unwrap();
    // By now it knows that nobody hears it: it says so, and does nothing.
    world.at(old).wait(|s| s.leader.is_none(), LONG).expect("it notices");
    let refused = world.at(old).propose(b"refused".to_vec(), SHORT).unwrap_err();
    assert_eq!((refused.clone(), refused.effect()), (LogError::NoQuorum, Effect::No));
    assert_eq!(world.at(old).read_barrier(SHORT).map_err(|e| e.effect()), Err(Effect::No));
    world.cut(old, false);
    world.propose(old, "healed").unwrap();
    assert_eq!(world.diary(old), ["before", "meanwhile", "healed"]);
    assert_eq!(world.diary(other), ["before", "meanwhile", "healed"]);
}

#[test]
fn without_a_majority_nothing_is_done() {
    let mut world = World::of(3);
    world.propose(0, "before").unwrap();
    world.kill(1);
    world.kill(2);
    let error = world.at(0).propose(b"alone".to_vec(), SHORT).unwrap_err();
    assert_ne!(error.effect(), Effect::Yes);
    world.start(1);
    world.propose(1, "after").unwrap();
    assert_eq!(world.diary(1).last().unwrap(), "after");
}

#[test]
fn a_member_far_behind_gets_a_snapshot_in_pieces() {
    let mut world = World::new();
    world.timing.snapshot_after = 40;
    world.timing.kept = 5;
    world.start(0);
    world.at(0).found().unwrap();
    for n in 1..3 {
        world.start(n);
        world.at(0).admit(NodeId(n), Role::Voter, LONG).unwrap();
    }
    world.kill(2);
    let long = "x".repeat(10_000);
    for n in 0..100 {
        world.propose(0, &format!("{n}{long}")).unwrap();
    }
    world.at(0).wait(|s| s.snapshot > 50, LONG).expect("a snapshot is taken");
    world.start(2);
    world.at(2).wait(|s| s.snapshot > 50, LONG).expect("it arrives");
    assert_eq!(world.diary(2).len(), 100);
    assert_eq!(world.diary(2), world.diary(0));
    // And it is on its disk.
    world.kill(2);
    world.start(2);
    assert_eq!(world.diary(2).len(), 100);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_done() {
    let world = World::of(1);
    let error = world.at(0).propose(vec![0; LOG_COMMAND_BYTES_MAX + 1], LONG).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { effect: Effect::No, .. }));
    world.at(0).propose(vec![0; LOG_COMMAND_BYTES_MAX], LONG).unwrap();
}

#[test]
fn commands_of_many_callers_share_entries() {
    let world = World::of(1);
    let before = world.at(0).status().last;
    std::thread::scope(|s| {
        for t in 0..16 {
            let group = world.find(0).unwrap();
            s.spawn(move || (0..25).for_each(|n| drop(group.propose(vec![t, n], LONG).unwrap())));
        }
    });
    assert_eq!(world.diary(0).len(), 400);
    let entries = world.at(0).status().last - before;
    assert!(entries < 300, "{entries} entries for 400 commands");
}
