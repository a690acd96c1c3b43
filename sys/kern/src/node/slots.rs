//! User slots: which of them are leased to this node, and binds that wait for one.
//!
//! ```text
//!            Leased                    bound
//!  (others') ──────► free in Holding ─────────► taken
//!      ▲                 │  ▲                     │
//!      └───── Give ──────┘  └── ended everywhere ─┘
//! ```
//! A slot leased here is free exactly as long as nothing is bound in it, here or (one that moved away)
//! elsewhere. A bind to whichever slot takes a free one, or waits its turn. A bind to a slot by its number
//! claims it first if it is not leased here.

use super::Node;
use super::bind::BindAsk;
use super::dc::BINDS;
use super::dispatch::Outcome;
use super::event::{Command, SessionId, Want};
use super::wait::{WaitFor, WaitId};
use crate::slots::{SlotChange, SlotRequest};
use dvs_abi::limits::BIND_WAIT_NS;
use dvs_abi::{Code, Error};

impl Node {
    /// Has requests about slots decided.
    pub(crate) fn want_slots(&mut self, dc: u16, requests: Vec<SlotRequest>) {
        for request in requests {
            let ticket = self.tickets.next();
            if let Some(c) = self.dcs.get_mut(&dc) {
                match &request {
                    SlotRequest::Ask(ask) => c.asking = Some((ticket, ask.number)),
                    SlotRequest::Give { slots, .. } => {
                        for slot in slots {
                            if let Some(s) = c.slot_mut(*slot) {
                                s.leased = false;
                            }
                        }
                    }
                    SlotRequest::Claim { .. } | SlotRequest::Keep { .. } => {}
                }
            }
            self.out.push(Command::Decide { ticket, want: Want::Slots { dc, request } });
        }
    }

    /// Asks for slots of a container this node may use, ahead of need.
    pub(crate) fn provide_slots(&mut self, dc: u16) {
        let (me, now) = (self.config.me.0, self.now);
        let Some(c) = self.dcs.get_mut(&dc).filter(|c| c.config.runs_on(me)) else { return };
        let mut out = Vec::new();
        c.holding.tick(now, &mut out);
        self.want_slots(dc, out);
    }

    pub(crate) fn tick_slots(&mut self) {
        let now = self.now;
        let due = self.dcs.iter().filter(|(_, c)| c.holding.wake_at().is_some_and(|at| at <= now));
        for dc in due.map(|(n, _)| *n).collect::<Vec<_>>() {
            self.provide_slots(dc);
        }
    }

    pub(crate) fn slots_wake_at(&self) -> Option<u64> {
        let mine = self.dcs.values().filter(|c| c.config.runs_on(self.config.me.0));
        mine.filter_map(|c| c.holding.wake_at()).min()
    }

    /// What was decided about slots of a container.
    pub(crate) fn slots_changed(&mut self, dc: u16, change: &SlotChange) {
        let (me, now) = (self.config.me, self.now);
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        let mut out = Vec::new();
        let refused = match change {
            SlotChange::Leased { node, ask, slots } if *node == me => {
                let mut new = slots.clone();
                new.retain(|n| *n >= c.config.first_user() && c.slot(*n).is_some_and(|s| !s.leased));
                let news = SlotChange::Leased { node: me, ask: *ask, slots: new.clone() };
                let refused = c.holding.hear(&news, now, &mut out);
                for n in new {
                    let Some(s) = c.slot_mut(n) else { continue };
                    s.leased = true;
                    if s.descriptor.is_some() {
                        c.holding.withhold(n);
                    }
                }
                refused
            }
            other => c.holding.hear(other, now, &mut out),
        };
        let claims = match change {
            SlotChange::Leased { node, ask: 0, slots } if *node == me => slots.clone(),
            SlotChange::Kept { node, slot } if *node == me => vec![*slot],
            _ => Vec::new(),
        };
        let refused: Vec<WaitId> = match c.waiting.get_mut(&BINDS) {
            Some(list) => list.drain(..refused.min(list.len())).collect(),
            None => Vec::new(),
        };
        if c.binds().is_empty() {
            c.waiting.remove(&BINDS);
        }
        self.want_slots(dc, out);
        for wait in refused {
            self.finish(wait, Err(Code::NOSPC.into()));
        }
        let result = if matches!(change, SlotChange::Kept { .. }) { Err(Code::SLOTUSED) } else { Ok(()) };
        for slot in claims {
            for wait in self.claims_of(dc, slot) {
                self.claimed(dc, wait, result);
            }
        }
        self.refill.insert(dc);
    }

    /// A request about slots was decided. What it changed was told by itself; an ask that was refused is made
    /// again.
    pub(crate) fn slots_decided(&mut self, ticket: u64, result: Result<(), Code>) {
        let now = self.now;
        for c in self.dcs.values_mut() {
            if let Some((_, number)) = c.asking.take_if(|(n, _)| *n == ticket)
                && result.is_err()
            {
                c.holding.unask(number, now);
            }
        }
    }

    /// Nothing is bound in a slot any more; if it is leased here it is free.
    pub(crate) fn slot_ended(&mut self, dc: u16, slot: i32) {
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        let free = c.slot(slot).is_some_and(|s| s.leased && s.descriptor.is_none());
        if free && !c.holding.has(slot) {
            c.holding.put_back(slot);
            self.refill.insert(dc);
        }
    }

    /// Something is bound in a slot: it is not free.
    pub(crate) fn slot_taken(&mut self, dc: u16, slot: i32) {
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        if c.slot(slot).is_some_and(|s| s.leased) {
            c.holding.withhold(slot);
        }
    }

    /// Binds that wait take the slots that became free by this event; a container that may not run here any
    /// more gives them.
    pub(crate) fn serve_binds(&mut self) {
        while let Some(dc) = self.refill.pop_first() {
            let me = self.config.me.0;
            let Some(c) = self.dcs.get_mut(&dc) else { continue };
            if !c.config.runs_on(me) {
                let mut out = Vec::new();
                if c.holding.free() > 0 {
                    c.holding.close(&mut out);
                }
                self.want_slots(dc, out);
                continue;
            }
            while let Some(c) = self.dcs.get(&dc)
                && c.holding.free() > 0
                && let Some(wait) = c.binds().first().copied()
                && let Some(w) = self.unpark(wait)
            {
                let WaitFor::Slot(ask) = w.what else { continue };
                let result = self.bind(w.session, w.id, *ask);
                self.reply(w.session, w.id, result);
            }
        }
        self.release_claimed();
    }

    /// Binds to whichever free slot, or waits for one.
    pub(crate) fn bind_any(&mut self, s: SessionId, id: u64, ask: BindAsk) -> Result<Outcome, Error> {
        let (dc, now, first) = (ask.dc, self.now, self.config.first_generation);
        let c = self.dc_mut(dc)?;
        let mut out = Vec::new();
        let slot = c.holding.take(now, &mut out);
        let endpoint = slot.map(|slot| c.next_endpoint(slot, first));
        self.want_slots(dc, out);
        match endpoint {
            Some(endpoint) => {
                let result = self.bind_at(s, &ask, endpoint);
                self.slot_ended(dc, endpoint.slot());
                result
            }
            None => {
                let waits = WaitFor::Slot(Box::new(ask));
                let parked = self.park(s, id, dc, Some(BINDS), waits, BIND_WAIT_NS);
                if let (Err(_), Some(c)) = (&parked, self.dcs.get_mut(&dc)) {
                    c.holding.leave();
                }
                parked
            }
        }
    }

    /// Whether a slot has to be claimed before something is bound there by its number.
    pub(crate) fn must_claim(&self, ask: &BindAsk) -> bool {
        let slot = ask.endpoint.slot();
        let Some(c) = self.dcs.get(&ask.dc).filter(|c| !c.is_system(slot)) else { return false };
        !ask.is_far() && c.slot(slot).is_some_and(|s| !s.leased && s.descriptor.is_none())
    }

    /// Claims the slot of a bind, which waits for that.
    pub(crate) fn claim_for(&mut self, s: SessionId, id: u64, ask: BindAsk) -> Result<Outcome, Error> {
        self.room_for_ticket()?;
        let (dc, slot) = (ask.dc, ask.endpoint.slot());
        self.park(s, id, dc, Some(slot), WaitFor::Claim(Box::new(ask)), BIND_WAIT_NS)?;
        let wait = self.sessions.get(&s).and_then(|x| x.waits.get(&id)).copied();
        self.open_ticket(s, wait, Want::Slots { dc, request: SlotRequest::Claim { slot } });
        Ok(Outcome::Later)
    }

    /// Binds that wait for a slot by its number.
    fn claims_of(&self, dc: u16, slot: i32) -> Vec<WaitId> {
        let list = self.dcs.get(&dc).and_then(|c| c.waiting.get(&slot));
        let claim =
            |w: &&WaitId| self.waits.table.get(*w).is_some_and(|w| matches!(w.what, WaitFor::Claim(_)));
        list.into_iter().flatten().filter(claim).copied().collect()
    }

    /// A claim was decided: the bind goes on, unless another node is asked for the slot first.
    pub(crate) fn claimed(&mut self, dc: u16, wait: WaitId, result: Result<(), Code>) {
        let Some(WaitFor::Claim(ask)) = self.waits.table.get(&wait).map(|w| &w.what) else { return };
        let leased = self.dcs.get(&dc).and_then(|c| c.slot(ask.endpoint.slot())).is_some_and(|s| s.leased);
        if result.is_ok() && !leased {
            return;
        }
        let Some(w) = self.unpark(wait) else { return };
        let WaitFor::Claim(ask) = w.what else { return };
        let result = match result {
            Ok(()) => self.bind(w.session, w.id, *ask),
            Err(Code::BADDCID) => Err(Code::DCNOTRUN.into()),
            Err(code) => Err(Error::early(code).at(ask.endpoint)),
        };
        self.reply(w.session, w.id, result);
    }

    /// This node begins anew: it was leased nothing. Binds that wait go on waiting.
    pub(crate) fn lease_anew(&mut self, dc: u16) {
        let (me, now) = (self.config.me, self.now);
        let claims = |w: &super::wait::Wait| w.dc == dc && matches!(w.what, WaitFor::Claim(_));
        let claims: Vec<WaitId> =
            self.waits.table.iter().filter(|(_, w)| claims(w)).map(|(n, _)| *n).collect();
        for wait in claims {
            self.finish(wait, Err(Code::STALE.into()));
        }
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        c.unlease(me);
        let mut out = Vec::new();
        for _ in 0..c.binds().len() {
            c.holding.take(now, &mut out);
        }
        self.want_slots(dc, out);
        self.provide_slots(dc);
    }

    /// The container may not run here any more: what is free goes back now, what is used when it has ended.
    pub(crate) fn give_slots(&mut self, dc: u16) {
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        for wait in c.waiting.remove(&BINDS).unwrap_or_default() {
            self.finish(wait, Err(Code::NODCNODE.into()));
        }
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        let mut out = Vec::new();
        c.holding.close(&mut out);
        c.asking = None;
        self.want_slots(dc, out);
    }

    /// Slots, for [`Node::validate`].
    pub(crate) fn validate_slots(&self) -> Result<(), String> {
        for (dc, c) in &self.dcs {
            let mut free = 0;
            for slot in c.leased() {
                let bound = c.bound(slot).is_some();
                free += usize::from(!bound);
                if bound == c.holding.has(slot) {
                    return Err(format!("dc{dc}: slot {slot} is leased; bound: {bound}, free: {}", !bound));
                }
            }
            let (waiting, binds) = (c.holding.waiting(), c.binds().len());
            if c.holding.free() != free || waiting != binds || (free > 0 && binds > 0) {
                return Err(format!("dc{dc}: {} slots of {free}, {waiting} of {binds}", c.holding.free()));
            }
        }
        Ok(())
    }
}
