//! One run: a while with faults, then without; all invariants look after each event.

use super::invariants::{CallsEnd, Explained, Heals, MembersGoOn, OnceEach};
use super::{CLIENTS, MS, Node, REPLICAS};
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::random::Random;
use crate::world::World;

/// How long things go wrong.
pub const ROUGH_NS: u64 = 15_000 * MS;
/// How long they then have to come to rest.
pub const CALM_NS: u64 = 12_000 * MS;

/// The world of a seed, with the faults that it decides.
pub fn world(seed: u64) -> World<Node> {
    world_with(seed, Faults::drawn(&mut Random::new(!seed)))
}

/// The world of a seed, with these faults.
pub fn world_with(seed: u64, faults: Faults) -> World<Node> {
    let mut world = World::new(seed, REPLICAS + CLIENTS, faults, Node::new);
    world
        .expect(MembersGoOn)
        .expect(CallsEnd::default())
        .expect(Explained::default())
        .expect(OnceEach::default())
        .expect(Heals::default());
    world
}

/// Lets it run, and heal.
///
/// # Errors
/// What was not so.
pub fn run(world: &mut World<Node>) -> Result<(), Violation> {
    world.run_for(ROUGH_NS)?;
    world.heal();
    world.run_for(CALM_NS / 2)?;
    for node in world.nodes() {
        if let Some(actor) = world.actor_mut(node) {
            actor.quiet();
        }
    }
    world.run_for(CALM_NS)?;
    world.finish()
}
