//! A node of a world over one log: a daemon that follows the log, the order that decides it alone, or a
//! daemon that decides it with the others.

use crate::actor::{Actor, Effects, Wish};
use crate::control::order::TotalOrder;
use crate::control::wire::{Note, Packet};
use crate::control::{DAEMONS, MS, ORDER};
use crate::council::{Council, LOOK, Truth, strike};
use crate::faults::Faults;
use crate::invariant::Violation;
use crate::invariants::{Log, OverOrder};
use crate::world::World;
use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_control::state::State;

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

    /// Something happens to its node: what comes before anything else.
    fn wakes(&mut self) {}

    /// Looks at its clock: before anything else happens.
    fn look_at_clock(&mut self, fx: &mut Effects<'_, Note>);

    /// People want nothing new of it any more.
    fn quiet(&mut self);

    /// Until when the bind waits here that waits least.
    fn first_limit(&self) -> Option<u64>;

    /// In which incarnation it holds a lease, at this time of its clock.
    fn holds(&self, now: u64) -> Option<Epoch>;

    /// How many entries it has applied, and what follows from them.
    fn state(&self) -> (u64, &State);

    /// Has a node declared lost, as this node leads; false if it cannot now.
    fn lose(&mut self, node: NodeId, incarnation: Epoch, fx: &mut Effects<'_, Note>) -> bool;

    /// This node leads.
    fn leads(&mut self, fx: &mut Effects<'_, Note>) {
        let _ = fx;
    }

    /// Its command with this number is not done: it was for a leader only.
    fn refused(&mut self, number: u64, fx: &mut Effects<'_, Note>);

    /// Its connections with a node have broken.
    fn broken(&mut self, other: NodeId, fx: &mut Effects<'_, Note>) {
        let _ = (other, fx);
    }

    /// Brings what this node's part in deciding the order says to that of another node.
    fn carry(&mut self, to: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        fx.send(to, packet.encode());
    }

    /// What it has brought to this node's.
    fn carried(&mut self) -> Vec<(NodeId, Packet)> {
        Vec::new()
    }
}

/// A node.
#[derive(Debug)]
pub enum Node<D> {
    /// Runs programs.
    Daemon(Box<D>),
    /// Decides the order.
    Order(Box<TotalOrder>),
    /// Runs programs, and decides the order with the others.
    Peer(Box<Peer<D>>),
}

/// A daemon and its node's part in the council.
#[derive(Debug)]
pub struct Peer<D> {
    daemon: D,
    council: Council,
}

impl<D: Follower> Peer<D> {
    /// What the daemon wants of the order goes to the council, what the council has for it to the daemon,
    /// until nobody wants anything.
    fn settle(&mut self, fx: &mut Effects<'_, Note>) {
        loop {
            for (from, packet) in self.daemon.carried() {
                if let Some(packet) = self.council.message(from, packet, &self.daemon, fx) {
                    self.daemon.message(from, packet, fx);
                }
            }
            for wish in std::mem::take(&mut fx.wishes) {
                match wish {
                    Wish::Send(ORDER, bytes) => {
                        let packet = Packet::decode(&bytes);
                        packet.into_iter().for_each(|p| self.council.order(p, &mut self.daemon, fx));
                    }
                    other => fx.wishes.push(other),
                }
            }
            for packet in self.council.turn(&mut self.daemon, fx) {
                self.daemon.message(ORDER, packet, fx);
            }
            while let Some(entries) = self.council.entries(self.daemon.state().0) {
                self.daemon.message(ORDER, entries, fx);
            }
            let asks = |w: &Wish<Note>| matches!(w, Wish::Send(ORDER, _));
            if !self.council.waits() && !fx.wishes.iter().any(asks) {
                return;
            }
        }
    }
}

impl<D: Follower> Node<D> {
    /// The one for this number.
    pub fn new(node: NodeId, daemon: impl FnOnce(NodeId) -> D) -> Self {
        match node {
            ORDER => Node::Order(Box::new(TotalOrder::new())),
            _ => Node::Daemon(Box::new(daemon(node))),
        }
    }

    /// One that decides the order with the others.
    pub fn peer(daemon: D, council: Council) -> Self {
        Node::Peer(Box::new(Peer { daemon, council }))
    }

    /// If it is one.
    pub fn daemon(&self) -> Option<&D> {
        match self {
            Node::Daemon(d) => Some(d),
            Node::Peer(p) => Some(&p.daemon),
            Node::Order(_) => None,
        }
    }

    /// Its part in deciding the order, if it has one.
    pub fn council(&self) -> Option<&Council> {
        match self {
            Node::Peer(p) => Some(&p.council),
            Node::Daemon(_) | Node::Order(_) => None,
        }
    }

    fn wakes(&mut self) {
        match self {
            Node::Daemon(d) => d.wakes(),
            Node::Peer(p) => p.daemon.wakes(),
            Node::Order(_) => {}
        }
    }

    /// People want nothing new any more.
    fn quiet(&mut self) {
        match self {
            Node::Daemon(d) => d.quiet(),
            Node::Peer(p) => {
                p.daemon.quiet();
                p.council.quiet();
            }
            Node::Order(_) => {}
        }
    }
}

impl<D: Follower> OverOrder for Node<D> {
    fn decided<T>(&self, look: impl FnOnce(&Log<'_>) -> T) -> Option<T> {
        match self {
            Node::Daemon(_) => None,
            Node::Order(o) => Some(look(&Log { state: o.state(), count: o.committed() })),
            Node::Peer(p) => {
                let truth = p.council.truth().borrow();
                Some(look(&Log { state: truth.state(), count: truth.count() }))
            }
        }
    }

    fn tail(&self, entries: usize) -> String {
        match self {
            Node::Daemon(_) => String::new(),
            Node::Order(o) => o.tail(entries),
            Node::Peer(p) => p.council.truth().borrow().tail(entries),
        }
    }

    fn differs(&self) -> Option<u64> {
        match self {
            Node::Peer(p) => p.council.truth().borrow().differs(),
            Node::Daemon(_) | Node::Order(_) => None,
        }
    }

    fn first_limit(&self) -> Option<u64> {
        self.daemon().and_then(D::first_limit)
    }

    fn holds(&self, now: u64) -> Option<Epoch> {
        self.daemon().and_then(|d| d.holds(now))
    }
}

impl<D: Follower> Actor for Node<D> {
    type Note = Note;

    fn start(&mut self, fx: &mut Effects<'_, Note>) {
        match self {
            Node::Daemon(d) => d.start(fx),
            Node::Order(o) => o.start(fx),
            Node::Peer(p) => {
                p.council.start(fx);
                p.daemon.start(fx);
                for (node, packet) in p.council.greetings() {
                    p.daemon.carry(node, packet, fx);
                }
                p.settle(fx);
            }
        }
    }

    fn message(&mut self, from: NodeId, bytes: &[u8], fx: &mut Effects<'_, Note>) {
        let Some(packet) = Packet::decode(bytes) else { return };
        self.wakes();
        match self {
            Node::Daemon(d) => d.message(from, packet, fx),
            Node::Order(o) => o.message(from, packet, fx),
            Node::Peer(p) => {
                p.daemon.look_at_clock(fx);
                if let Some(packet) = p.council.message(from, packet, &p.daemon, fx) {
                    p.daemon.message(from, packet, fx);
                }
                p.settle(fx);
            }
        }
    }

    fn timer(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        self.wakes();
        match self {
            Node::Daemon(d) => d.timer(fx),
            Node::Order(o) => o.timer(fx),
            Node::Peer(p) => {
                p.daemon.look_at_clock(fx);
                match id {
                    LOOK => p.council.look(&mut p.daemon, fx),
                    _ => p.daemon.timer(fx),
                }
                p.settle(fx);
            }
        }
    }

    fn synced(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        self.wakes();
        match self {
            Node::Daemon(_) => {}
            Node::Order(o) => o.synced(id, fx),
            Node::Peer(p) => {
                p.daemon.look_at_clock(fx);
                p.council.synced(id);
                p.settle(fx);
            }
        }
    }

    fn broken(&mut self, other: NodeId, fx: &mut Effects<'_, Note>) {
        self.wakes();
        match self {
            Node::Daemon(d) => {
                d.look_at_clock(fx);
                d.broken(other, fx);
            }
            Node::Order(_) => {}
            Node::Peer(p) => {
                p.daemon.look_at_clock(fx);
                p.daemon.broken(other, fx);
                p.settle(fx);
            }
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

/// The same without an order: the daemons decide it by real consensus.
pub(crate) fn council<D: Follower>(
    seed: u64,
    faults: Faults,
    mut daemon: impl FnMut(NodeId) -> D + 'static,
) -> World<Node<D>> {
    let truth = Truth::default();
    World::new(seed, DAEMONS, faults, move |node| Node::peer(daemon(node), Council::new(node, truth.clone())))
}

/// Lets a world run with its faults for so long, and heal.
///
/// # Errors
/// What was not so.
pub(crate) fn run<D: Follower>(world: &mut World<Node<D>>, rough_ns: u64) -> Result<(), Violation> {
    strike::rough(world, rough_ns)?;
    world.heal();
    world.run_for(MS)?;
    for node in world.nodes() {
        if let Some(actor) = world.actor_mut(node) {
            actor.quiet();
        }
    }
    world.run_for(CALM_NS)?;
    world.finish()
}
