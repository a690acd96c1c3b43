//! What must always be so, whatever goes wrong.

use crate::actor::Actor;
use crate::world::Host;
use dvs_abi::NodeId;
use std::fmt;

/// Something that must always be so. Looked at after each event.
pub trait Invariant<A: Actor> {
    /// In a few words, for the message of a violation.
    fn name(&self) -> &'static str;

    /// Looks at the world after an event.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&mut self, view: &View<'_, A>) -> Result<(), String>;

    /// Looks at the world at the end of a run ([`crate::World::finish`]): all faults were healed and
    /// everybody had time.
    ///
    /// # Errors
    /// What is wrong.
    fn end(&mut self, view: &View<'_, A>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}

/// The world as an invariant sees it.
pub struct View<'a, A: Actor> {
    pub(crate) now: u64,
    pub(crate) touched: Option<NodeId>,
    pub(crate) notes: &'a [A::Note],
    pub(crate) hosts: &'a [Host<A>],
}

impl<'a, A: Actor> View<'a, A> {
    /// The time of the world, which no node knows.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The node to which something has just happened.
    pub fn touched(&self) -> Option<NodeId> {
        self.touched
    }

    /// What that node has noted meanwhile.
    pub fn notes(&self) -> &'a [A::Note] {
        self.notes
    }

    /// The nodes that have power.
    pub fn actors(&self) -> impl Iterator<Item = (NodeId, &'a A)> {
        self.hosts.iter().enumerate().filter_map(|(n, h)| Some((NodeId(n as u16), h.actor.as_ref()?)))
    }

    /// A node, if it has power.
    pub fn actor(&self, node: NodeId) -> Option<&'a A> {
        self.hosts.get(usize::from(node.0))?.actor.as_ref()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.hosts.len()
    }

    /// Whether a node has power and does not stand still: whether it can do anything now. One that goes on
    /// after it stood still acts from the first thing that happens to it then.
    pub fn acts(&self, node: NodeId) -> bool {
        self.hosts.get(usize::from(node.0)).is_some_and(|h| h.actor.is_some() && !h.paused && !h.waking)
    }

    /// What the clock of a node shows.
    pub fn clock(&self, node: NodeId) -> u64 {
        self.hosts.get(usize::from(node.0)).map_or(self.now, |h| h.clock.read(self.now))
    }

    /// Which life of the node this is: rises each time it has power again.
    pub fn life(&self, node: NodeId) -> u32 {
        self.hosts.get(usize::from(node.0)).map_or(0, |h| h.life)
    }
}

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Of the world: the same seed gives the same again.
    pub seed: u64,
    /// When, in the world's time.
    pub at: u64,
    /// Which invariant.
    pub invariant: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, at, invariant, text } = self;
        let (s, ns) = (at / 1_000_000_000, at % 1_000_000_000);
        write!(f, "seed {seed} at {s}.{ns:09} s: not so: {invariant}: {text}")
    }
}

impl std::error::Error for Violation {}
