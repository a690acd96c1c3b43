//! A node of the simulated control plane: a daemon or the order.

use super::ORDER;
use super::daemon::Daemon;
use super::order::TotalOrder;
use super::wire::{Note, Packet};
use crate::actor::{Actor, Effects};
use dvs_abi::NodeId;

/// A node.
#[derive(Debug)]
pub enum Node {
    /// Runs programs.
    Daemon(Box<Daemon>),
    /// Decides the order.
    Order(Box<TotalOrder>),
}

impl Node {
    /// The one for this number.
    pub fn new(node: NodeId) -> Self {
        if node == ORDER {
            Node::Order(Box::new(TotalOrder::new()))
        } else {
            Node::Daemon(Box::new(Daemon::new(node)))
        }
    }

    /// If it is one.
    pub fn daemon(&self) -> Option<&Daemon> {
        match self {
            Node::Daemon(d) => Some(d),
            Node::Order(_) => None,
        }
    }

    /// If it is that.
    pub fn order(&self) -> Option<&TotalOrder> {
        match self {
            Node::Order(o) => Some(o),
            Node::Daemon(_) => None,
        }
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
            Node::Daemon(d) => d.message(packet, fx),
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
