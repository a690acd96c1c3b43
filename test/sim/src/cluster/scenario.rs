//! One run of the whole cluster: a while with faults, then without; all invariants look after each event.

use super::Node;
use super::daemon::Daemon;
use super::invariants::{
    AnswersOnce, BoundOnce, CallsEnd, Heals, OnePlaceAnEpoch, OneServer, RulesAgree, ServesByLeave,
    StateFollows,
};
use super::store::Shared;
use crate::control::MS;
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::invariants::{BindsEnd, LostAreOver, MembersGoOn, SameDecisions, StateAgrees, StateTravels};
use crate::node;
use crate::random::Random;
use crate::world::World;

/// How long things go wrong.
pub const ROUGH_NS: u64 = 12_000 * MS;

/// The faults of a seed: those of any world, and that connections break, in two of three.
pub fn faults(seed: u64) -> Faults {
    let mut random = Random::new(!seed);
    let faults = Faults::drawn(&mut random);
    let usual = Faults::all().break_every_ns;
    let break_every_ns = [0, usual * 2, usual, usual / 2, usual, 0][random.below(6) as usize];
    Faults { break_every_ns, ..faults }
}

/// The world of a seed, with the faults that it decides.
pub fn world(seed: u64) -> World<Node> {
    world_with(seed, faults(seed))
}

/// The world of a seed, with these faults.
pub fn world_with(seed: u64, faults: Faults) -> World<Node> {
    let store = Shared::default();
    expect(node::world(seed, faults, move |node| Daemon::new(node, store.clone())))
}

/// The world of a seed, in which nodes decide by real consensus, with the faults that it decides.
pub fn council(seed: u64) -> World<Node> {
    council_with(seed, faults(seed))
}

/// The same with these faults.
pub fn council_with(seed: u64, faults: Faults) -> World<Node> {
    let store = Shared::default();
    expect(node::council(seed, faults, move |node| Daemon::new(node, store.clone())))
}

fn expect(mut world: World<Node>) -> World<Node> {
    world
        .expect(SameDecisions::default())
        .expect(StateAgrees)
        .expect(MembersGoOn)
        .expect(LostAreOver::default())
        .expect(RulesAgree)
        .expect(BoundOnce)
        .expect(OneServer)
        .expect(OnePlaceAnEpoch::default())
        .expect(ServesByLeave)
        .expect(BindsEnd::default())
        .expect(CallsEnd::default())
        .expect(AnswersOnce::default())
        .expect(StateTravels::default())
        .expect(StateFollows::default())
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
