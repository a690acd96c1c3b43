//! A user endpoint is bound in one place, among the nodes that are of the system: one that was taken for lost
//! and has not heard of it keeps its programs until it hears, and is heard by nobody.

use super::{acting, touched};
use crate::cluster::Node;
use crate::cluster::daemon::Daemon;
use crate::control::MAIN;
use crate::invariant::{Invariant, View};
use crate::invariants::decided;
use dvs_abi::NodeId;
use dvs_control::member::Member;
use dvs_control::state::State;

/// The user slots bound on a node.
fn bound(daemon: &Daemon) -> Vec<i32> {
    let Some((_, c)) = daemon.kern().containers().find(|(dc, _)| *dc == MAIN.0) else { return Vec::new() };
    let user = c.descriptors().filter(|d| d.is_local() && d.endpoint.slot() >= c.config.first_user());
    user.map(|d| d.endpoint.slot()).collect()
}

fn counts(state: &State, node: NodeId, daemon: &Daemon) -> bool {
    let lives = state.member(node).and_then(Member::incarnation);
    lives.is_some() && lives == daemon.incarnation()
}

/// Slots have one owner, and endpoints one place.
#[derive(Debug, Default)]
pub struct BoundOnce;

impl Invariant<Node> for BoundOnce {
    fn name(&self) -> &'static str {
        "a user endpoint is bound in one place"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some((node, daemon)) = touched(view) else { return Ok(()) };
        decided(view, |log| agrees(view, (node, daemon), log.state)).unwrap_or(Ok(()))
    }
}

fn agrees(view: &View<'_, Node>, (node, daemon): (NodeId, &Daemon), state: &State) -> Result<(), String> {
    let slots = bound(daemon);
    if slots.is_empty() || !counts(state, node, daemon) {
        return Ok(());
    }
    let pool = daemon.state().1.container(MAIN).map(|c| &c.pool);
    if let Some(slot) = slots.iter().find(|s| pool.and_then(|p| p.owner(**s)) != Some(node)) {
        return Err(format!("slot {slot} is bound on {node}, which does not own it"));
    }
    for (other, d) in acting(view).into_iter().filter(|(n, d)| *n != node && counts(state, *n, d)) {
        if let Some(slot) = bound(d).into_iter().find(|s| slots.contains(s)) {
            return Err(format!("slot {slot} is bound on {node} and on {other}"));
        }
    }
    Ok(())
}
