//! Faults aimed at whoever leads: those that a network has by chance seldom depose a leader that is about to
//! decide something, or leave it alone with the belief that it leads.
//!
//! ```text
//!   alone:    leader ─x─ everybody                        for longer than a lease lasts
//!   judging:  leader ─x─ one node, until it takes it for lost
//!                    └─x─ everybody, at that moment: nobody else hears so, and they elect another one
//!                         healed, and the one node ─x─ everybody
//! ```

use super::Council;
use crate::control::MS;
use crate::invariant::Violation;
use crate::node::{Follower, Node};
use crate::random::Random;
use crate::world::World;
use dvs_abi::NodeId;

/// Lets things go wrong for so long, and strikes at leaders in every second seed.
///
/// # Errors
/// What was not so.
pub(crate) fn rough<D: Follower>(world: &mut World<Node<D>>, rough_ns: u64) -> Result<(), Violation> {
    let mut random = Random::new(world.seed().rotate_left(32));
    let end = world.now() + rough_ns;
    let strikes = random.odds(500);
    while strikes && world.now() + 1_000 * MS < end {
        world.run_for(random.within((500 * MS, 2_500 * MS)).min(end - world.now()))?;
        let all: Vec<NodeId> = world.nodes().collect();
        let leads =
            |n: &NodeId| world.actor(*n).and_then(Node::council).and_then(Council::leader) == Some(*n);
        let Some(leader) = all.iter().copied().find(leads) else { continue };
        let others: Vec<NodeId> = all.into_iter().filter(|n| *n != leader).collect();
        let one = others[random.below(others.len() as u64) as usize];
        if random.odds(500) {
            let for_ns = random.within((2_500 * MS, 5_000 * MS));
            others.iter().for_each(|n| apart(world, leader, *n, for_ns));
            continue;
        }
        apart(world, leader, one, 5_000 * MS);
        // A moment later it may be decided.
        let judged = |w: &World<Node<D>>| {
            w.actor(leader).and_then(Node::council).is_some_and(|council| council.judges(one))
        };
        world.run_until((world.now() + 3_500 * MS).min(end), judged)?;
        let for_ns = random.within((1_500 * MS, 2_500 * MS));
        others.iter().filter(|n| **n != one).for_each(|n| apart(world, leader, *n, for_ns));
        world.run_for(for_ns.min(end - world.now()))?;
        others.iter().for_each(|n| apart(world, one, *n, 2_000 * MS));
    }
    world.run_for(end.saturating_sub(world.now()))
}

fn apart<D: Follower>(world: &mut World<Node<D>>, a: NodeId, b: NodeId, for_ns: u64) {
    if a != b {
        world.cut(a, b, for_ns);
        world.cut(b, a, for_ns);
    }
}
