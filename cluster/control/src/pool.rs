//! The user slots of one container, as the replicated state has them: each is free or leased to one node.
//!
//! A node binds programs to slots it was leased, without asking anybody; what moves between nodes is slots
//! that nobody uses (facts §2.2). The reference system let the nodes donate slots to each other, and a bind
//! failed when its own node had none left. Here a bind waits, and is refused only when every slot of the
//! container was in use at some moment of its wait. Nodes also ask ahead of need; such an ask takes nothing
//! from others and is answered at once:
//!
//! ```text
//!  ask, a bind waits                          every owner has answered, nothing came
//!    │                                       ┌──────────────────────────────────────► Full
//!    ▼ free slots?  no                       │
//!    ├──────────────────► wants ──► round: Recall to all owners
//!    │ yes                  ▲                │
//!    ▼                      │                └─ something came ────► Leased, in order; the rest: next round
//!  Leased          asks during a round wait for the next one
//! ```
//! Slots that were free longest are leased first, so that an endpoint's number is not met again soon.

use crate::slots::{Ask, SlotChange};
use dvs_abi::limits::{LEASE_ASK_MAX, NODES_MAX};
use dvs_abi::{Code, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// Who wants slots and has none.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
struct Want {
    node: NodeId,
    ask: u64,
    slots: u32,
    /// It was there when the present round began.
    in_round: bool,
}

/// All owners are asked for what they do not need.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Round {
    number: u64,
    /// Who has not answered yet.
    asked: BTreeSet<NodeId>,
    /// Something came. Owners keep a part of what they have free, so there may be more.
    brought: bool,
}

/// The user slots of one container.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    first: i32,
    /// By slot, from `first` up.
    owner: Vec<Option<NodeId>>,
    /// The free ones, longest free first.
    free: VecDeque<i32>,
    wants: VecDeque<Want>,
    round: Option<Round>,
    rounds: u64,
    /// Slots of one node that another one has claimed.
    claims: BTreeSet<(i32, NodeId)>,
}

impl Pool {
    /// All of `first..end`, free.
    pub fn new(first: i32, end: i32) -> Self {
        let slots = (first..end).collect::<VecDeque<_>>();
        Pool {
            first,
            owner: vec![None; slots.len()],
            free: slots,
            wants: VecDeque::new(),
            round: None,
            rounds: 0,
            claims: BTreeSet::new(),
        }
    }

    /// How many slots nobody has.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: i32) -> Option<NodeId> {
        *self.owner.get(self.index(slot)?)?
    }

    /// The slots of a node, in order.
    pub fn owned(&self, node: NodeId) -> impl Iterator<Item = i32> {
        let first = self.first;
        let all = self.owner.iter().enumerate();
        all.filter(move |(_, o)| **o == Some(node)).map(move |(i, _)| first + i as i32)
    }

    fn index(&self, slot: i32) -> Option<usize> {
        usize::try_from(slot.checked_sub(self.first)?).ok()
    }

    /// A node wants more slots. It may get fewer. If `urgent` (a bind waits there, so it has none free) it
    /// gets one at least, now or later, or is told that there is none; else it may get none. An urgent node
    /// that asks again before it was told changes what it wants.
    ///
    /// # Errors
    /// `BADRANGE`: no slots, or more than [`LEASE_ASK_MAX`]. `BADNODEID`: no such node.
    pub fn ask(
        &mut self,
        node: NodeId,
        Ask { number, slots, urgent }: Ask,
        out: &mut Vec<SlotChange>,
    ) -> Result<(), Code> {
        if !(1..=LEASE_ASK_MAX).contains(&slots) {
            return Err(Code::BADRANGE);
        }
        if usize::from(node.0) >= NODES_MAX {
            return Err(Code::BADNODEID);
        }
        if let Some(want) = self.wants.iter_mut().find(|w| w.node == node) {
            *want = Want { node, ask: number, slots, in_round: false };
        } else if urgent {
            self.wants.push_back(Want { node, ask: number, slots, in_round: false });
            self.serve(out);
        } else {
            let share = self.share().min(slots as usize);
            self.lease(node, number, share, out);
        }
        Ok(())
    }

    /// A node wants this very slot. It has it if nobody does; else whoever has it is asked for it, and the
    /// node gets it, or is told that it does not, later.
    ///
    /// # Errors
    /// `RANGE`: there is no such slot. `BADNODEID`: no such node.
    pub fn claim(&mut self, node: NodeId, slot: i32, out: &mut Vec<SlotChange>) -> Result<(), Code> {
        if usize::from(node.0) >= NODES_MAX {
            return Err(Code::BADNODEID);
        }
        let owner = self.index(slot).and_then(|i| self.owner.get_mut(i)).ok_or(Code::RANGE)?;
        match *owner {
            Some(other) if other != node => {
                if !self.claims.contains(&(slot, node)) {
                    self.claims.insert((slot, node));
                    out.push(SlotChange::Wanted { node: other, slot });
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                *owner = Some(node);
                self.free.retain(|s| *s != slot);
                out.push(SlotChange::Leased { node, ask: 0, slots: vec![slot] });
                Ok(())
            }
        }
    }

    /// A node keeps a slot that others have claimed.
    ///
    /// # Errors
    /// `BADRANGE`: it is not its own.
    pub fn keep(&mut self, node: NodeId, slot: i32, out: &mut Vec<SlotChange>) -> Result<(), Code> {
        if self.owner(slot) != Some(node) {
            return Err(Code::BADRANGE);
        }
        for node in self.claimants(slot) {
            self.claims.remove(&(slot, node));
            out.push(SlotChange::Kept { node, slot });
        }
        Ok(())
    }

    fn claimants(&self, slot: i32) -> Vec<NodeId> {
        let all = (slot, NodeId(0))..=(slot, NodeId(u16::MAX));
        self.claims.range(all).map(|(_, node)| *node).collect()
    }

    /// Slots that came free and were claimed go to whoever did; if several did, to one of them, and the
    /// others ask that one.
    fn serve_claims(&mut self, slots: &[i32], out: &mut Vec<SlotChange>) {
        for slot in slots {
            let claimants = self.claimants(*slot);
            let Some(node) = claimants.first().copied().filter(|_| self.owner(*slot).is_none()) else {
                continue;
            };
            self.claims.remove(&(*slot, node));
            self.free.retain(|s| s != slot);
            if let Some(i) = self.index(*slot) {
                self.owner[i] = Some(node);
            }
            out.push(SlotChange::Leased { node, ask: 0, slots: vec![*slot] });
            if claimants.len() > 1 {
                out.push(SlotChange::Wanted { node, slot: *slot });
            }
        }
    }

    /// What one node may take of the free slots: it does not empty the pool.
    fn share(&self) -> usize {
        self.free.len() / (self.wants.len() + 4)
    }

    /// A node gives slots back: by itself (`round` 0), or because it was asked; then also when there are
    /// none.
    ///
    /// # Errors
    /// `BADRANGE`: one of them is not its own; none is taken.
    pub fn give(
        &mut self,
        node: NodeId,
        round: u64,
        slots: &[i32],
        out: &mut Vec<SlotChange>,
    ) -> Result<(), Code> {
        let distinct: BTreeSet<_> = slots.iter().collect();
        if distinct.len() != slots.len() || slots.iter().any(|s| self.owner(*s) != Some(node)) {
            return Err(Code::BADRANGE);
        }
        for slot in slots {
            self.release(*slot);
        }
        self.serve_claims(slots, out);
        if let Some(r) = self.round.as_mut() {
            r.brought |= !slots.is_empty();
        }
        self.answered(node, round);
        self.serve(out);
        Ok(())
    }

    /// A node is gone for good or begins anew: what it had is free, what it wanted is forgotten.
    pub fn forget(&mut self, node: NodeId, out: &mut Vec<SlotChange>) {
        let had: Vec<_> = self.owned(node).collect();
        for slot in &had {
            self.release(*slot);
        }
        self.claims.retain(|(_, n)| *n != node);
        self.serve_claims(&had, out);
        self.wants.retain(|w| w.node != node);
        let round = self.round.as_ref().map_or(0, |r| r.number);
        self.answered(node, round);
        self.serve(out);
    }

    /// A node is to have no more: what it wanted is forgotten. What it has stays its own until it gives it,
    /// as programs may run there.
    pub fn stop(&mut self, node: NodeId, out: &mut Vec<SlotChange>) {
        self.wants.retain(|w| w.node != node);
        self.claims.retain(|(_, n)| *n != node);
        self.serve(out);
    }

    fn release(&mut self, slot: i32) {
        if let Some(owner) = self.index(slot).and_then(|i| self.owner.get_mut(i)) {
            *owner = None;
            self.free.push_back(slot);
        }
    }

    fn answered(&mut self, node: NodeId, round: u64) {
        if let Some(r) = self.round.as_mut().filter(|r| r.number == round) {
            r.asked.remove(&node);
        }
    }

    /// Leases what there is to whoever waits; then has the owners asked, or says that there is nothing.
    fn serve(&mut self, out: &mut Vec<SlotChange>) {
        while let Some(want) = self.wants.front().copied().filter(|_| !self.free.is_empty()) {
            self.wants.pop_front();
            let share = self.share().clamp(1, want.slots as usize);
            self.lease(want.node, want.ask, share, out);
        }
        if self.wants.is_empty() {
            self.round = None;
        } else if self.round.as_ref().is_none_or(|r| r.asked.is_empty()) {
            self.end_round(out);
        }
    }

    fn lease(&mut self, node: NodeId, ask: u64, slots: usize, out: &mut Vec<SlotChange>) {
        let mut leased: Vec<_> = self.free.drain(..slots).collect();
        for slot in &leased {
            if let Some(i) = self.index(*slot) {
                self.owner[i] = Some(node);
            }
        }
        leased.sort_unstable();
        out.push(SlotChange::Leased { node, ask, slots: leased });
    }

    /// A round has ended: if nothing came, whoever waited for the whole of it is refused. For the others the
    /// next one begins.
    fn end_round(&mut self, out: &mut Vec<SlotChange>) {
        if self.round.take().is_some_and(|r| !r.brought) {
            let (refused, rest) = std::mem::take(&mut self.wants).into_iter().partition(|w| w.in_round);
            self.wants = rest;
            let refused: VecDeque<Want> = refused;
            out.extend(refused.into_iter().map(|w| SlotChange::Full { node: w.node, ask: w.ask }));
        }
        if self.wants.is_empty() {
            return;
        }
        // Those that want some, too: what they wanted may have come free there.
        let owners: BTreeSet<_> = self.owner.iter().flatten().copied().collect();
        self.rounds += 1;
        let number = self.rounds;
        self.wants.iter_mut().for_each(|w| w.in_round = true);
        let wanted = self.wants.iter().map(|w| w.slots).sum();
        out.extend(owners.iter().map(|node| SlotChange::Recall { node: *node, round: number, wanted }));
        let nobody = owners.is_empty();
        self.round = Some(Round { number, asked: owners, brought: false });
        if nobody {
            self.end_round(out);
        }
    }

    /// Whether all of its parts agree; for tests.
    ///
    /// # Errors
    /// What does not.
    pub fn validate(&self) -> Result<(), String> {
        let unowned: BTreeSet<_> = (0..self.owner.len())
            .filter(|i| self.owner[*i].is_none())
            .map(|i| self.first + i as i32)
            .collect();
        let free: BTreeSet<_> = self.free.iter().copied().collect();
        if free != unowned || free.len() != self.free.len() {
            return Err(format!("free {free:?}, without an owner {unowned:?}"));
        }
        if !self.wants.is_empty() && !self.free.is_empty() {
            return Err(format!("{:?} wait while {} slots are free", self.wants, self.free.len()));
        }
        if self.wants.is_empty() != self.round.is_none() {
            return Err(format!("{:?} wait in {:?}", self.wants, self.round));
        }
        if self.round.as_ref().is_some_and(|r| r.asked.is_empty()) {
            return Err("a round that everybody has answered".into());
        }
        if let Some((slot, node)) = self.claims.iter().find(|(s, n)| self.owner(*s).is_none_or(|o| o == *n)) {
            return Err(format!("{node} claims {slot}, which is free or its own"));
        }
        let distinct: BTreeSet<_> = self.wants.iter().map(|w| w.node).collect();
        if distinct.len() != self.wants.len() {
            return Err(format!("a node waits twice: {:?}", self.wants));
        }
        Ok(())
    }
}
