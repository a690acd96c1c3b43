//! A server answers only while RADAR lets its node serve, at that moment.

use crate::cluster::Node;
use crate::cluster::wire::Told;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};

/// Nobody answers who may not.
#[derive(Debug, Default)]
pub struct ServesByLeave;

impl Invariant<Node> for ServesByLeave {
    fn name(&self) -> &'static str {
        "a server answers by RADAR's leave only"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let found = view.notes().iter().find(|n| matches!(n, Note::Told(Told::Did(.., false, _))));
        found.map_or(Ok(()), |note| Err(format!("{note:?} on {:?}", view.touched())))
    }
}
