//! Every call ends, once.

use crate::cluster::Node;
use crate::cluster::wire::Told;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use std::collections::BTreeMap;

/// Calls end.
#[derive(Debug, Default)]
pub struct CallsEnd {
    open: BTreeMap<u64, (NodeId, u32, u64)>,
}

impl Invariant<Node> for CallsEnd {
    fn name(&self) -> &'static str {
        "every call ends, once"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some(node) = view.touched() else { return Ok(()) };
        for note in view.notes() {
            match note {
                Note::Told(Told::Calls(id, _)) => {
                    self.open.insert(*id, (node, view.life(node), view.now()));
                }
                Note::Told(Told::Answered(id, _) | Told::Failed(id, _) | Told::Unknown(id, _))
                    if self.open.remove(id).is_none() =>
                {
                    return Err(format!("{note:?} on {node}: it has ended before"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        match self.open.iter().find(|(_, (node, life, _))| view.life(*node) == *life) {
            Some((id, (node, _, since))) => Err(format!("call {id} on {node} of {since} has not ended")),
            None => Ok(()),
        }
    }
}
