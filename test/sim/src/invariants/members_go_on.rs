//! A member of the log goes on until its node ends, unless its disk is full; and it finds its store as it
//! left it, whenever the power goes.

use crate::actor::Actor;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};

/// Members of the log go on.
#[derive(Debug, Default)]
pub struct MembersGoOn;

impl<A: Actor<Note = Note>> Invariant<A> for MembersGoOn {
    fn name(&self) -> &'static str {
        "a member of the log ends only when its disk is full"
    }

    fn check(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let found = view.notes().iter().find(|n| matches!(n, Note::Stops(false, _)));
        found.map_or(Ok(()), |note| Err(format!("{note:?} on {:?}", view.touched())))
    }
}
