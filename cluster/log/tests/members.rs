//! Members come and go: one, three, without the first; learners; and what cannot be.

mod world;

use dvs_abi::limits::LOG_VOTERS_MAX;
use dvs_abi::{Effect, NodeId};
use dvs_log::{LogError, Role};
use world::{LONG, World};

#[test]
fn from_one_to_three_and_on_without_the_leader() {
    let mut world = World::of(1);
    world.propose(0, "alone").unwrap();
    for n in 1..3 {
        world.start(n);
        // Any member may be asked, also the newest.
        let asked = world.at(n - 1);
        asked.admit(NodeId(n), Role::Voter, LONG).unwrap();
    }
    world.propose(1, "three").unwrap();
    let old = world.leader_seen(0, None);
    let other = (old + 1) % 3;
    world.at(other).remove(NodeId(old), LONG).unwrap();
    world.leader_seen(other, Some(old));
    world.kill(old);
    world.propose(other, "two").unwrap();
    assert_eq!(world.diary(other), ["alone", "three", "two"]);
    assert_eq!(world.at(other).status().voters().count(), 2);
}

#[test]
fn a_learner_gets_everything_and_has_no_vote() {
    let mut world = World::of(1);
    world.start(1);
    world.at(0).admit(NodeId(1), Role::Learner, LONG).unwrap();
    world.propose(1, "from the learner").unwrap();
    assert_eq!(world.diary(1), ["from the learner"]);
    assert_eq!(world.at(0).members(), [(NodeId(0), Role::Voter), (NodeId(1), Role::Learner)]);
    // Without it the group goes on.
    world.kill(1);
    world.propose(0, "without").unwrap();
    world.start(1);
    assert_eq!(world.diary(1).len(), 2);
    world.at(0).remove(NodeId(1), LONG).unwrap();
    assert_eq!(world.at(0).members(), [(NodeId(0), Role::Voter)]);
}

#[test]
fn changes_may_be_repeated_and_roles_change() {
    let world = World::of(3);
    for _ in 0..2 {
        world.at(1).admit(NodeId(2), Role::Voter, LONG).unwrap();
    }
    for _ in 0..2 {
        world.at(1).admit(NodeId(2), Role::Learner, LONG).unwrap();
    }
    assert_eq!(world.at(0).status().voters().count(), 2);
    for _ in 0..2 {
        world.at(2).remove(NodeId(2), LONG).unwrap();
    }
    assert_eq!(world.at(0).members().len(), 2);
}

#[test]
fn the_only_voter_stays_and_votes_are_bounded() {
    let mut world = World::of(LOG_VOTERS_MAX as u16);
    let last = LOG_VOTERS_MAX as u16;
    world.start(last);
    let refused = world.at(0).admit(NodeId(last), Role::Voter, LONG).unwrap_err();
    assert!(matches!(refused, LogError::Refused(_)) && refused.effect() == Effect::No, "{refused}");
    world.at(0).admit(NodeId(last), Role::Learner, LONG).unwrap();
    let alone = World::of(1);
    assert!(matches!(alone.at(0).remove(NodeId(0), LONG), Err(LogError::Refused(_))));
    assert!(matches!(alone.at(0).admit(NodeId(40), Role::Learner, LONG), Err(LogError::Refused(_))));
}

#[test]
fn who_belongs_to_no_group_says_so() {
    let mut world = World::new();
    world.start(0);
    let error = world.at(0).propose(b"x".to_vec(), world::SHORT).unwrap_err();
    assert_eq!((error.clone(), error.effect()), (LogError::NoLeader, Effect::No));
}

#[test]
fn a_leader_that_is_about_to_end_has_another_one_lead_and_nothing_is_lost() {
    for count in [3, 5] {
        let world = World::of(count);
        let mut texts = Vec::new();
        for round in 0..6 {
            let old = world.leader_seen(0, None);
            texts.push(format!("{round}"));
            world.propose((old + 1) % count, &texts[round]).unwrap();
            let begun = std::time::Instant::now();
            assert!(world.at(old).hand_over(LONG), "round {round}");
            println!("{count} members: handed over in {:?}", begun.elapsed());
            world.leader_seen((old + 1) % count, Some(old));
        }
        world.propose(0, "last").unwrap();
        texts.push("last".to_owned());
        assert_eq!(world.diary(0), texts);
    }
    let alone = World::of(1);
    assert!(!alone.at(0).hand_over(LONG), "there is nobody else");
    alone.propose(0, "it goes on").unwrap();
}

#[test]
fn a_dead_member_that_had_everything_is_not_waited_for_when_another_one_is_to_lead() {
    let mut world = World::of(5);
    world.propose(0, "everybody has this").unwrap();
    let old = world.leader_seen(0, None);
    let has = |n: u16| world.at(n).wait(|s| s.applied >= 1, LONG).is_some();
    assert!((0..5).all(has));
    // Those that would be asked first: of equals the one with the highest number.
    let dead: Vec<u16> = (0..5).rev().filter(|n| *n != old).take(2).collect();
    dead.iter().for_each(|n| world.kill(*n));
    let long = LONG / 10;
    assert!(world.at(old).hand_over(long));
}

#[test]
fn a_member_that_is_not_there_gets_no_vote() {
    let world = World::of(1);
    world.propose(0, "first").unwrap();
    let error = world.at(0).admit(NodeId(1), Role::Voter, world::SHORT).unwrap_err();
    assert_eq!(error, LogError::Unknown);
    world.propose(0, "it decides alone").unwrap();
    assert_eq!(world.at(0).members(), [(NodeId(0), Role::Voter), (NodeId(1), Role::Learner)]);
    world.at(0).remove(NodeId(1), LONG).unwrap();
}
