//! A node of the simulated cluster: a daemon or the order.

use super::daemon::Daemon;
use super::store::Shared;
use crate::actor::{Actor, Effects};
use crate::control::ORDER;
use crate::control::order::TotalOrder;
use crate::control::wire::{Note, Packet};
use crate::invariants::OverOrder;
use dvs_abi::NodeId;

/// A node.
pub enum Node {
    /// Runs programs.
    Daemon(Box<Daemon>),
    /// Decides the order.
    Order(Box<TotalOrder>),
}

impl Node {
    /// The one for this number.
    pub fn new(node: NodeId, store: Shared) -> Self {
        match node {
            ORDER => Node::Order(Box::new(TotalOrder::new())),
            _ => Node::Daemon(Box::new(Daemon::new(node, store))),
        }
    }

    /// If it is one.
    pub fn daemon(&self) -> Option<&Daemon> {
        match self {
            Node::Daemon(d) => Some(d),
            Node::Order(_) => None,
        }
    }
}

impl OverOrder for Node {
    fn order(&self) -> Option<&TotalOrder> {
        match self {
            Node::Daemon(_) => None,
            Node::Order(o) => Some(o),
        }
    }

    fn first_limit(&self) -> Option<u64> {
        self.daemon().and_then(Daemon::first_limit)
    }
}

impl Actor for Node {
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
