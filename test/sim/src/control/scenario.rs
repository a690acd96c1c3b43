//! One run: a while with faults, then without; all invariants look after each event.

use super::daemon::Daemon;
use super::{MS, Node};
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::invariants::{
    BindsEnd, DoneOnce, Heals, LostAreOver, MembersGoOn, NoneNeedlessly, OneInstance, OneOwner,
    OnePlaceAnEpoch, SameDecisions, StateAgrees, StateTravels,
};
use crate::node;
use crate::random::Random;
use crate::world::World;

/// How long things go wrong.
pub const ROUGH_NS: u64 = 20_000 * MS;

/// The world of a seed, with the faults that it decides.
pub fn world(seed: u64) -> World<Node> {
    world_with(seed, Faults::drawn(&mut Random::new(!seed)))
}

/// The world of a seed, with these faults.
pub fn world_with(seed: u64, faults: Faults) -> World<Node> {
    expect(node::world(seed, faults, Daemon::new))
}

/// The world of a seed, in which nodes decide by real consensus, with the faults that it decides.
pub fn council(seed: u64) -> World<Node> {
    council_with(seed, Faults::drawn(&mut Random::new(!seed)))
}

/// The same with these faults.
pub fn council_with(seed: u64, faults: Faults) -> World<Node> {
    expect(node::council(seed, faults, Daemon::new))
}

fn expect(mut world: World<Node>) -> World<Node> {
    world
        .expect(SameDecisions::default())
        .expect(StateAgrees)
        .expect(MembersGoOn)
        .expect(LostAreOver::default())
        .expect(OneOwner)
        .expect(OneInstance)
        .expect(StateTravels::default())
        .expect(OnePlaceAnEpoch::default())
        .expect(BindsEnd::default())
        .expect(NoneNeedlessly::default())
        .expect(DoneOnce::default())
        .expect(Heals);
    world
}

/// Lets it run, and heal.
///
/// # Errors
/// What was not so.
pub fn run(world: &mut World<Node>) -> Result<(), Violation> {
    node::run(world, ROUGH_NS)
}
