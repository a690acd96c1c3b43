//! One endpoint of this process.

use super::clients::Clients;
use super::{Ix, LaneKey, Outcome, Party, Shape};
use crate::control::Duty;
use dvs_abi::{Code, DcId, Endpoint, Error, Grant, Kind, Message, Privileges};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What an endpoint is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// Not in a call, or its outcome is there.
    #[default]
    Idle,
    /// In a send that is not consumed.
    Sending(Endpoint),
    /// In a sendrec that is not consumed.
    Calling(Endpoint),
    /// In a sendrec whose request was consumed.
    Awaiting(Endpoint),
    /// In a receive.
    Receiving(Filter),
}

impl Phase {
    /// Whom the endpoint waits for, if for one in particular.
    pub const fn waits_for(self) -> Option<Endpoint> {
        match self {
            Phase::Sending(e) | Phase::Calling(e) | Phase::Awaiting(e) => Some(e),
            Phase::Receiving(Filter::From(e)) => Some(e),
            _ => None,
        }
    }
}

/// What a receive accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// Everything.
    Any,
    /// Messages and notifications of one endpoint.
    From(Endpoint),
    /// Messages, no notifications (rcvrqst).
    Requests,
}

impl Filter {
    /// The one source it takes, or `ANY`.
    pub const fn source(self) -> Endpoint {
        match self {
            Filter::Any | Filter::Requests => Endpoint::ANY,
            Filter::From(e) => e,
        }
    }

    pub(super) fn takes(self, source: Endpoint) -> bool {
        match self {
            Filter::Any | Filter::Requests => true,
            Filter::From(e) => e == source,
        }
    }

    pub(super) fn takes_notices(self) -> bool {
        self != Filter::Requests
    }
}

/// A caller whose request this endpoint consumed and has not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// An endpoint of this process.
    Local(Ix),
    /// Call `seq` of a lane.
    Lane(LaneKey, u64),
}

/// A sender in the queue of its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub source: Endpoint,
    pub party: Party,
    pub kind: Kind,
}

/// A pending notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Notice {
    pub source: Endpoint,
    pub value: u64,
    pub timestamp: u64,
}

/// The end of a process, as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Warning {
    pub source: Endpoint,
    pub mtype: i32,
    pub code: i32,
}

/// An [`Outcome`] as it lies in the table: small and plain, so that handing it on costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Done,
    Message,
    FromLane(LaneKey, u64),
    LaneProgress,
    Redirect(Endpoint),
    Repeat,
    /// The error lies beside it.
    Failed,
}

/// One endpoint of this process.
#[derive(Debug)]
pub struct Slot {
    /// Its container.
    pub dc: DcId,
    /// Its value.
    pub endpoint: Endpoint,
    /// Limits of the container.
    pub shape: Shape,
    /// Its rights.
    pub privileges: Privileges,
    /// While it is moved: it takes nothing and its calls wait.
    pub frozen: bool,
    /// What it may answer while the node's lease holds, and after: it is an instance of a service.
    pub instance: Option<(Duty, Duty)>,
    /// Outside this process it is bound no more, since its container ended or its node was taken for lost:
    /// its calls say so.
    pub ended: Option<Code>,
    /// Its next call that may wait ends with this instead.
    pub stopped: Option<Code>,
    /// The call of this number is part of this circle of waits.
    pub circle: Option<(u64, Vec<Endpoint>)>,
    pub(super) bound: bool,
    pub(super) phase: Phase,
    pub(super) outcome: Option<Ended>,
    /// The error of [`Ended::Failed`].
    pub(super) failure: Option<Box<Error>>,
    /// Own request while it waits in a queue, or whose answer is awaited (for its grants).
    pub(super) request: Message,
    pub(super) grants: Vec<Grant>,
    /// What is delivered; boxed so that it changes hands without being copied.
    pub(super) mailbox: Box<Message>,
    pub(super) queue: VecDeque<Entry>,
    pub(super) notices: BTreeMap<i32, Notice>,
    /// What the entries of [`super::Party::Ended`] in the queue say, in their order.
    pub(super) warnings: VecDeque<Warning>,
    pub(super) clients: Clients,
    /// Endpoints here that were told to wait for this one in particular; checked when it ends.
    pub(super) watchers: Vec<Ix>,
    pub(super) woken: bool,
    pub(super) has_notified: bool,
    /// Which binding of its place in the table this is; no two of a process have the same.
    pub(super) binding: u64,
    /// Sources whose notification was received since a message was, while messages waited.
    pub(super) noticed: BTreeSet<i32>,
    /// A copy from or to this endpoint's memory is going on; its call cannot be left.
    pub(super) copying: bool,
}

impl Slot {
    /// A descriptor ready to be bound.
    pub fn new(dc: DcId, endpoint: Endpoint, shape: Shape, privileges: Privileges) -> Self {
        Slot {
            dc,
            endpoint,
            shape,
            privileges,
            frozen: false,
            instance: None,
            ended: None,
            stopped: None,
            circle: None,
            bound: true,
            phase: Phase::Idle,
            outcome: None,
            failure: None,
            request: Message::default(),
            grants: Vec::new(),
            mailbox: Box::default(),
            queue: VecDeque::new(),
            notices: BTreeMap::new(),
            warnings: VecDeque::new(),
            clients: Clients::default(),
            watchers: Vec::new(),
            woken: false,
            has_notified: false,
            binding: 0,
            noticed: BTreeSet::new(),
            copying: false,
        }
    }

    /// Whether the slot is in the system prefix of its container.
    pub fn is_system(&self) -> bool {
        self.shape.is_system(self.endpoint.slot())
    }

    /// Whether the endpoint still exists.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Tells this binding from an earlier or later one at the same index, even of the same endpoint.
    pub fn binding(&self) -> u64 {
        self.binding
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether an outcome waits to be fetched.
    pub fn is_ready(&self) -> bool {
        self.outcome.is_some()
    }

    /// The caller with this endpoint whose request was consumed and not answered.
    pub fn client(&self, source: Endpoint) -> Option<Client> {
        self.clients.get(&source)
    }

    /// How many requests were consumed and not answered.
    pub fn unanswered(&self) -> usize {
        self.clients.len()
    }

    /// Memory lent for the call it is in.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Ends the wait.
    #[inline]
    pub(super) fn end(&mut self, outcome: Outcome) {
        debug_assert!(self.outcome.is_none(), "two ends of one wait");
        self.phase = Phase::Idle;
        self.outcome = Some(match outcome {
            Outcome::Done => Ended::Done,
            Outcome::Message => Ended::Message,
            Outcome::FromLane(lane, seq) => Ended::FromLane(lane, seq),
            Outcome::LaneProgress => Ended::LaneProgress,
            Outcome::Redirect(to) => Ended::Redirect(to),
            Outcome::Repeat => Ended::Repeat,
            Outcome::Failed(e) => {
                self.failure = Some(Box::new(e));
                Ended::Failed
            }
        });
    }

    /// Takes the outcome.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        Some(match self.outcome.take()? {
            Ended::Done => Outcome::Done,
            Ended::Message => Outcome::Message,
            Ended::FromLane(lane, seq) => Outcome::FromLane(lane, seq),
            Ended::LaneProgress => Outcome::LaneProgress,
            Ended::Redirect(to) => Outcome::Redirect(to),
            Ended::Repeat => Outcome::Repeat,
            Ended::Failed => Outcome::Failed(self.failure.take().map_or(Error::early(Code::IO), |e| *e)),
        })
    }

    #[inline]
    pub(super) fn accepts(&self, source: Endpoint) -> bool {
        !self.frozen && matches!(self.phase, Phase::Receiving(f) if f.takes(source))
    }

    /// Checks that the endpoint may use a call.
    ///
    /// # Errors
    /// `BADCALL`.
    pub fn may(&self, call: dvs_abi::Call) -> Result<(), Code> {
        if self.privileges.calls.has(call) { Ok(()) } else { Err(Code::BADCALL) }
    }
}
