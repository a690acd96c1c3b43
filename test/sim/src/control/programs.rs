//! The programs of one simulated node: they want slots, run for a while, and end.

use super::MS;
use super::wire::Note;
use crate::actor::Effects;
use dvs_abi::NodeId;
use dvs_control::slots::{Holding, SlotChange, SlotRequest};
use std::collections::{BTreeMap, VecDeque};

/// Binds that may wait on one node.
const WAITING_MAX: usize = 12;
/// The user slots of the container, and how many.
const FIRST_USER: i32 = 8;
const USERS: u64 = 32;
/// A program lives at most so long.
const LIVES_NS: u64 = 2_500 * MS;
/// A bind waits at most so long.
const WAITS_NS: u64 = 4_000 * MS;

#[derive(Debug)]
struct Bind {
    id: u64,
    until: u64,
}

/// The programs.
#[derive(Debug)]
pub(super) struct Programs {
    holding: Holding,
    /// By slot, until when.
    running: BTreeMap<i32, u64>,
    /// Longest first.
    waiting: VecDeque<Bind>,
}

impl Programs {
    pub(super) fn new(me: NodeId) -> Self {
        Programs { holding: Holding::new(me), running: BTreeMap::new(), waiting: VecDeque::new() }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = i32> {
        self.running.keys().copied()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Until when the bind waits that waits least.
    pub(super) fn first_limit(&self) -> Option<u64> {
        self.waiting.iter().map(|b| b.until).min()
    }

    pub(super) fn another(&mut self, fx: &mut Effects<'_, Note>, out: &mut Vec<SlotRequest>) {
        if self.waiting.len() >= WAITING_MAX {
            return;
        }
        if fx.random().odds(50) {
            // One that wants a slot by its number, and has gone when it comes.
            out.push(SlotRequest::Claim { slot: FIRST_USER + fx.random().below(USERS) as i32 });
        }
        let now = fx.now();
        let (id, until) = (fx.random().next(), now + MS + fx.random().below(WAITS_NS));
        fx.note(Note::Wants(id));
        self.bind(Bind { id, until }, fx, out);
    }

    fn bind(&mut self, bind: Bind, fx: &mut Effects<'_, Note>, out: &mut Vec<SlotRequest>) {
        match self.holding.take(fx.now(), out) {
            Some(slot) => {
                let ends = fx.now() + fx.random().below(LIVES_NS);
                self.running.insert(slot, ends);
                fx.note(Note::Bound(bind.id, slot));
            }
            None => self.waiting.push_back(bind),
        }
    }

    /// Those that wait take what has come.
    fn serve(&mut self, fx: &mut Effects<'_, Note>, out: &mut Vec<SlotRequest>) {
        while self.holding.free() > 0
            && let Some(bind) = self.waiting.pop_front()
        {
            self.holding.leave();
            self.bind(bind, fx, out);
        }
    }

    pub(super) fn hear(
        &mut self,
        change: &SlotChange,
        fx: &mut Effects<'_, Note>,
        out: &mut Vec<SlotRequest>,
    ) {
        let refused = self.holding.hear(change, fx.now(), out);
        for bind in self.waiting.drain(..refused.min(self.waiting.len())) {
            fx.note(Note::Truth(bind.id, "full"));
        }
        self.serve(fx, out);
    }

    /// Time passes: binds that have waited long enough are told so.
    pub(super) fn expire(&mut self, fx: &mut Effects<'_, Note>) {
        let now = fx.now();
        let holding = &mut self.holding;
        self.waiting.retain(|b| {
            let stays = b.until > now;
            if !stays {
                holding.leave();
                fx.note(Note::Truth(b.id, "not in time"));
            }
            stays
        });
    }

    /// Programs end.
    pub(super) fn tick(&mut self, fx: &mut Effects<'_, Note>, out: &mut Vec<SlotRequest>) {
        let now = fx.now();
        let ended: Vec<_> = self.running.iter().filter(|(_, e)| **e <= now).map(|(s, _)| *s).collect();
        for slot in ended {
            self.running.remove(&slot);
            self.holding.put_back(slot);
        }
        self.serve(fx, out);
        self.holding.tick(now, out);
    }

    /// The container may not run here any more: programs end, slots are given.
    pub(super) fn close(&mut self, fx: &mut Effects<'_, Note>, out: &mut Vec<SlotRequest>) {
        for bind in self.waiting.drain(..) {
            fx.note(Note::Truth(bind.id, "not on this node"));
        }
        for (slot, _) in std::mem::take(&mut self.running) {
            self.holding.put_back(slot);
        }
        self.holding.close(out);
    }

    /// The node may not serve any more: all programs end at once.
    pub(super) fn end(&mut self, fx: &mut Effects<'_, Note>, me: NodeId) {
        for bind in &self.waiting {
            fx.note(Note::Truth(bind.id, "the node was cut off"));
        }
        *self = Programs::new(me);
    }
}
