//! A member of a group goes on until its node ends, unless its disk is full; and it finds its store as it
//! left it, whenever the power goes.

use crate::invariant::{Invariant, View};
use crate::replica::{Node, Note};

/// Members go on.
#[derive(Debug, Default)]
pub struct MembersGoOn;

impl Invariant<Node> for MembersGoOn {
    fn name(&self) -> &'static str {
        "a member of a group ends only when its disk is full"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let found = view.notes().iter().find(|n| matches!(n, Note::Stops(false, _)));
        found.map_or(Ok(()), |note| Err(format!("{note:?} on {:?}", view.touched())))
    }
}
