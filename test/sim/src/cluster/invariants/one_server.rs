//! Of a service of which one instance serves, one serves at most.

use super::{acting, touched};
use crate::cluster::Node;
use crate::control::SERVICES;
use crate::invariant::{Invariant, View};
use dvs_control::service::Kind;

/// At most one live incarnation.
#[derive(Debug, Default)]
pub struct OneServer;

impl Invariant<Node> for OneServer {
    fn name(&self) -> &'static str {
        "one node at most serves a service"
    }

    fn check(&mut self, view: &View<'_, Node>) -> Result<(), String> {
        let Some((node, daemon)) = touched(view) else { return Ok(()) };
        for (slot, epoch) in daemon.serving() {
            if SERVICES.iter().any(|(s, kind)| *s == slot && *kind == Kind::Active) {
                continue;
            }
            let others = acting(view).into_iter().filter(|(n, _)| *n != node);
            let serves = |(n, d): (_, &crate::cluster::daemon::Daemon)| {
                let at = d.serving().into_iter().find(|(s, _)| *s == slot);
                // It looks at its clock before anything else.
                at.filter(|_| d.radar().holds_lease(view.clock(n))).map(|(_, e)| (n, e))
            };
            if let Some((other, theirs)) = others.filter_map(serves).next()
                && daemon.radar().holds_lease(view.clock(node))
            {
                return Err(format!("service {slot} is served by {node} ({epoch}) and {other} ({theirs})"));
            }
        }
        Ok(())
    }
}
