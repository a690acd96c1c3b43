//! The other side of the commands: the state of one service's endpoint on one node, as a kernel keeps it.
//!
//! ```text
//!             Freeze                    Point (any number)
//!   Open ────────────────► Frozen ◄─────────────┐
//!    ▲                      │ │ └───────────────┘
//!    └────── Thaw ──────────┘ │
//!                             ▼ End
//!                           Ended ── Freeze ──► Frozen
//! ```
//! A step is done once. A step of an epoch that is over changes nothing and is refused, so it does no harm
//! when commands are repeated, or come by two ways.

use crate::command::{Action, Command, Why};
use crate::rule::Serving;
use dvs_abi::{Code, NodeId};
use dvs_control::epoch::Epoch;

/// What callers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callers {
    /// They wait.
    Wait(Why),
    /// They go to where they are pointed.
    Go,
    /// They are told this.
    End(Code),
}

/// The endpoint of a service on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gate {
    /// What callers do.
    pub callers: Callers,
    /// Where they are pointed.
    pub node: Option<NodeId>,
    /// What the instance here may do.
    pub serving: Serving,
    /// Of the last step.
    pub epoch: Epoch,
}

impl Default for Gate {
    fn default() -> Self {
        let callers = Callers::End(Code::DSTDIED);
        Gate { callers, node: None, serving: Serving::Stopped, epoch: Epoch::default() }
    }
}

impl Gate {
    /// Takes a step; whether it changed anything. (`Resend` and `Fail` change nothing here: they are about
    /// the calls.)
    ///
    /// # Errors
    /// `STALE`: its epoch is over. `PROCSTS`: it does not follow from the state, callers were not made to
    /// wait, or have nowhere to go.
    pub fn step(&mut self, command: &Command) -> Result<bool, Code> {
        if command.epoch < self.epoch {
            return Err(Code::STALE);
        }
        let before = *self;
        let waits = matches!(self.callers, Callers::Wait(_));
        match command.action {
            Action::Freeze(why) => self.callers = Callers::Wait(why),
            Action::Point(node) if waits => self.node = Some(node),
            Action::Point(node) if self.node == Some(node) && self.epoch == command.epoch => {}
            Action::Thaw if self.node.is_some() && !matches!(self.callers, Callers::End(_)) => {
                self.callers = Callers::Go;
            }
            Action::End(code) => (self.callers, self.node) = (Callers::End(code), None),
            Action::Resend(_) | Action::Fail(_) => {}
            Action::Continue => self.serving = Serving::Full,
            Action::ReadOnly => self.serving = Serving::Reads,
            Action::Stop => self.serving = Serving::Stopped,
            Action::Point(_) | Action::Thaw => return Err(Code::PROCSTS),
        }
        self.epoch = command.epoch;
        Ok(*self != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvs_abi::DcId;

    fn say(epoch: u64, action: Action) -> Command {
        Command { dc: DcId(0), slot: 1, epoch: Epoch(epoch), action }
    }

    #[test]
    fn twice_is_once_and_an_old_epoch_is_refused() {
        let mut g = Gate::default();
        assert_eq!(g.step(&say(1, Action::Point(NodeId(1)))), Err(Code::PROCSTS), "nobody waits");
        assert_eq!(g.step(&say(1, Action::Thaw)), Err(Code::PROCSTS));
        let steps = [Action::Freeze(Why::Vacant), Action::Point(NodeId(1)), Action::Thaw];
        for (epoch, action) in (3..).zip(steps) {
            assert_eq!(g.step(&say(epoch, action)), Ok(true));
            assert_eq!(g.step(&say(epoch, action)), Ok(false));
            let open = g;
            assert_eq!(g.step(&say(2, Action::Freeze(Why::Moving))), Err(Code::STALE));
            assert_eq!(g, open);
        }
        assert_eq!((g.callers, g.node), (Callers::Go, Some(NodeId(1))));
        assert_eq!(g.step(&say(9, Action::Point(NodeId(2)))), Err(Code::PROCSTS), "freeze first");
        assert_eq!(g.step(&say(9, Action::End(Code::DSTDIED))), Ok(true));
        assert_eq!(g.step(&say(9, Action::Thaw)), Err(Code::PROCSTS));
    }
}
