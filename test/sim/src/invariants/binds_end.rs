//! Every bind ends: with a slot or with the truth, and in time.

use super::OverOrder;
use crate::actor::Actor;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use std::collections::BTreeMap;

/// Every bind ends.
#[derive(Debug, Default)]
pub struct BindsEnd {
    /// Those that wait, and in which life of which node.
    open: BTreeMap<u64, (NodeId, u32)>,
}

impl<A: Actor<Note = Note> + OverOrder> Invariant<A> for BindsEnd {
    fn name(&self) -> &'static str {
        "every bind ends, once and in time"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let Some(node) = view.touched() else { return Ok(()) };
        for note in view.notes() {
            match note {
                Note::Wants(id) => drop(self.open.insert(*id, (node, view.life(node)))),
                Note::Bound(id, _) | Note::Truth(id, _) if self.open.remove(id).is_none() => {
                    return Err(format!("{note:?} on {node}: it has ended before"));
                }
                _ => {}
            }
        }
        let late = view.actor(node).and_then(A::first_limit);
        match late.filter(|limit| *limit <= view.clock(node)) {
            Some(limit) => Err(format!("a bind on {node} was to wait until {limit}, and waits")),
            None => Ok(()),
        }
    }

    fn end(&mut self, view: &View<'_, A>) -> Result<(), String> {
        match self.open.iter().find(|(_, (node, life))| view.life(*node) == *life) {
            Some((id, (node, _))) => Err(format!("bind {id} on {node} has not ended")),
            None => Ok(()),
        }
    }
}
