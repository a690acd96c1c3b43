//! When the faults have stopped and nobody wants anything new, the system comes to rest: all nodes serve and
//! know the same, services are somewhere, nobody waits.

use super::{Log, able, decided};
use crate::control::{DAEMONS, MAIN, Node, SERVICES};
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
        decided(view, |log| at_rest(view, log)).ok_or("there is no order")?
    }
}

fn at_rest(view: &View<'_, Node>, order: &Log<'_>) -> Result<(), String> {
    let serving = able(view).count();
    if serving < usize::from(DAEMONS) {
        return Err(format!("{serving} daemons serve, not {DAEMONS}"));
    }
    for (node, daemon) in able(view) {
        let (applied, state) = daemon.state();
        if applied == order.count && *state != *order.state {
            return Err(format!("{node} knows other things than the order after {applied} entries"));
        }
        if applied + 100 < order.count {
            return Err(format!("{node} has {applied} entries of {}", order.count));
        }
        if daemon.waiting() > 0 || daemon.programs().next().is_some() || daemon.queued() > 3 {
            let (binds, commands) = (daemon.waiting(), daemon.queued());
            return Err(format!("on {node} {binds} binds and {commands} commands wait, or programs run"));
        }
    }
    let main = order.state.container(MAIN).ok_or("the container is gone")?;
    for (slot, _) in SERVICES {
        let place = main.services.get(&slot).map(|s| s.place);
        if !matches!(place, Some(Place::At(_))) {
            return Err(format!("service {slot} is {place:?}"));
        }
    }
    Ok(())
}
