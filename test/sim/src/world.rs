//! A world: several nodes, their network, disks and clocks, in one process, decided by one seed.
//!
//! ```text
//!            ┌──────────────── queue, by (time, sequence) ◄───────────────┐
//!            ▼                                                            │
//!   next event ──► node acts ──► its wishes: messages, timers, syncs ─────┤
//!            │          └──────► notes                                    │
//!            ├──► a fault begins or ends ─────────────────────────────────┘
//!            └──► all invariants look
//! ```
//! There is no thread, no clock and no map in an order of its own, so equal seeds give equal traces.

mod happen;
mod trouble;

use crate::actor::Actor;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::invariant::{Invariant, View, Violation};
use crate::network::Network;
use crate::random::Random;
use crate::trace::Trace;
use dvs_abi::NodeId;
use std::collections::{BTreeMap, VecDeque};

/// Events that may be under way at once. More is a violation: somebody sends without end.
pub const EVENTS_MAX: usize = 100_000;
/// Bytes a disk holds if nothing else is said.
pub const DISK_BYTES: usize = 64 << 20;

/// What happens to a node.
#[derive(Debug)]
pub(crate) enum Happening {
    Message { from: NodeId, bytes: Vec<u8> },
    Timer { id: u64 },
    Synced { id: u64 },
}

#[derive(Debug)]
pub(crate) enum Event {
    /// To this life of the node; messages to any.
    Happens(NodeId, u32, Happening),
    /// A sync has reached a mark.
    Durable(NodeId, u32, u64),
    PowerOn(NodeId),
    Resume(NodeId),
    Room(NodeId),
    /// One of these is due.
    Trouble(Trouble),
}

/// What happens every now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Cut,
    Crash,
    Pause,
    Full,
    Break,
}

/// One node and what is under it.
pub(crate) struct Host<A> {
    pub(crate) actor: Option<A>,
    pub(crate) life: u32,
    pub(crate) paused: bool,
    /// Goes on, and nothing has happened there since.
    pub(crate) waking: bool,
    pub(crate) clock: Clock,
    disk: Disk,
    random: Random,
    /// What comes while it stands still.
    held: VecDeque<(u32, Happening)>,
    /// When its last sync is over.
    sync_due: u64,
}

/// A world. See the [guide](crate::guide).
pub struct World<A: Actor> {
    seed: u64,
    now: u64,
    sequence: u64,
    faults: Faults,
    /// Of the network, the disks and the faults; nodes have their own.
    random: Random,
    /// Of connections that break: in a world that has none they change nothing.
    breaks: Random,
    queue: BTreeMap<(u64, u64), Event>,
    hosts: Vec<Host<A>>,
    network: Network,
    make: Box<dyn FnMut(NodeId) -> A>,
    invariants: Vec<Box<dyn Invariant<A>>>,
    trace: Trace,
}

impl<A: Actor> World<A> {
    /// A world of so many nodes, in which all have power from the beginning. `make` makes the actor of a
    /// node, each time it gets power.
    pub fn new(seed: u64, nodes: u16, faults: Faults, make: impl FnMut(NodeId) -> A + 'static) -> Self {
        let mut random = Random::new(seed);
        let hosts = (0..nodes).map(|_| {
            let drift =
                random.below(2 * u64::from(faults.drift_ppm) + 1) as i64 - i64::from(faults.drift_ppm);
            Host {
                actor: None,
                life: 0,
                paused: false,
                waking: false,
                clock: Clock::new(random.within((0, faults.offset_ns)), drift),
                disk: Disk::new(DISK_BYTES),
                random: random.fork(),
                held: VecDeque::new(),
                sync_due: 0,
            }
        });
        let mut world = World {
            seed,
            now: 0,
            sequence: 0,
            hosts: hosts.collect(),
            random,
            breaks: Random::new(seed.rotate_left(17)),
            queue: BTreeMap::new(),
            network: Network::default(),
            make: Box::new(make),
            invariants: Vec::new(),
            trace: Trace::new(),
            faults,
        };
        for node in 0..nodes {
            world.schedule(0, Event::PowerOn(NodeId(node)));
        }
        for trouble in [Trouble::Cut, Trouble::Crash, Trouble::Pause, Trouble::Full, Trouble::Break] {
            world.schedule_trouble(trouble);
        }
        world
    }

    /// Something that must always be so.
    pub fn expect(&mut self, invariant: impl Invariant<A> + 'static) -> &mut Self {
        self.invariants.push(Box::new(invariant));
        self
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Nanoseconds since it began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What happened.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// A node, if it has power.
    pub fn actor(&self, node: NodeId) -> Option<&A> {
        self.hosts.get(usize::from(node.0))?.actor.as_ref()
    }

    /// A node, if it has power; what is done to it here is in no trace, so do the same for the same seed.
    pub fn actor_mut(&mut self, node: NodeId) -> Option<&mut A> {
        self.hosts.get_mut(usize::from(node.0))?.actor.as_mut()
    }

    /// The nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<A> {
        (0..self.hosts.len() as u16).map(NodeId)
    }

    /// Lets the next thing happen. False if nothing ever will.
    ///
    /// # Errors
    /// An invariant that does not hold.
    pub fn step(&mut self) -> Result<bool, Violation> {
        let Some(((at, _), event)) = self.queue.pop_first() else { return Ok(false) };
        self.now = at;
        let (touched, notes) = self.perform(event);
        self.look(touched, &notes, false)?;
        if self.queue.len() > EVENTS_MAX {
            return Err(self.violation("events are few", format!("{} are under way", self.queue.len())));
        }
        Ok(true)
    }

    /// Lets happen what happens in so many nanoseconds.
    ///
    /// # Errors
    /// An invariant that does not hold.
    pub fn run_for(&mut self, ns: u64) -> Result<(), Violation> {
        let end = self.now + ns;
        self.run_until(end, |_| false).map(|_| ())
    }

    /// Lets happen what happens until a time, or until something is so; whether it is.
    ///
    /// # Errors
    /// An invariant that does not hold.
    pub fn run_until(&mut self, end: u64, mut so: impl FnMut(&Self) -> bool) -> Result<bool, Violation> {
        while !so(self) {
            if self.queue.first_key_value().is_none_or(|((at, _), _)| *at > end) {
                self.now = end;
                return Ok(so(self));
            }
            self.step()?;
        }
        Ok(true)
    }

    /// The run is over: the invariants look for the last time.
    ///
    /// # Errors
    /// An invariant that does not hold.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.look(None, &[], true)
    }

    fn look(&mut self, touched: Option<NodeId>, notes: &[A::Note], end: bool) -> Result<(), Violation> {
        let view = View { now: self.now, touched, notes, hosts: &self.hosts };
        for invariant in &mut self.invariants {
            let so = if end { invariant.end(&view) } else { invariant.check(&view) };
            if let Err(text) = so {
                let name = invariant.name();
                return Err(self.violation(name, text));
            }
        }
        Ok(())
    }

    fn violation(&mut self, invariant: &str, text: String) -> Violation {
        self.trace.line(self.now, format_args!("NOT SO: {invariant}: {text}"));
        Violation { seed: self.seed, at: self.now, invariant: invariant.to_owned(), text }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }
}
