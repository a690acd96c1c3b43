//! An epoch of a service has been on one node, ever: who names it means one place.

use crate::control::Node;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use std::collections::BTreeMap;

/// The same epoch is never in two places.
#[derive(Debug, Default)]
pub struct OnePlaceAnEpoch {
    served: BTreeMap<(i32, Epoch), NodeId>,
    begun: BTreeMap<Epoch, NodeId>,
}

impl Invariant<Node> for OnePlaceAnEpoch {
    fn name(&self) -> &'static str {
        "an epoch is in one place"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some(node) = view.touched() else { return Ok(()) };
        for note in view.notes() {
            let (what, other) = match note {
                Note::Serves(slot, epoch) => (
                    format!("service {slot} in {epoch}"),
                    *self.served.entry((*slot, *epoch)).or_insert(node),
                ),
                Note::Begins(epoch) => {
                    (format!("incarnation {epoch}"), *self.begun.entry(*epoch).or_insert(node))
                }
                _ => continue,
            };
            if other != node {
                return Err(format!("{what} is of {node} and was of {other}"));
            }
        }
        Ok(())
    }
}
