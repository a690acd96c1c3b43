//! What must always be so in the simulated control plane, one file each.

mod binds_end;
mod done_once;
mod heals;
mod lost_are_over;
mod members_go_on;
mod none_needlessly;
mod one_instance;
mod one_owner;
mod one_place_an_epoch;
mod same_decisions;
mod state_agrees;
mod state_travels;

pub use binds_end::BindsEnd;
pub use done_once::DoneOnce;
pub use heals::Heals;
pub use lost_are_over::LostAreOver;
pub use members_go_on::MembersGoOn;
pub use none_needlessly::NoneNeedlessly;
pub use one_instance::OneInstance;
pub use one_owner::OneOwner;
pub use one_place_an_epoch::OnePlaceAnEpoch;
pub use same_decisions::SameDecisions;
pub use state_agrees::StateAgrees;
pub use state_travels::StateTravels;

use crate::actor::Actor;
use crate::control::Node;
use crate::control::daemon::Daemon;
use crate::invariant::View;
use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_control::state::State;

/// What the nodes of a world with an order have in common.
pub trait OverOrder {
    /// Looks at the log as it is decided, if this node knows.
    fn decided<T>(&self, look: impl FnOnce(&Log<'_>) -> T) -> Option<T>;

    /// The last entries, for messages of violations.
    fn tail(&self, entries: usize) -> String;

    /// A place at which two nodes know different entries, if there is one.
    fn differs(&self) -> Option<u64>;

    /// Until when the bind waits here that waits least.
    fn first_limit(&self) -> Option<u64>;

    /// In which incarnation it holds a lease, at this time of its clock.
    fn holds(&self, now: u64) -> Option<Epoch>;
}

/// The log, as it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// What follows from it.
    pub state: &'a State,
    /// How many entries it has.
    pub count: u64,
}

/// Looks at the log of a world.
pub(crate) fn decided<A: Actor + OverOrder, T>(
    view: &View<'_, A>,
    look: impl Fn(&Log<'_>) -> T,
) -> Option<T> {
    view.actors().find_map(|(_, a)| a.decided(&look))
}

/// The daemons that run programs, whether or not they may: they have power, do not stand still, and have not
/// ended their incarnation. What they believe about their lease does not count: if that is over and they go
/// on, that is to be found out.
fn running<'a>(view: &View<'a, Node>) -> impl Iterator<Item = (NodeId, &'a Daemon)> {
    let all: Vec<_> = view.actors().filter_map(|(n, a)| Some((n, a.daemon()?))).collect();
    let running = all.into_iter().filter(|(n, d)| view.acts(*n) && d.runs().is_some());
    running.collect::<Vec<_>>().into_iter()
}

/// Those of them that hold their lease.
fn able<'a>(view: &View<'a, Node>) -> impl Iterator<Item = (NodeId, &'a Daemon)> {
    let holds: Vec<_> = running(view).filter(|(n, d)| d.serves(view.clock(*n)).is_some()).collect();
    holds.into_iter()
}
