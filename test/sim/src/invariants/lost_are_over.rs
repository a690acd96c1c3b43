//! Whoever is taken for lost holds no lease any more: before that is decided, its lease is over by its own
//! clock. What it was leased can be others' at once.

use super::{OverOrder, decided};
use crate::actor::Actor;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use dvs_control::member::Member;

/// Nobody is taken for lost who holds a lease.
#[derive(Debug, Default)]
pub struct LostAreOver {
    /// Entries that were decided when it looked last.
    count: u64,
}

impl<A: Actor + OverOrder> Invariant<A> for LostAreOver {
    fn name(&self) -> &'static str {
        "who is taken for lost holds no lease"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let Some(count) = decided(view, |log| log.count).filter(|count| *count > self.count) else {
            return Ok(());
        };
        self.count = count;
        let holders: Vec<_> = view
            .actors()
            .filter(|(node, _)| view.acts(*node))
            .filter_map(|(node, a)| Some((node, a.holds(view.clock(node))?)))
            .collect();
        let over = |node: NodeId| decided(view, |log| log.state.member(node).and_then(Member::incarnation));
        match holders.into_iter().find(|(node, incarnation)| over(*node).flatten() != Some(*incarnation)) {
            Some((node, incarnation)) => Err(format!("{node} holds a lease as {incarnation}, and is lost")),
            None => Ok(()),
        }
    }

    fn end(&mut self, _: &View<'_, A>) -> Result<(), String> {
        Ok(())
    }
}
