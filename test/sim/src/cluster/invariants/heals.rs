//! When the faults have stopped and nobody wants anything new, the cluster comes to rest: all nodes serve,
//! know the same and each other's endpoints, services are somewhere, nobody waits.

use super::acting;
use crate::cluster::Node;
use crate::cluster::daemon::Daemon;
use crate::control::{MAIN, SERVICES};
use crate::invariant::{Invariant, View};
use crate::invariants::{Log, decided};
use dvs_abi::NodeId;
use dvs_control::service::Place;

/// The cluster heals.
#[derive(Debug, Default)]
pub struct Heals;

fn endpoints(daemon: &Daemon, of: NodeId) -> Vec<i32> {
    let Some((_, c)) = daemon.kern().containers().find(|(dc, _)| *dc == MAIN.0) else { return Vec::new() };
    let own = of == NodeId(daemon.kern().me().0);
    let those = c.descriptors().filter(|d| !d.service && d.node == of && d.is_local() == own);
    those.map(|d| d.endpoint.raw()).collect()
}

impl Invariant<Node> for Heals {
    fn name(&self) -> &'static str {
        "the cluster heals"
    }

    fn check(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        decided(view, |log| at_rest(view, log)).ok_or("there is no order")?
    }
}

fn at_rest(view: &View<'_, Node>, order: &Log<'_>) -> Result<(), String> {
    let all = acting(view);
    for (node, daemon) in &all {
        if !daemon.radar().holds_lease(view.clock(*node)) {
            return Err(format!("{node} has no lease"));
        }
        let (applied, state) = daemon.state();
        if applied == order.count && *state != *order.state || applied + 100 < order.count {
            return Err(format!("{node} has {applied} entries of {}, or others", order.count));
        }
        if let Some(what) = daemon.unsettled() {
            return Err(format!("on {node} wait: {what}"));
        }
        if daemon.reaches().len() + 1 != all.len() {
            return Err(format!("{node} reaches {:?}", daemon.reaches()));
        }
        for (other, theirs) in all.iter().filter(|(n, _)| n != node) {
            let (has, known) = (endpoints(daemon, *node), endpoints(theirs, *node));
            if has != known {
                return Err(format!("{node} has bound {has:?}; {other} thinks {known:?}"));
            }
        }
    }
    let main = order.state.container(MAIN).ok_or("the container is gone")?;
    for (slot, _) in SERVICES {
        let Some(Place::At(at)) = main.services.get(&slot).map(|s| s.place) else {
            return Err(format!("service {slot} is nowhere"));
        };
        let serves = |d: &Daemon| d.serving().iter().any(|(s, _)| *s == slot);
        if !all.iter().any(|(n, d)| *n == at && serves(d)) {
            return Err(format!("service {slot} is on {at}, which does not serve"));
        }
    }
    Ok(())
}
