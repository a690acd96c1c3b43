//! Callers of a service of which there is one find it on one node at most.

use super::running;
use crate::control::Node;
use crate::control::SERVICES;
use crate::invariant::{Invariant, View};
use dvs_control::service::Kind;

/// At most one live instance of a single service.
#[derive(Debug, Default)]
pub struct OneInstance;

impl Invariant<Node> for OneInstance {
    fn name(&self) -> &'static str {
        "one node at most serves a single service"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some(touched) = view.touched() else { return Ok(()) };
        if view.actor(touched).and_then(Node::daemon).is_none_or(|d| d.serving().is_empty()) {
            return Ok(());
        }
        for (slot, _) in SERVICES.iter().filter(|(_, kind)| *kind == Kind::Single) {
            let at: Vec<_> = running(view).filter_map(|(n, d)| Some((n, *d.serving().get(slot)?))).collect();
            if at.len() > 1 {
                return Err(format!("service {slot} is served by {at:?}"));
            }
        }
        Ok(())
    }
}
