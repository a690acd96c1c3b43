//! Circles of waits: found by following who waits for whom, also from node to node.
//!
//! Every blocked session writes on its board whom it waits for; a session that has been blocked for long asks
//! for a check. The chain is followed here as far as it stays on this node. Where it leaves, it is sent to
//! the node of the next endpoint (`Record::Probe`), which goes on. When the next endpoint is already in the
//! chain, that part of the chain is a circle, and its youngest call fails. Boards are read without a lock, so
//! a wait that has only just begun may be over: a circle whose youngest wait is younger than [`SETTLED_NS`]
//! is left alone; that wait will ask for itself.

use super::Node;
use super::dispatch::{DONE, Outcome};
use super::event::Command;
use super::record::{Hop, Record};
use crate::control::board;
use dvs_abi::limits::{DEADLOCK_CHECK_NS, WAIT_CHAIN_MAX};
use dvs_abi::{Endpoint, Error};

/// A wait is believed when it has lasted so long.
pub const SETTLED_NS: u64 = DEADLOCK_CHECK_NS / 4;

/// One wait, as read from a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Waiting {
    pub dc: u16,
    pub endpoint: i32,
    /// One of the states of [`board`].
    pub state: u8,
    /// Whom it waits for, ANY for nobody in particular.
    pub peer: i32,
    pub since: u64,
    pub call: u64,
}

impl Node {
    /// What the boards said just now.
    pub(crate) fn set_boards(&mut self, waiting: Vec<Waiting>) {
        self.boards = waiting.into_iter().map(|w| ((w.dc, w.endpoint), w)).collect();
    }

    pub(crate) fn deadlock_check(&mut self, dc: u16, endpoint: i32, call: u64) -> Result<Outcome, Error> {
        self.dc(dc)?;
        if self.boards.get(&(dc, endpoint)).is_some_and(|w| w.call == call) {
            self.follow(dc, Vec::new(), endpoint);
        }
        Ok(DONE)
    }

    /// A chain that came from another node.
    pub(crate) fn probe(&mut self, dc: u16, chain: Vec<Hop>, next: i32) {
        if chain.len() <= WAIT_CHAIN_MAX {
            self.follow(dc, chain, next);
        }
    }

    fn follow(&mut self, dc: u16, mut chain: Vec<Hop>, mut next: i32) {
        let me = self.config.me;
        while chain.len() < WAIT_CHAIN_MAX {
            if let Some(start) = chain.iter().position(|h| h.endpoint == next) {
                return self.break_circle(dc, &chain[start..]);
            }
            let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(Endpoint::from_raw(next).slot())) else {
                return;
            };
            if d.is_remote() {
                let node = d.node.0;
                if !chain.is_empty() && self.peers.get(&node).is_some_and(|p| p.up) {
                    self.out.push(Command::Control { node, record: Record::Probe { dc, chain, next } });
                }
                return;
            }
            let Some(w) = self.boards.get(&(dc, next)) else { return };
            if w.state == board::IDLE || w.peer == Endpoint::ANY.raw() {
                return;
            }
            let age = self.now.saturating_sub(w.since);
            chain.push(Hop { endpoint: next, call: w.call, age, node: me.0 });
            next = w.peer;
        }
    }

    fn break_circle(&mut self, dc: u16, circle: &[Hop]) {
        // Two equally old calls: the greater endpoint, so that every node chooses the same.
        let Some(victim) = circle.iter().min_by_key(|h| (h.age, -(h.endpoint as i64))).copied() else {
            return;
        };
        if victim.age < SETTLED_NS {
            return;
        }
        let cycle: Vec<i32> = circle.iter().map(|h| h.endpoint).collect();
        let Hop { endpoint, call, node, .. } = victim;
        if node == self.config.me.0 {
            let still = self.boards.get(&(dc, endpoint)).is_some_and(|w| w.call == call);
            if still {
                self.victim(dc, endpoint, call, cycle);
            }
        } else if self.peers.get(&node).is_some_and(|p| p.up) {
            let record = Record::Victim { dc, endpoint, call, cycle };
            self.out.push(Command::Control { node, record });
        }
    }
}
