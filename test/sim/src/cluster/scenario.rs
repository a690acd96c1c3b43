//! One run of the whole cluster: a while with faults, then without; all invariants look after each event.

use super::invariants::{
    AnswersOnce, BoundOnce, CallsEnd, Heals, OnePlaceAnEpoch, OneServer, RulesAgree, ServesByLeave,
};
use super::node::Node;
use super::store::Shared;
use crate::control::{DAEMONS, MS};
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::invariants::{BindsEnd, SameDecisions, StateAgrees};
use crate::random::Random;
use crate::world::World;

/// How long things go wrong.
pub const ROUGH_NS: u64 = 12_000 * MS;
/// How long they then have to come to rest.
pub const CALM_NS: u64 = 25_000 * MS;

/// The world of a seed, with the faults that it decides.
pub fn world(seed: u64) -> World<Node> {
    world_with(seed, Faults::drawn(&mut Random::new(!seed)))
}

/// The world of a seed, with these faults.
pub fn world_with(seed: u64, faults: Faults) -> World<Node> {
    let store = Shared::default();
    let mut world = World::new(seed, DAEMONS + 1, faults, move |node| Node::new(node, store.clone()));
    world
        .expect(SameDecisions::default())
        .expect(StateAgrees)
        .expect(RulesAgree)
        .expect(BoundOnce)
        .expect(OneServer)
        .expect(OnePlaceAnEpoch::default())
        .expect(ServesByLeave)
        .expect(BindsEnd::default())
        .expect(CallsEnd::default())
        .expect(AnswersOnce::default())
        .expect(Heals);
    world
}

/// Lets it run, and heal.
///
/// # Errors
/// What was not so.
pub fn run(world: &mut World<Node>) -> Result<(), Violation> {
    world.run_for(ROUGH_NS)?;
    world.heal();
    world.run_for(MS)?;
    for node in world.nodes() {
        if let Some(Node::Daemon(daemon)) = world.actor_mut(node) {
            daemon.quiet();
        }
    }
    world.run_for(CALM_NS)?;
    world.finish()
}
