//! Whatever a node has applied at a place of the log, all apply there, ever after: what was acknowledged is
//! not lost and not changed.

use super::{OverOrder, decided};
use crate::actor::Actor;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;

/// No decision is lost, and all make the same of it.
#[derive(Debug, Default)]
pub struct SameDecisions {
    /// By place: its digest, and who applied it first.
    made: Vec<(u64, NodeId)>,
}

impl<A: Actor<Note = Note> + OverOrder> Invariant<A> for SameDecisions {
    fn name(&self) -> &'static str {
        "all make the same decisions"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let Some(node) = view.touched() else { return Ok(()) };
        if let Some(place) = view.actor(node).and_then(A::differs) {
            return Err(format!("{node} knows another entry at place {place}"));
        }
        for note in view.notes() {
            let Note::Applied(place, digest) = note else { continue };
            match self.made.get(*place as usize - 1) {
                None if *place as usize == self.made.len() + 1 => self.made.push((*digest, node)),
                None => return Err(format!("{node} applied place {place}, nobody the one before")),
                Some((made, _)) if made == digest => {}
                Some((_, first)) => {
                    return Err(format!("at place {place} {node} decided otherwise than {first}"));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let told = decided(view, |log| log.count).unwrap_or(0);
        if (told as usize) < self.made.len() {
            return Err(format!("the log has {told} entries, {} were applied", self.made.len()));
        }
        Ok(())
    }
}
