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
        let Some(actor) = view.touched().and_then(|n| view.actor(n)) else { return Ok(()) };
        match actor.decided(|log| log.state.validate()) {
            Some(agrees) => agrees.map_err(|e| format!("{e}; after\n{}", actor.tail(3))),
            None => Ok(()),
        }
    }
}
