//! A declared service as one node's kernel keeps it: what its callers do, and what the instance here may.
//!
//! ```text
//!              Freeze                    Point (any number)
//!   Open ────────────────► Frozen ◄─────────────┐
//!    ▲                      │ │ └───────────────┘
//!    └────── Thaw ──────────┘ │
//!                             ▼ End
//!                           Ended ── Freeze ──► Frozen
//! ```
//! Why a type of its own: steps come from the log of all nodes by way of the daemon, each with an epoch. One
//! of an epoch that is over is refused, one that comes twice is done once. What a step means for lanes and
//! calls is in `route`; what a program bound here has to do with it, in `instance`.

use super::mover::Placed;
use crate::control::Duty;
use dvs_abi::{Code, NodeId};
use serde::{Deserialize, Serialize};

/// How many instances there are, and what they do.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One at a time, which remembers nothing of what it has answered.
    Single,
    /// One serves, others follow its state; a call that is sent again is answered once.
    Passive,
    /// All do the same in the same order; a call that is sent again is answered once.
    Active,
}

/// One step: what is left of a step of `dvs-radar` when its reasons do not matter any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Callers wait from here on, their deadlines running.
    Freeze,
    /// Callers are to go to this node. They go on waiting until `Thaw`.
    Point(NodeId),
    /// Callers that wait go on, to where they were pointed last.
    Thaw,
    /// There is no such service here any more: callers that wait end with this code, not done; those whose
    /// call had been taken up, with an unknown effect.
    End(Code),
    /// What the lost instance on this node had taken up waits as if it had never been sent.
    Resend(NodeId),
    /// What the lost instance on this node had taken up ends, with an unknown effect.
    Fail(NodeId),
    /// The instance here serves.
    Continue,
    /// The instance here answers what changes nothing. It knows what that is.
    ReadOnly,
    /// The instance here answers nobody.
    Stop,
}

/// What callers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callers {
    /// They wait.
    Wait,
    /// They go to where they are pointed.
    Go,
    /// They are told this.
    End(Code),
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// What callers do.
    pub callers: Callers,
    /// Where they are pointed.
    pub node: Option<NodeId>,
    /// What the instance here may answer.
    pub serving: Duty,
    /// Of the last step.
    pub epoch: u64,
    /// The end of the last instance here, while it is not in the log: the ticket of that.
    pub(crate) retiring: Option<u64>,
    /// Where callers go by the log.
    pub placed: Placed,
}

impl Service {
    /// One of which nothing is known yet: callers wait.
    pub fn new(name: String, kind: Kind) -> Self {
        Service {
            name,
            kind,
            callers: Callers::Wait,
            node: None,
            serving: Duty::Stopped,
            epoch: 0,
            retiring: None,
            placed: Placed::default(),
        }
    }

    /// Whether the end of the last instance here is not in the log yet.
    pub(crate) fn retires(&self) -> bool {
        self.retiring.is_some()
    }

    /// Takes a step; whether it changed anything. (`Resend` and `Fail` do if callers are pointed there: then
    /// they are pointed nowhere.)
    ///
    /// # Errors
    /// `STALE`: its epoch is over. `PROCSTS`: callers were not made to wait, or have nowhere to go.
    ///
    /// ```
    /// use dvs_abi::{Code, NodeId};
    /// use dvs_kern::node::service::{Action, Callers, Service, Kind};
    /// let mut s = Service::new("kv".into(), Kind::Passive);
    /// assert_eq!(s.step(4, Action::Thaw), Err(Code::PROCSTS), "it is nowhere");
    /// s.step(4, Action::Point(NodeId(1))).unwrap();
    /// assert_eq!(s.step(4, Action::Thaw), Ok(true));
    /// assert_eq!((s.callers, s.step(4, Action::Thaw)), (Callers::Go, Ok(false)));
    /// assert_eq!(s.step(3, Action::Freeze), Err(Code::STALE));
    /// ```
    pub fn step(&mut self, epoch: u64, action: Action) -> Result<bool, Code> {
        if epoch < self.epoch {
            return Err(Code::STALE);
        }
        let before = (self.callers, self.node, self.serving, self.epoch);
        match action {
            Action::Freeze => self.callers = Callers::Wait,
            Action::Point(node) if self.callers == Callers::Wait => self.node = Some(node),
            Action::Point(node) if self.node == Some(node) && self.epoch == epoch => {}
            Action::Thaw if self.node.is_some() && !matches!(self.callers, Callers::End(_)) => {
                self.callers = Callers::Go;
            }
            Action::End(code) => (self.callers, self.node) = (Callers::End(code), None),
            Action::Resend(lost) | Action::Fail(lost) if self.node == Some(lost) => {
                self.node = None;
                if self.callers == Callers::Go {
                    self.callers = Callers::Wait;
                }
            }
            Action::Resend(_) | Action::Fail(_) => {}
            Action::Continue => self.serving = Duty::Full,
            Action::ReadOnly => self.serving = Duty::Reads,
            Action::Stop => self.serving = Duty::Stopped,
            Action::Point(_) | Action::Thaw => return Err(Code::PROCSTS),
        }
        self.epoch = epoch;
        Ok(before != (self.callers, self.node, self.serving, self.epoch))
    }

    /// How a lane to an instance that is gone ends: calls it had taken up go again, or their effect is
    /// unknown. Calls that it had not, go again in any case.
    pub(crate) fn lost_code(&self) -> Code {
        if self.kind == Kind::Single { Code::MIGRATE } else { Code::STALE }
    }
}
