//! No slot has programs on two nodes at once, whatever the nodes believe.

use super::running;
use crate::control::MAIN;
use crate::control::Node;
use crate::invariant::{Invariant, View};

/// Slots have one owner.
#[derive(Debug, Default)]
pub struct OneOwner;

impl Invariant<Node> for OneOwner {
    fn name(&self) -> &'static str {
        "a slot has one owner"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some(touched) = view.touched() else { return Ok(()) };
        let Some((node, daemon)) = running(view).find(|(n, _)| *n == touched) else { return Ok(()) };
        let pool = daemon.state().1.container(MAIN).map(|c| &c.pool);
        for slot in daemon.programs() {
            let owner = pool.and_then(|p| p.owner(slot));
            if owner != Some(node) {
                return Err(format!(
                    "{node} runs a program in slot {slot}, which it knows to be of {owner:?}"
                ));
            }
            if let Some((other, _)) =
                running(view).find(|(n, d)| *n != node && d.programs().any(|s| s == slot))
            {
                return Err(format!("{node} and {other} both run a program in slot {slot}"));
            }
        }
        Ok(())
    }
}
