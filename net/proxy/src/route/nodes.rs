//! What the router knows of each other node: whether it is there, and what waits for credit.

use dvs_abi::NodeId;
use dvs_abi::limits::{NODES_MAX, RECORD_COST, ROUTE_HELD_BYTES, ROUTE_HELD_MAX};
use dvs_kern::rendezvous::LaneKey;
use dvs_wire::Frame;
use std::collections::VecDeque;

/// What waits for credit. Rarely many, hence not boxed.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Held {
    Frame(Frame<'static>),
    Control(Vec<u8>),
}

impl Held {
    fn cost(&self) -> usize {
        match self {
            Held::Frame(_) => 0,
            Held::Control(bytes) => bytes.len() + RECORD_COST,
        }
    }
}

/// One node.
#[derive(Debug, Default)]
pub(super) struct Peer {
    up: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
    stalled: Vec<LaneKey>,
}

/// All nodes, by their number.
#[derive(Debug)]
pub(super) struct Peers {
    table: Vec<Peer>,
}

impl Default for Peers {
    fn default() -> Self {
        Peers { table: (0..NODES_MAX).map(|_| Peer::default()).collect() }
    }
}

impl Peers {
    fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.table.get_mut(node.0 as usize)
    }

    pub fn up(&mut self, node: NodeId) {
        if let Some(p) = self.get_mut(node) {
            *p = Peer { up: true, ..Peer::default() };
        }
    }

    pub fn down(&mut self, node: NodeId) {
        if let Some(p) = self.get_mut(node) {
            *p = Peer::default();
        }
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        self.table.get(node.0 as usize).is_some_and(|p| p.up)
    }

    pub fn holds(&self, node: NodeId) -> bool {
        self.table.get(node.0 as usize).is_some_and(|p| !p.held.is_empty())
    }

    /// Keeps a frame until there is credit. False when too much waits: the node takes too little of what it
    /// is sent, and since it must miss nothing, the session with it has to end.
    #[must_use]
    pub fn hold(&mut self, node: NodeId, frame: Held) -> bool {
        let Some(p) = self.get_mut(node).filter(|p| p.up) else { return true };
        let bytes = p.held_bytes + frame.cost();
        if p.held.len() >= ROUTE_HELD_MAX || bytes > ROUTE_HELD_BYTES {
            return false;
        }
        p.held_bytes = bytes;
        p.held.push_back(frame);
        true
    }

    /// Sends what is held until `send` refuses; true when all is gone.
    pub fn release(&mut self, node: NodeId, send: &mut impl FnMut(&Frame<'_>) -> bool) -> bool {
        let Some(p) = self.get_mut(node) else { return false };
        while let Some(frame) = p.held.front() {
            let sent = match frame {
                Held::Frame(frame) => send(frame),
                Held::Control(bytes) => send(&Frame::Control { bytes }),
            };
            if !sent {
                return false;
            }
            p.held_bytes -= frame.cost();
            p.held.pop_front();
        }
        true
    }

    /// A lane to a node without credit: it is looked at again when there is some.
    pub fn stall(&mut self, node: NodeId, key: LaneKey) {
        if let Some(p) = self.get_mut(node).filter(|p| !p.stalled.contains(&key)) {
            p.stalled.push(key);
        }
    }

    pub fn take_stalled(&mut self, node: NodeId) -> Vec<LaneKey> {
        self.get_mut(node).map_or_else(Vec::new, |p| std::mem::take(&mut p.stalled))
    }
}
