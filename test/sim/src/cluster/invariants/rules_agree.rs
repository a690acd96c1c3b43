//! The tables of each node's rules agree with each other after every event.

use super::touched;
use crate::cluster::Node;
use crate::invariant::{Invariant, View};

/// [`dvs_kern::node::Node::validate`] finds nothing.
#[derive(Debug, Default)]
pub struct RulesAgree;

impl Invariant<Node> for RulesAgree {
    fn name(&self) -> &'static str {
        "the rules' tables agree"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        match touched(view) {
            Some((node, daemon)) => daemon.kern().validate().map_err(|e| format!("{node}: {e}")),
            None => Ok(()),
        }
    }
}
