//! The slots of one container that this node was leased: what it hands out, when it wants more, what it gives
//! back.
//!
//! A bind takes a free slot and asks nobody. When few are left more are asked for ahead of need, in pieces
//! that double while asks follow each other closely. When none is left binds wait, and the ask is urgent.
//!
//! ```text
//!   free:  0 ········ chunk/2 ················· 3·chunk ·········
//!          │             │                          │
//!     binds wait     ask ahead of need       give back, after a while
//!     urgent ask     (not again at once
//!                     when refused)
//! ```
//! What it wants of the replicated state it says in [`SlotRequest`]s, which the caller repeats until they are
//! in the log; what came of them it hears as [`SlotChange`]s.

use super::{Ask, SlotChange, SlotRequest};
use dvs_abi::NodeId;
use dvs_abi::limits::{LEASE_ASK_MAX, LEASE_ASK_MIN};
use std::collections::VecDeque;

/// When what was asked for came whole and is used up within this time, twice as much is asked for.
const CLOSE_NS: u64 = 1_000_000_000;
/// How long more than enough must be free before some is given back, and between two halvings of the chunk.
const CALM_NS: u64 = 5_000_000_000;
/// How long not to ask ahead of need after that gave nothing; twice as long each time, up to [`CLOSE_NS`].
const REFUSED_NS: u64 = 50_000_000;

/// An ask that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ask: Ask,
    /// Binds that had come to wait when it was made, ever.
    binds: u64,
}

/// The slots leased to this node.
#[derive(Debug)]
pub struct Holding {
    me: NodeId,
    /// Longest free first.
    free: VecDeque<i32>,
    /// Binds that wait for a slot, and how many ever did.
    waiting: usize,
    waited: u64,
    asked: Option<Asked>,
    asks: u64,
    chunk: u32,
    /// When some came last, and whether as many as were asked for.
    came: Option<(u64, bool)>,
    /// Not to ask ahead of need before that, and how long the next such pause is.
    pause: (u64, u64),
    /// Since when more is free than is needed, or since the chunk was halved.
    calm_since: u64,
}

impl Holding {
    /// Nothing yet.
    pub fn new(me: NodeId) -> Self {
        Holding {
            me,
            free: VecDeque::new(),
            waiting: 0,
            waited: 0,
            asked: None,
            asks: 0,
            chunk: LEASE_ASK_MIN,
            came: None,
            pause: (0, REFUSED_NS),
            calm_since: 0,
        }
    }

    /// Slots that could be handed out at once.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Binds that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// A slot for a bind; with none, the bind waits ([`Holding::leave`] ends that) and takes again when
    /// [`Holding::hear`] or [`Holding::put_back`] brought one.
    pub fn take(&mut self, now: u64, out: &mut Vec<SlotRequest>) -> Option<i32> {
        let slot = self.free.pop_front();
        if slot.is_none() {
            self.waiting += 1;
            self.waited += 1;
        }
        self.provide(now, out);
        slot
    }

    /// A waiting bind has given up, or is about to take again.
    pub fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The program bound to a slot ended.
    pub fn put_back(&mut self, slot: i32) {
        self.free.push_back(slot);
    }

    /// A slot is taken by its number; false if it is not free here.
    pub fn withhold(&mut self, slot: i32) -> bool {
        let found = self.free.iter().position(|s| *s == slot);
        found.is_some_and(|at| self.free.remove(at).is_some())
    }

    /// Whether a slot could be handed out at once.
    pub fn has(&self, slot: i32) -> bool {
        self.free.contains(&slot)
    }

    /// An ask was refused as such, or is over without an answer: it is made again after a while.
    pub fn unask(&mut self, number: u64, now: u64) {
        if self.asked.take_if(|a| a.ask.number == number).is_some() {
            self.pause_until(now);
        }
    }

    fn pause_until(&mut self, now: u64) {
        self.pause = (now + self.pause.1, (2 * self.pause.1).min(CLOSE_NS));
    }

    /// When to call [`Holding::tick`], if nothing else happens before; in the past for at once.
    pub fn wake_at(&self) -> Option<u64> {
        let few = self.free.len() < self.chunk as usize / 2 || self.waiting > 0;
        let ask = (few && self.asked.is_none()).then_some(self.pause.0);
        let surplus = self.free.len() > 3 * self.chunk as usize && self.asked.is_none();
        let calm = (surplus || self.chunk > LEASE_ASK_MIN).then_some(self.calm_since + CALM_NS);
        ask.into_iter().chain(calm).min()
    }

    /// The node is to have none any more, and has ended its programs and put their slots back: all are given,
    /// nothing is wanted. Binds that wait are the caller's to refuse. Later recalls are answered as ever.
    pub fn close(&mut self, out: &mut Vec<SlotRequest>) {
        (self.waiting, self.asked) = (0, None);
        let slots = self.free.drain(..).collect();
        out.push(SlotRequest::Give { round: 0, slots });
    }

    /// A change of the container. Says how many of the binds that have waited longest are to be refused.
    pub fn hear(&mut self, change: &SlotChange, now: u64, out: &mut Vec<SlotRequest>) -> usize {
        match change {
            SlotChange::Leased { node, ask, slots } if *node == self.me => {
                self.free.extend(slots);
                let asked = self.asked.take_if(|a| a.ask.number == *ask);
                if *ask == 0 {
                    // It was claimed.
                } else if slots.is_empty() {
                    self.pause_until(now);
                } else {
                    self.came = Some((now, asked.is_some_and(|a| slots.len() >= a.ask.slots as usize)));
                    self.pause.1 = REFUSED_NS;
                }
                0
            }
            SlotChange::Recall { node, round, wanted } if *node == self.me => {
                // The larger half: one that has a single slot gives it.
                let spare = if self.waiting > 0 { 0 } else { self.free.len().div_ceil(2) };
                let slots = self.free.drain(..spare.min(*wanted as usize)).collect();
                out.push(SlotRequest::Give { round: *round, slots });
                0
            }
            SlotChange::Wanted { node, slot } if *node == self.me => {
                out.push(match self.withhold(*slot) {
                    true => SlotRequest::Give { round: 0, slots: vec![*slot] },
                    false => SlotRequest::Keep { slot: *slot },
                });
                0
            }
            SlotChange::Full { node, ask } if *node == self.me => {
                // Those that came after the ask may still hope.
                let asked = self.asked.take_if(|a| a.ask.number == *ask);
                let later = asked.map_or(self.waited, |a| self.waited - a.binds);
                let refused = self.waiting.saturating_sub(later as usize);
                self.waiting -= refused;
                self.provide(now, out);
                refused
            }
            _ => 0,
        }
    }

    /// Time passes: asks again, gives back what was not needed for a while. To be called now and then.
    pub fn tick(&mut self, now: u64, out: &mut Vec<SlotRequest>) {
        self.provide(now, out);
        let chunk = self.chunk as usize;
        if now.saturating_sub(self.calm_since) < CALM_NS {
            return;
        }
        self.calm_since = now;
        if self.came.is_none_or(|(at, _)| now.saturating_sub(at) >= CALM_NS) {
            self.chunk = (self.chunk / 2).max(LEASE_ASK_MIN);
        }
        if self.free.len() > 3 * chunk && self.asked.is_none() {
            let slots = self.free.drain(..self.free.len() - 2 * chunk).collect();
            out.push(SlotRequest::Give { round: 0, slots });
        }
    }

    /// Asks for more if few are left.
    fn provide(&mut self, now: u64, out: &mut Vec<SlotRequest>) {
        let urgent = self.waiting > 0 && self.free.is_empty();
        let enough = self.free.len() >= self.chunk as usize / 2;
        let asked = self.asked.is_some_and(|a| a.ask.urgent || !urgent);
        if asked || !urgent && (enough || now < self.pause.0) {
            return;
        }
        if self.came.take_if(|(at, whole)| *whole && now.saturating_sub(*at) < CLOSE_NS).is_some() {
            self.chunk = (2 * self.chunk).min(LEASE_ASK_MAX);
        }
        let slots = self.chunk.max(self.waiting as u32).min(LEASE_ASK_MAX);
        self.asks += 1;
        let ask = Ask { number: self.asks, slots, urgent };
        self.asked = Some(Asked { ask, binds: self.waited });
        out.push(SlotRequest::Ask(ask));
    }
}
