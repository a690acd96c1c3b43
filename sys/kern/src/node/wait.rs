//! Requests that wait for a change of a slot, with their deadlines.
//!
//! A wait hangs on its slot; whatever changes there calls `reconsider`, which tries each wait again: it is
//! answered, fails, or hangs on. Waits for being bound oneself hang on their session instead. Nothing polls.

use super::bind::{BindAsk, End};
use super::dc::BINDS;
use super::dispatch::{DONE, Outcome};
use super::event::SessionId;
use super::mover::Waiter;
use super::{Node, Place};
use dvs_abi::limits::SESSION_WAITS_MAX;
use dvs_abi::{Code, Deadline, Effect, Endpoint, Error};
use std::collections::{BTreeMap, BTreeSet};

/// Number of a wait on its node.
pub type WaitId = u64;

/// What is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WaitFor {
    /// That somebody binds this process.
    Own { board: u32 },
    /// That an endpoint is bound.
    Bind { endpoint: Endpoint },
    /// That an endpoint is not bound.
    Unbind { endpoint: Endpoint },
    /// That a lane can be opened: the callee is moving, or its process has not come yet.
    Lane { from: Endpoint, to: Endpoint },
    /// The same for the proxy.
    ProxyLane { from: Endpoint, to: Endpoint, node: u16 },
    /// That others have taken in what follows from the request: see `heard`.
    Heard,
    /// That all nodes have decided: see `decide`.
    Decision,
    /// For whichever user slot, to bind this.
    Slot(Box<BindAsk>),
    /// For the slot of this bind.
    Claim(Box<BindAsk>),
    /// That the instance here is offered.
    Offer { endpoint: Endpoint },
    /// That the last instance here has ended for all, to bind this.
    Instance(Box<BindAsk>),
    /// That somebody wants the instance here elsewhere.
    Order(Waiter),
    /// That a service comes here.
    Standby(Waiter),
    /// That a service was placed later than in this epoch.
    Place { after: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub session: SessionId,
    pub id: u64,
    pub dc: u16,
    pub slot: Option<i32>,
    pub what: WaitFor,
    pub deadline: Deadline,
}

/// All waits of a node.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    next: WaitId,
    pub(crate) table: BTreeMap<WaitId, Wait>,
    deadlines: BTreeSet<(u64, WaitId)>,
}

impl Waits {
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, wait: Wait) -> WaitId {
        self.next += 1;
        if wait.deadline != Deadline::NEVER {
            self.deadlines.insert((wait.deadline.ns(), self.next));
        }
        self.table.insert(self.next, wait);
        self.next
    }

    fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.table.remove(&id)?;
        self.deadlines.remove(&(wait.deadline.ns(), id));
        Some(wait)
    }
}

impl Node {
    /// Lets a request wait.
    ///
    /// # Errors
    /// `AGAIN` (for a binding to come or go: `TIMEDOUT`) when it may not wait, `NOSPC` when too many do.
    pub(crate) fn park(
        &mut self,
        session: SessionId,
        id: u64,
        dc: u16,
        slot: Option<i32>,
        what: WaitFor,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        // Number 0 means that nobody waits for the answer.
        if remaining == 0 || id == 0 {
            let lane = matches!(what, WaitFor::Lane { .. } | WaitFor::ProxyLane { .. });
            return Err(if lane { Code::AGAIN } else { Code::TIMEDOUT }.into());
        }
        let deadline = Deadline::from_remaining(self.now, remaining);
        let s = self.sessions.get_mut(&session).ok_or(Code::NOTBIND)?;
        if s.waits.len() >= SESSION_WAITS_MAX {
            return Err(Code::NOSPC.into());
        }
        let wait = self.waits.insert(Wait { session, id, dc, slot, what, deadline });
        s.waits.insert(id, wait);
        self.hang(dc, slot, wait);
        Ok(Outcome::Later)
    }

    /// A request that was let wait anew waits no longer in all than it did at first.
    pub(crate) fn wait_until(&mut self, session: SessionId, id: u64, deadline: Deadline) {
        let wait = self.sessions.get(&session).and_then(|s| s.waits.get(&id)).copied();
        let Some((wait, w)) = wait.and_then(|n| Some((n, self.waits.table.get_mut(&n)?))) else { return };
        let before = std::mem::replace(&mut w.deadline, deadline);
        self.waits.deadlines.remove(&(before.ns(), wait));
        if deadline != Deadline::NEVER {
            self.waits.deadlines.insert((deadline.ns(), wait));
        }
    }

    fn hang(&mut self, dc: u16, slot: Option<i32>, wait: WaitId) {
        if let (Some(slot), Some(c)) = (slot, self.dcs.get_mut(&dc)) {
            c.waiting.entry(slot).or_default().push(wait);
        }
    }

    /// Takes a wait out of every table.
    pub(crate) fn unpark(&mut self, wait: WaitId) -> Option<Wait> {
        let w = self.waits.remove(wait)?;
        if w.what == WaitFor::Heard {
            self.drop_hearing(wait);
        }
        if let Some(s) = self.sessions.get_mut(&w.session) {
            s.waits.remove(&w.id);
        }
        if let (Some(slot), Some(c)) = (w.slot, self.dcs.get_mut(&w.dc))
            && let Some(list) = c.waiting.get_mut(&slot)
        {
            let before = list.len();
            list.retain(|x| *x != wait);
            if slot == BINDS && list.len() < before {
                c.holding.leave();
            }
            if list.is_empty() {
                c.waiting.remove(&slot);
            }
        }
        Some(w)
    }

    pub(crate) fn finish(&mut self, wait: WaitId, result: Result<Outcome, Error>) {
        let Some(w) = self.unpark(wait) else { return };
        match (&w.what, result) {
            // What ended has ended for everybody who hears of it.
            (WaitFor::Unbind { .. }, Ok(Outcome::Answer(answer))) => {
                self.answer_when_heard(w.session, w.id, Ok(answer));
            }
            (_, result) => self.reply(w.session, w.id, result),
        }
    }

    /// The one who waits has left.
    pub(crate) fn withdraw(&mut self, session: SessionId, id: u64) {
        let wait = self.sessions.get(&session).and_then(|s| s.waits.get(&id)).copied();
        if let Some(wait) = wait {
            let left = self.unpark(wait);
            self.offer_left(left);
        }
    }

    /// Whoever offers an instance does not wait for that any more: there is none.
    fn offer_left(&mut self, wait: Option<Wait>) {
        if let Some(Wait { dc, what: WaitFor::Offer { endpoint }, .. }) = wait {
            self.instance_ended(dc, endpoint.slot(), End::Withdrawn);
        }
    }

    /// The waits for a lane to an endpoint.
    pub(crate) fn waits_for_lane(&self, dc: u16, endpoint: Endpoint) -> Vec<WaitId> {
        let all = self.dcs.get(&dc).and_then(|c| c.waiting.get(&endpoint.slot()));
        let lane = |w: &&WaitId| {
            let what = self.waits.table.get(*w).map(|w| &w.what);
            matches!(what, Some(WaitFor::Lane { .. } | WaitFor::ProxyLane { .. }))
        };
        all.into_iter().flatten().filter(lane).copied().collect()
    }

    /// Fails every wait whose time is over.
    pub(crate) fn expire(&mut self) {
        while let Some((at, wait)) = self.waits.deadlines.first().copied() {
            if at > self.now {
                break;
            }
            match self.waits.table.get(&wait).map(|w| &w.what) {
                Some(WaitFor::Heard) => self.finish_hearing(wait),
                Some(WaitFor::Decision) => {
                    self.finish(wait, Err(Error::new(Code::TIMEDOUT, Effect::Unknown)));
                }
                _ => {
                    let offer = self.waits.table.get(&wait).cloned();
                    self.finish(wait, Err(Code::TIMEDOUT.into()));
                    self.offer_left(offer);
                }
            }
        }
    }

    /// Fails every wait in a container that ended.
    pub(crate) fn fail_waits(&mut self, dc: u16) {
        let those = |w: &Wait| w.dc == dc && w.slot.is_some();
        let waits: Vec<_> = self.waits.table.iter().filter(|(_, w)| those(w)).map(|(n, _)| *n).collect();
        for wait in waits {
            self.finish(wait, Err(Code::DCNOTRUN.into()));
        }
    }

    /// Something changed in a slot: every wait there is tried again.
    pub(crate) fn reconsider(&mut self, dc: u16, slot: i32) {
        let Some(list) = self.dcs.get_mut(&dc).and_then(|c| c.waiting.remove(&slot)) else { return };
        for wait in list {
            let Some(w) = self.waits.table.get(&wait).cloned() else { continue };
            match self.retry(&w) {
                Ok(Outcome::Later) => self.hang(dc, Some(slot), wait),
                result => self.finish(wait, result),
            }
        }
    }

    fn retry(&mut self, w: &Wait) -> Result<Outcome, Error> {
        match w.what {
            WaitFor::Own { .. }
            | WaitFor::Heard
            | WaitFor::Decision
            | WaitFor::Slot(_)
            | WaitFor::Claim(_)
            | WaitFor::Offer { .. }
            | WaitFor::Instance(_) => Ok(Outcome::Later),
            WaitFor::Order(_) | WaitFor::Standby(_) | WaitFor::Place { .. } => self.retry_mover(w),
            WaitFor::Bind { endpoint } => self.try_bound(w.dc, endpoint),
            WaitFor::Unbind { endpoint } => Ok(self.try_unbound(w.dc, endpoint)),
            WaitFor::Lane { from, to } => self.try_lane(w.session, w.dc, from, to),
            WaitFor::ProxyLane { from, to, node } => self.try_proxy_lane(node, w.dc, from, to),
        }
    }

    fn try_bound(&self, dc: u16, endpoint: Endpoint) -> Result<Outcome, Error> {
        let c = self.dc(dc)?;
        match c.find(endpoint) {
            Ok(d) if d.service && c.service(d.endpoint.slot()).is_some_and(|s| s.node.is_none()) => {
                Ok(Outcome::Later)
            }
            Ok(d) => self.bound_answer(dc, d.endpoint).map(Outcome::Answer),
            // What another node says comes late: that the one there has ended, and that the next is bound.
            Err(Code::ENDPOINT)
                if c.bound(endpoint.slot())
                    .is_some_and(|d| d.is_local() || d.endpoint.generation() > endpoint.generation()) =>
            {
                Err(Code::ENDPOINT.into())
            }
            Err(Code::RANGE) => Err(Code::RANGE.into()),
            Err(_) => Ok(Outcome::Later),
        }
    }

    fn try_unbound(&self, dc: u16, endpoint: Endpoint) -> Outcome {
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot()));
        if bound.is_some_and(|d| d.endpoint == endpoint) { Outcome::Later } else { DONE }
    }

    pub(crate) fn wait_bind(
        &mut self,
        s: SessionId,
        id: u64,
        dc: u16,
        endpoint: Endpoint,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        match self.try_bound(dc, endpoint)? {
            Outcome::Later => {
                self.park(s, id, dc, Some(endpoint.slot()), WaitFor::Bind { endpoint }, remaining)
            }
            outcome => Ok(outcome),
        }
    }

    pub(crate) fn wait_unbind(
        &mut self,
        s: SessionId,
        id: u64,
        dc: u16,
        endpoint: Endpoint,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        let endpoint = match self.dc(dc)?.find(endpoint) {
            Ok(d) => d.endpoint,
            Err(Code::RANGE) => return Err(Code::RANGE.into()),
            // Without time it is answered at once; else when those have heard who were told of the end.
            Err(_) if remaining == 0 => return Ok(DONE),
            Err(_) => return Ok(self.after_the_end(s, id, dc, endpoint.slot())),
        };
        self.park(s, id, dc, Some(endpoint.slot()), WaitFor::Unbind { endpoint }, remaining)
    }

    /// Answers those of a session who wait for being bound, as far as there is something for them.
    pub(crate) fn offer(&mut self, session: SessionId) {
        loop {
            let Some(s) = self.sessions.get(&session) else { return };
            let own = s.waits.values().find_map(|id| {
                let w = self.waits.table.get(id)?;
                if let WaitFor::Own { board } = w.what { Some((*id, board)) } else { None }
            });
            let Some((wait, board)) = own else { return };
            let Some((dc, endpoint)): Option<Place> = self.claim(session, board) else { return };
            let answer = self.bound_answer(dc, endpoint).map(Outcome::Answer);
            self.finish(wait, answer);
            self.release_claimed();
        }
    }
}
