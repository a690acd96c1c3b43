//! An epoch of a service is on one node, ever, and an incarnation, too.

use crate::cluster::Node;
use crate::control::SERVICES;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};
use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_control::service::Kind;
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
            let other = match note {
                Note::Serves(slot, epoch) if !SERVICES.contains(&(*slot, Kind::Active)) => {
                    *self.served.entry((*slot, *epoch)).or_insert(node)
                }
                Note::Begins(epoch) => *self.begun.entry(*epoch).or_insert(node),
                _ => continue,
            };
            if other != node {
                return Err(format!("{note:?} on {node}, and was on {other}"));
            }
        }
        Ok(())
    }
}
