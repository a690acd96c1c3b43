//! One node: its copy of the state, its radar, the gates of its services, instances and clients.

use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_control::service::{Kind, Service};
use dvs_control::state::{ServiceName, State};
use dvs_radar::gate::Callers;
use dvs_radar::{Action, Command, Event, Gate, Radar, Serving, Terms};
use std::collections::{BTreeMap, BTreeSet};

/// One process that is an instance: its node and a number of its own.
pub type Proc = (NodeId, u64);

/// A client's call.
#[derive(Clone, Debug, Default)]
pub enum Call {
    /// None is under way.
    #[default]
    Idle,
    /// It was not taken up by anybody.
    Waits,
    /// It was taken up: where its node thinks it is, and the processes that hold it.
    Taken(NodeId, BTreeSet<Proc>),
}

/// What clients saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    pub answered: u64,
    pub unknown: u64,
    pub ended: u64,
}

/// An instance's process, and where in the log it was offered last.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub id: u64,
    pub offered: Epoch,
}

pub struct Host {
    pub node: NodeId,
    pub alive: bool,
    pub paused: bool,
    /// How its clock differs: an offset in ns, and a rate in millionths.
    pub clock: (u64, i64),
    pub state: State,
    pub radar: Radar,
    pub incarnation: Option<Epoch>,
    pub number: u64,
    pub gates: BTreeMap<ServiceName, Gate>,
    pub procs: BTreeMap<ServiceName, Instance>,
    /// Services whose instance here has died, which the log has yet to hear.
    pub retiring: BTreeSet<ServiceName>,
    /// Where the log heard it: nothing is offered here until that is applied here too.
    pub retired: BTreeMap<ServiceName, Epoch>,
    pub calls: BTreeMap<ServiceName, Call>,
    pub seen: BTreeMap<ServiceName, Seen>,
    /// Where callers were pointed: by service, epoch, and whether each node chooses for itself.
    pub points: BTreeMap<(ServiceName, Epoch, bool), NodeId>,
    /// Answers of leaders under way: when they come, when was asked, what was committed.
    pub mail: Vec<(u64, u64, Epoch)>,
    /// Every command, for comparison.
    pub trace: Vec<Command>,
}

impl Host {
    pub fn new(node: NodeId, state: State, clock: (u64, i64), terms: Terms) -> Self {
        Host {
            node,
            alive: true,
            paused: false,
            clock,
            state,
            radar: Radar::new(node, terms),
            incarnation: None,
            number: 0,
            gates: BTreeMap::new(),
            procs: BTreeMap::new(),
            retiring: BTreeSet::new(),
            retired: BTreeMap::new(),
            calls: BTreeMap::new(),
            seen: BTreeMap::new(),
            points: BTreeMap::new(),
            mail: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// It starts from its disk: the log as far as it had it, and nothing else.
    pub fn restart(&mut self, terms: Terms, real: u64) {
        let trace = std::mem::take(&mut self.trace);
        let seen = std::mem::take(&mut self.seen);
        // Its own choices of before were of clients that are gone.
        let mut points = std::mem::take(&mut self.points);
        points.retain(|(_, _, active), _| !active);
        *self = Host::new(self.node, self.state.clone(), self.clock, terms);
        (self.trace, self.seen, self.points) = (trace, seen, points);
        self.hear(Event::Restored, real);
    }

    pub fn runs(&self) -> bool {
        self.alive && !self.paused
    }

    /// Its clock.
    pub fn now(&self, real: u64) -> u64 {
        let drift = i128::from(real) * i128::from(self.clock.1) / 1_000_000;
        u64::try_from(i128::from(self.clock.0) + i128::from(real) + drift).unwrap()
    }

    pub fn service(&self, (dc, slot): ServiceName) -> Option<&Service> {
        let c = self.state.container(dc).filter(|c| c.spec.runs_on(self.node.0))?;
        c.services.get(&slot).filter(|s| !s.withdrawn)
    }

    pub fn serving(&self, name: ServiceName, real: u64) -> Serving {
        self.radar.serving(name, self.now(real))
    }

    pub fn gate(&self, name: ServiceName) -> Gate {
        self.gates.get(&name).copied().unwrap_or_default()
    }

    /// An event, and what follows from it.
    pub fn hear(&mut self, event: Event<'_>, real: u64) -> usize {
        let mut out = Vec::new();
        let now = self.now(real);
        self.radar.event(&self.state, event, now, &mut out);
        for c in &out {
            self.carry_out(c);
        }
        out.len()
    }

    fn carry_out(&mut self, c: &Command) {
        let name = (c.dc, c.slot);
        self.trace.push(*c);
        let gate = self.gates.entry(name).or_default();
        let news = gate.step(c).unwrap_or_else(|e| panic!("{} {c:?} at {gate:?}: {e:?}", self.node));
        // About calls; or another instance on the same node.
        let other = match c.action {
            Action::Resend(_) | Action::Fail(_) => true,
            Action::Point(_) => !self.points.keys().any(|(n, e, _)| (*n, *e) == (name, c.epoch)),
            _ => false,
        };
        assert!(news || other, "{}: {c:?} for nothing", self.node);
        assert_eq!(gate.step(c), Ok(false), "{c:?} twice is once");
        let single = self.service(name).is_some_and(|s| s.spec.kind == Kind::Single);
        let active = self.service(name).is_some_and(|s| s.spec.kind == Kind::Active);
        let call = self.calls.entry(name).or_default();
        let seen = self.seen.entry(name).or_default();
        match (c.action, &mut *call) {
            (Action::Point(to), call) => {
                if let (Call::Taken(at, _), false) = (call, active) {
                    *at = to; // It moved along.
                }
                self.check_point(name, c.epoch, to, active);
            }
            (Action::Resend(lost), Call::Taken(at, _)) if *at == lost => *call = Call::Waits,
            (Action::Fail(lost), Call::Taken(at, _)) if *at == lost => {
                assert!(single, "only who has no table of duplicates does not know");
                (*call, seen.unknown) = (Call::Idle, seen.unknown + 1);
            }
            (Action::End(_), _) => {
                if !matches!(call, Call::Idle) {
                    (*call, seen.ended) = (Call::Idle, seen.ended + 1);
                }
                assert!(self.service(name).is_none(), "the truth");
            }
            _ => {}
        }
    }

    /// Callers go to where the log says, and in one epoch to one place.
    fn check_point(&mut self, name: ServiceName, epoch: Epoch, to: NodeId, active: bool) {
        let s = self.service(name).unwrap();
        let placed =
            if active { s.instances.get(&to).is_some_and(|i| i.in_step) } else { s.at() == Some(to) };
        assert!(placed, "{}: pointed to {to}, {s:?}", self.node);
        let before = self.points.insert((name, epoch, active), to);
        assert!(before.is_none_or(|b| b == to), "{}: {epoch} is {before:?} and {to}", self.node);
    }

    /// Whether the instances that died here are known to be gone, by the log and here.
    pub fn retired_all(&self, name: ServiceName) -> bool {
        let told = self.retired.get(&name).is_none_or(|place| *place <= self.state.last());
        told && !self.retiring.contains(&name)
    }

    /// A client without a call makes one.
    pub fn call(&mut self, name: ServiceName) {
        let goes = !matches!(self.gate(name).callers, Callers::End(_));
        let call = self.calls.entry(name).or_default();
        if goes && matches!(call, Call::Idle) {
            *call = Call::Waits;
        }
    }
}
