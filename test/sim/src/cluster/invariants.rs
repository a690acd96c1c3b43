//! What must always be so in the simulated cluster, one file each.

mod answers_once;
mod bound_once;
mod calls_end;
mod heals;
mod one_place_an_epoch;
mod one_server;
mod rules_agree;
mod serves_by_leave;
mod state_follows;

pub use answers_once::AnswersOnce;
pub use bound_once::BoundOnce;
pub use calls_end::CallsEnd;
pub use heals::Heals;
pub use one_place_an_epoch::OnePlaceAnEpoch;
pub use one_server::OneServer;
pub use rules_agree::RulesAgree;
pub use serves_by_leave::ServesByLeave;
pub use state_follows::StateFollows;

use super::Node;
use super::daemon::Daemon;

use crate::invariant::View;
use dvs_abi::NodeId;

/// The daemons that can do something now.
fn acting<'a>(view: &View<'a, Node>) -> Vec<(NodeId, &'a Daemon)> {
    let all = view.actors().filter_map(|(n, a)| Some((n, a.daemon()?)));
    all.filter(|(n, _)| view.acts(*n)).collect()
}

/// The daemon to which something has just happened that may have changed more than its connections.
fn touched<'a>(view: &View<'a, Node>) -> Option<(NodeId, &'a Daemon)> {
    let node = view.touched()?;
    Some((node, view.actor(node)?.daemon().filter(|d| d.is_stirred())?))
}
