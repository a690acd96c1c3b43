//! A node of a world over one log: a daemon that follows the log, or the order that decides it.

use crate::actor::{Actor, Effects};
use crate::control::order::TotalOrder;
use crate::control::wire::{Note, Packet};
use crate::control::{DAEMONS, MS, ORDER};
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::invariants::OverOrder;
use crate::world::World;
use dvs_abi::NodeId;

/// How long all then has to come to rest.
pub const CALM_NS: u64 = 25_000 * MS;

/// A daemon that follows the log.
pub trait Follower {
    /// The node has power.
    fn start(&mut self, fx: &mut Effects<'_, Note>);

    /// A message has come, from the order or another daemon.
    fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>);

    /// Its timer has run off.
    fn timer(&mut self, fx: &mut Effects<'_, Note>);

    /// People want nothing new of it any more.
    fn quiet(&mut self);

    /// Until when the bind waits here that waits least.
    fn first_limit(&self) -> Option<u64>;
}

/// A node.
#[derive(Debug)]
pub enum Node<D> {
    /// Runs programs.
    Daemon(Box<D>),
    /// Decides the order.
    Order(Box<TotalOrder>),
}

impl<D: Follower> Node<D> {
    /// The one for this number.
    pub fn new(node: NodeId, daemon: impl FnOnce(NodeId) -> D) -> Self {
        match node {
            ORDER => Node::Order(Box::new(TotalOrder::new())),
            _ => Node::Daemon(Box::new(daemon(node))),
        }
    }

    /// If it is one.
    pub fn daemon(&self) -> Option<&D> {
        match self {
            Node::Daemon(d) => Some(d),
            Node::Order(_) => None,
        }
    }
}

impl<D: Follower> OverOrder for Node<D> {
    fn order(&self) -> Option<&TotalOrder> {
        match self {
            Node::Daemon(_) => None,
            Node::Order(o) => Some(o),
        }
    }

    fn first_limit(&self) -> Option<u64> {
        self.daemon().and_then(D::first_limit)
    }
}

impl<D: Follower> Actor for Node<D> {
    type Note = Note;

    fn start(&mut self, fx: &mut Effects<'_, Note>) {
        match self {
            Node::Daemon(d) => d.start(fx),
            Node::Order(o) => o.start(fx),
        }
    }

    fn message(&mut self, from: NodeId, bytes: &[u8], fx: &mut Effects<'_, Note>) {
        let Some(packet) = Packet::decode(bytes) else { return };
        match self {
            Node::Daemon(d) => d.message(from, packet, fx),
            Node::Order(o) => o.message(from, packet, fx),
        }
    }

    fn timer(&mut self, _: u64, fx: &mut Effects<'_, Note>) {
        match self {
            Node::Daemon(d) => d.timer(fx),
            Node::Order(o) => o.timer(fx),
        }
    }

    fn synced(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        if let Node::Order(o) = self {
            o.synced(id, fx);
        }
    }

    fn describe(bytes: &[u8]) -> String {
        Packet::describe(bytes)
    }
}

/// A world of daemons and their order, in which nothing is expected yet.
pub(crate) fn world<D: Follower>(
    seed: u64,
    faults: Faults,
    mut daemon: impl FnMut(NodeId) -> D + 'static,
) -> World<Node<D>> {
    World::new(seed, DAEMONS + 1, faults, move |node| Node::new(node, &mut daemon))
}

/// Lets a world run with its faults for so long, and heal.
///
/// # Errors
/// What was not so.
pub(crate) fn run<D: Follower>(world: &mut World<Node<D>>, rough_ns: u64) -> Result<(), Violation> {
    world.run_for(rough_ns)?;
    world.heal();
    world.run_for(MS)?;
    for node in world.nodes() {
        if let Some(Node::Daemon(daemon)) = world.actor_mut(node) {
            daemon.quiet();
        }
    }
    world.run_for(CALM_NS)?;
    world.finish()
}
