//! Circles of waits: found by following who waits for whom, also from node to node.
//!
//! Every blocked session writes on its board whom it waits for; a session that has been blocked for long asks
//! for a check. The chain is followed here as far as it stays on this node. Where it leaves, it is sent to
//! the node of the next endpoint (`Record::Probe`), which goes on. When the next endpoint is already in the
//! chain, that part of the chain is a circle, and its youngest call fails. Boards are read without a lock, so
//! a wait that has only just begun may be over: a circle whose youngest wait is younger than [`SETTLED_NS`]
//! is left alone; that wait will ask for itself.
//!
//! # Over several nodes
//! Each member asks, at its own time, so one circle is found several times; and clocks of two nodes are not
//! compared, so each finder could take another call for the youngest. Hence one member decides: the
//! *judge*, the
//! smallest endpoint of the circle. Every call waits for one endpoint, so a call is in one circle at most,
//! and whoever finds the circle names the same judge.
//!
//! ```text
//!   any finder ──Probe{chain: [], next: judge}──▶ node of the judge
//!                                                    │ follows from there, once round
//!                                                    ▼
//!              youngest call's node ◀──Victim── back at the judge: decides, and remembers the calls
//! ```
//!
//! The ages are read one after the other on the way round: each is too great, by as much as the whole way
//! took at most. Calls that are no further from the youngest than that cannot be told from it. The judge
//! then measures again, [`ROUNDS`] times at most; of those that are still not told apart, which the youngest
//! is always among, the greatest endpoint fails. So the choice never depends on the order of reading. A
//! circle of which a call was already decided about is not judged again for [`JUDGED_NS`]; who still waits
//! in it then asks again, because what was decided may have been lost with a connection.

use super::Node;
use super::dispatch::{DONE, Outcome};
use super::event::Command;
use super::record::{Hop, Record};
use crate::control::board;
use dvs_abi::limits::{DEADLOCK_CHECK_NS, NODE_JUDGED_MAX, WAIT_CHAIN_MAX};
use dvs_abi::{Endpoint, Error};
use std::collections::VecDeque;

/// A wait is believed when it has lasted so long.
pub const SETTLED_NS: u64 = DEADLOCK_CHECK_NS / 4;

/// How often a judge measures the ages in a circle whose youngest calls began at nearly the same time.
const ROUNDS: u32 = 4;

/// How long a decision is remembered: by then everybody that was in the circle has asked.
const JUDGED_NS: u64 = 5 * DEADLOCK_CHECK_NS;

/// A call of a circle, by container, endpoint and number.
type CallName = (u16, i32, u64);

/// What this node knows of circles it is the judge of.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Calls of circles that were decided about, and when; oldest first.
    decided: VecDeque<(u64, CallName)>,
    /// Circles that are measured again, by the judge's call: since when, and how often they were.
    again: Vec<(CallName, u64, u32)>,
}

impl Judged {
    fn knows(&self, call: CallName, now: u64) -> bool {
        self.decided.iter().any(|(at, c)| *c == call && now.saturating_sub(*at) < JUDGED_NS)
    }

    fn add(&mut self, call: CallName, now: u64) {
        if self.decided.len() >= NODE_JUDGED_MAX {
            self.decided.pop_front();
        }
        self.decided.push_back((now, call));
    }

    /// Whether the circle of this call may be measured once more.
    fn once_more(&mut self, call: CallName, now: u64) -> bool {
        self.again.retain(|(_, since, _)| now.saturating_sub(*since) < JUDGED_NS);
        if let Some((_, _, done)) = self.again.iter_mut().find(|(c, ..)| *c == call) {
            *done += 1;
            return *done < ROUNDS;
        }
        let room = self.again.len() < NODE_JUDGED_MAX;
        if room {
            self.again.push((call, now, 1));
        }
        room
    }
}

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
                return self.found(dc, &chain[start..], start == 0);
            }
            let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(Endpoint::from_raw(next).slot())) else {
                return;
            };
            if d.is_remote() {
                return self.send_probe(dc, d.node.0, chain, next);
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

    fn send_probe(&mut self, dc: u16, node: u16, chain: Vec<Hop>, next: i32) {
        if self.peers.get(&node).is_some_and(|p| p.up) {
            self.out.push(Command::Control { node, record: Record::Probe { dc, chain, next } });
        }
    }

    /// A circle. `whole` = the chain began in it.
    fn found(&mut self, dc: u16, circle: &[Hop], whole: bool) {
        let Some(judge) = circle.iter().min_by_key(|h| h.endpoint).copied() else { return };
        let me = self.config.me.0;
        // Once round, from the judge on: these are the ages it judges by.
        let round = whole && circle[0].endpoint == judge.endpoint;
        if judge.node != me {
            let chain = if round { circle.to_vec() } else { Vec::new() };
            return self.send_probe(dc, judge.node, chain, judge.endpoint);
        }
        let near = circle.iter().all(|h| h.node == me);
        if !near && !round {
            return self.follow(dc, Vec::new(), judge.endpoint);
        }
        // How long ago the first age was read; the others were later.
        let took = match self.boards.get(&(dc, judge.endpoint)) {
            Some(w) if w.call == judge.call => self.now.saturating_sub(w.since).saturating_sub(judge.age),
            _ => return,
        };
        self.judge(dc, circle, judge, if near { 0 } else { took });
    }

    fn judge(&mut self, dc: u16, circle: &[Hop], judge: Hop, took: u64) {
        let now = self.now;
        if circle.iter().any(|h| self.judged.knows((dc, h.endpoint, h.call), now)) {
            return;
        }
        let Some(least) = circle.iter().map(|h| h.age).min() else { return };
        if least < SETTLED_NS {
            return;
        }
        let mut young: Vec<Hop> = circle.iter().filter(|h| h.age - least <= took).copied().collect();
        let name = (dc, judge.endpoint, judge.call);
        if young.len() > 1 && took > 0 && self.judged.once_more(name, now) {
            return self.follow(dc, Vec::new(), judge.endpoint);
        }
        young.sort_unstable_by_key(|h| h.endpoint);
        let victim = young.pop();
        let Some(Hop { endpoint, call, node, .. }) = victim else { return };
        for h in circle {
            self.judged.add((dc, h.endpoint, h.call), now);
        }
        let cycle: Vec<i32> = circle.iter().map(|h| h.endpoint).collect();
        if node == self.config.me.0 {
            self.victim(dc, endpoint, call, cycle);
        } else if self.peers.get(&node).is_some_and(|p| p.up) {
            let record = Record::Victim { dc, endpoint, call, cycle };
            self.out.push(Command::Control { node, record });
        }
    }
}
