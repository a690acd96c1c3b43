//! The replicated state agrees with itself after every entry.

use super::OverOrder;
use crate::actor::Actor;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};

/// [`dvs_control::state::State::validate`] finds nothing.
#[derive(Debug, Default)]
pub struct StateAgrees;

impl<A: Actor<Note = Note> + OverOrder> Invariant<A> for StateAgrees {
    fn name(&self) -> &'static str {
        "the replicated state agrees with itself"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        if !view.notes().iter().any(|n| matches!(n, Note::Applied(..))) {
            return Ok(());
        }
        match view.touched().and_then(|n| view.actor(n)).and_then(A::order) {
            Some(order) => order.state().validate().map_err(|e| format!("{e}; after\n{}", order.tail(3))),
            None => Ok(()),
        }
    }
}
