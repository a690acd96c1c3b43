//! The replicated state agrees with itself after every entry.

use crate::control::node::Node;
use crate::control::wire::Note;
use crate::invariant::{Invariant, View};

/// [`dvs_control::state::State::validate`] finds nothing.
#[derive(Debug, Default)]
pub struct StateAgrees;

impl Invariant<Node> for StateAgrees {
    fn name(&self) -> &'static str {
        "the replicated state agrees with itself"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        if !view.notes().iter().any(|n| matches!(n, Note::Applied(..))) {
            return Ok(());
        }
        match view.touched().and_then(|n| view.actor(n)).and_then(Node::order) {
            Some(order) => order.state().validate().map_err(|e| format!("{e}; after\n{}", order.tail(3))),
            None => Ok(()),
        }
    }
}
