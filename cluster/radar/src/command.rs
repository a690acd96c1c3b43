//! What a node is to do with the endpoint of a service.

use dvs_abi::{Code, DcId, NodeId};
use dvs_control::epoch::Epoch;
use dvs_kern::node::service::Action as Step;
use std::fmt;

/// One step. Doing it twice is the same as doing it once; one whose epoch is lower than that of a step
/// already done for the service is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// The container.
    pub dc: DcId,
    /// The service's slot in it.
    pub slot: i32,
    /// Of the decision it follows from. Never falls for a service, and callers of one node never go to two
    /// places in one epoch.
    pub epoch: Epoch,
    /// The step.
    pub action: Action,
}

/// Why callers wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// There is no instance they could go to.
    Vacant,
    /// It is moving.
    Moving,
    /// It is another one now, or in another place: until they are pointed there, a moment.
    Changed,
    /// The node it is on cannot be reached from here.
    Unreachable,
}

impl Why {
    /// One sentence.
    pub fn text(self) -> &'static str {
        match self {
            Why::Vacant => "no instance serves",
            Why::Moving => "it is moving",
            Why::Changed => "it is being looked for",
            Why::Unreachable => "its node cannot be reached from here",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Callers wait from here on, their deadlines running. Repeated when the reason or the epoch is another.
    Freeze(Why),
    /// Callers are to go to this node. They go on waiting until `Thaw`.
    Point(NodeId),
    /// Callers that wait go on, to where they were pointed last.
    Thaw,
    /// There is no such service any more, or not here. Callers that wait end with this code, not done; those
    /// whose call had been taken up, with an unknown effect.
    End(Code),
    /// Calls that the lost instance on this node had taken up and not answered wait as if they had never been
    /// sent: the service's table of duplicates answers each once. Other calls that were taken up are now
    /// where callers are pointed next, or, of an active service, stay where they are.
    Resend(NodeId),
    /// Calls that the lost instance on this node had taken up and not answered end now, with
    /// [`dvs_abi::Effect::Unknown`].
    Fail(NodeId),
    /// The instance here answers what it is asked. It is the one offered last: a node whose instance has
    /// ended offers the next one when it has itself applied the `Retire`, so that what is said of the one is
    /// not taken as said of the other.
    Continue,
    /// The instance here answers what changes nothing; it knows what that is, and refuses the rest.
    ReadOnly,
    /// The instance here answers nobody. It lives on: it may follow another, be moved, or go on.
    Stop,
}

impl From<Action> for Step {
    /// What the rules of a node make of it.
    fn from(action: Action) -> Step {
        match action {
            Action::Freeze(_) => Step::Freeze,
            Action::Point(node) => Step::Point(node),
            Action::Thaw => Step::Thaw,
            Action::End(code) => Step::End(code),
            Action::Resend(node) => Step::Resend(node),
            Action::Fail(node) => Step::Fail(node),
            Action::Continue => Step::Continue,
            Action::ReadOnly => Step::ReadOnly,
            Action::Stop => Step::Stop,
        }
    }
}
