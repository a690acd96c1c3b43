//! A node: replicas or clients.

use super::REPLICAS;
use super::client::Clients;
use super::host::Host;
use super::wire::{Note, Packet};
use crate::actor::{Actor, Effects};
use dvs_abi::NodeId;

/// A node.
pub enum Node {
    /// With replicas.
    Host(Box<Host>),
    /// With clients.
    Clients(Box<Clients>),
}

impl Node {
    /// The one for this number.
    pub fn new(node: NodeId) -> Self {
        match node.0 < REPLICAS {
            true => Node::Host(Box::default()),
            false => Node::Clients(Box::default()),
        }
    }

    /// If it has replicas.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Node::Host(h) => Some(h),
            Node::Clients(_) => None,
        }
    }

    /// If it has clients.
    pub fn clients(&self) -> Option<&Clients> {
        match self {
            Node::Clients(c) => Some(c),
            Node::Host(_) => None,
        }
    }

    pub(super) fn quiet(&mut self) {
        match self {
            Node::Host(h) => h.quiet(),
            Node::Clients(c) => c.quiet(),
        }
    }
}

impl Actor for Node {
    type Note = Note;

    fn start(&mut self, fx: &mut Effects<'_, Note>) {
        match self {
            Node::Host(h) => h.start(fx),
            Node::Clients(c) => c.start(fx),
        }
    }

    fn message(&mut self, from: NodeId, bytes: &[u8], fx: &mut Effects<'_, Note>) {
        let Some(packet) = Packet::decode(bytes) else { return };
        match self {
            Node::Host(h) => h.message(from, packet, fx),
            Node::Clients(c) => c.message(from, packet, fx),
        }
    }

    fn timer(&mut self, _: u64, fx: &mut Effects<'_, Note>) {
        match self {
            Node::Host(h) => h.timer(fx),
            Node::Clients(c) => c.timer(fx),
        }
    }

    fn synced(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        if let Node::Host(h) = self {
            h.synced(id, fx);
        }
    }

    fn describe(bytes: &[u8]) -> String {
        Packet::describe(bytes)
    }
}
