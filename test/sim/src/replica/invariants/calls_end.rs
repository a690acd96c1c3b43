//! Every call ends, once, with an answer that makes sense or with the truth.

use crate::invariant::{Invariant, View};
use crate::replica::{Node, Note};
use std::collections::BTreeSet;

/// Calls end.
#[derive(Debug, Default)]
pub struct CallsEnd {
    open: BTreeSet<u64>,
}

impl Invariant<Node> for CallsEnd {
    fn name(&self) -> &'static str {
        "every call ends, once"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        for note in view.notes() {
            match note {
                Note::Calls(id, _) => drop(self.open.insert(*id)),
                Note::Nonsense(..) => return Err(format!("{note:?}")),
                Note::Answered(id, _) | Note::Failed(id, _) | Note::Unknown(id) if !self.open.remove(id) => {
                    return Err(format!("{note:?}: it has ended before"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        match view.actors().find(|(_, a)| a.clients().is_some_and(|c| c.pending() > 0)) {
            Some((node, _)) => Err(format!("a call on {node} has not ended")),
            None => Ok(()),
        }
    }
}
