//! What a node is in a world: a state machine that hears what happens and says what it wants done.
//!
//! ```text
//!   start ─┐                                  ┌─► send, to a node
//!   message┼──► Actor (state) ──► Effects ────┼─► after, a timer
//!   timer ─┤                                  ├─► disk writes, sync
//!   synced ┘                                  └─► note, for invariants and the trace
//! ```
//! A node that loses its power loses its actor. When it is back a new one is made, whose `start` finds on the
//! disk what survived.

use crate::disk::Disk;
use crate::random::Random;
use dvs_abi::NodeId;
use std::fmt;

/// A node. It must not look at anything but what it is given: no clock, no chance of its own, no map whose
/// order differs from run to run.
pub trait Actor {
    /// What it tells the invariants that cannot be seen in its state.
    type Note: fmt::Debug;

    /// The node has power. Its disk may have something from before.
    fn start(&mut self, fx: &mut Effects<'_, Self::Note>);

    /// A message has come. It may be old, come twice or not be for this life of the node.
    fn message(&mut self, from: NodeId, bytes: &[u8], fx: &mut Effects<'_, Self::Note>);

    /// A timer has run off, possibly late, never early.
    fn timer(&mut self, id: u64, fx: &mut Effects<'_, Self::Note>);

    /// All writes before the call of [`Effects::sync`] with this number are on the disk for good.
    fn synced(&mut self, id: u64, fx: &mut Effects<'_, Self::Note>) {
        let _ = (id, fx);
    }

    /// What stands in for connections with this node between the two has broken them. For nodes that keep
    /// connections.
    fn broken(&mut self, other: NodeId, fx: &mut Effects<'_, Self::Note>) {
        let _ = (other, fx);
    }

    /// A message in words, for the trace.
    fn describe(bytes: &[u8]) -> String {
        format!("{} bytes", bytes.len())
    }
}

/// What an actor wants done.
#[derive(Debug)]
pub(crate) enum Wish<N> {
    Send(NodeId, Vec<u8>),
    Timer(u64, u64),
    Sync(u64),
    Note(N),
    End(u64),
}

/// What an actor may see and want during one call.
#[derive(Debug)]
pub struct Effects<'a, N> {
    me: NodeId,
    now: u64,
    random: &'a mut Random,
    disk: &'a mut Disk,
    pub(crate) wishes: Vec<Wish<N>>,
}

impl<'a, N> Effects<'a, N> {
    /// For a test of one actor alone.
    pub fn new(me: NodeId, now: u64, random: &'a mut Random, disk: &'a mut Disk) -> Self {
        Effects { me, now, random, disk, wishes: Vec::new() }
    }

    /// Which node this is.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// What this node's clock shows, in nanoseconds. It may run wrong, but not backwards.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Chance, from the seed of the world.
    pub fn random(&mut self) -> &mut Random {
        self.random
    }

    /// This node's disk. Writes are durable after a sync.
    pub fn disk(&mut self) -> &mut Disk {
        self.disk
    }

    /// Sends a message. Nobody says whether it arrives.
    pub fn send(&mut self, to: NodeId, bytes: Vec<u8>) {
        self.wishes.push(Wish::Send(to, bytes));
    }

    /// Calls [`Actor::timer`] with this number after so many nanoseconds of this node's clock.
    pub fn after(&mut self, ns: u64, id: u64) {
        self.wishes.push(Wish::Timer(ns, id));
    }

    /// Calls [`Actor::synced`] with this number when all writes so far are durable. Syncs end in their order.
    pub fn sync(&mut self, id: u64) {
        self.wishes.push(Wish::Sync(id));
    }

    /// The program of this node ends, after what it wanted before, and is started again so much later. Its
    /// disk is as it wrote it: the machine goes on.
    pub fn end(&mut self, again_after: u64) {
        self.wishes.push(Wish::End(again_after));
    }

    /// Tells the invariants and the trace.
    pub fn note(&mut self, note: N) {
        self.wishes.push(Wish::Note(note));
    }
}
