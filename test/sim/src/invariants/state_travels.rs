//! What an instance of a single service has acknowledged it has, on whichever node: each write is the next
//! one after all before it, since the instance was born.

use crate::actor::Actor;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use std::collections::BTreeMap;

/// The state of a service moves with it, whole.
#[derive(Debug, Default)]
pub struct StateTravels {
    written: BTreeMap<(i32, u64), u64>,
}

impl<A: Actor<Note = Note>> Invariant<A> for StateTravels {
    fn name(&self) -> &'static str {
        "an instance has all it has acknowledged"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        for note in view.notes() {
            let Note::Wrote(slot, born, writes) = note else { continue };
            let before = self.written.insert((*slot, *born), *writes).unwrap_or(0);
            if *writes != before + 1 {
                return Err(format!("{note:?} on {:?}, and {before} were before", view.touched()));
            }
        }
        Ok(())
    }
}
