//! When the faults have stopped and nobody wants anything new, the system comes to rest: all nodes serve and
//! know the same, services are somewhere, nobody waits.

use super::{OverOrder, able};
use crate::control::Node;
use crate::control::{MAIN, SERVICES};
use crate::invariant::{Invariant, View};
use dvs_control::service::Place;

/// The system heals.
#[derive(Debug, Default)]
pub struct Heals;

impl Invariant<Node> for Heals {
    fn name(&self) -> &'static str {
        "the system heals"
    }

    fn check(&mut self, _: &View<'_, Node>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let order = view.actors().find_map(|(_, a)| a.order()).ok_or("there is no order")?;
        let serving = able(view).count();
        if serving + 1 < view.nodes() {
            return Err(format!("{serving} daemons serve, not {}", view.nodes() - 1));
        }
        for (node, daemon) in able(view) {
            let (applied, state) = daemon.state();
            if applied == order.committed() && state != order.state() {
                return Err(format!("{node} knows other things than the order after {applied} entries"));
            }
            if applied + 100 < order.committed() {
                return Err(format!("{node} has {applied} entries of {}", order.committed()));
            }
            if daemon.waiting() > 0 || daemon.programs().next().is_some() || daemon.queued() > 3 {
                let (binds, commands) = (daemon.waiting(), daemon.queued());
                return Err(format!("on {node} {binds} binds and {commands} commands wait, or programs run"));
            }
        }
        let main = order.state().container(MAIN).ok_or("the container is gone")?;
        for (slot, _) in SERVICES {
            let place = main.services.get(&slot).map(|s| s.place);
            if !matches!(place, Some(Place::At(_))) {
                return Err(format!("service {slot} is {place:?}"));
            }
        }
        Ok(())
    }
}
