//! A program that is an instance of a declared service.
//!
//! ```text
//!  bind ──► standby, Offer ──► (log) ──► bound: answered
//!              │                          │ Continue, Point(here), Thaw: callers get lanes to it
//!              └── refused: as if it      │ Stop, Point(elsewhere): it stands by
//!                  never was              ▼
//!                                 it ends: Retire ──► (log) ──► the next one may be offered
//! ```
//! It is no news for other nodes: where callers go follows from the log alone.

use super::Node;
use super::bind::{BindAsk, End};
use super::descriptor::Descriptor;
use super::dispatch::{DONE, Outcome};
use super::event::{Command, PROXY, SessionId, Want};
use super::service::{Callers, Kind, Service};
use super::wait::{WaitFor, WaitId};
use crate::control::{BindKind, Duty, Event as Told};
use dvs_abi::limits::BIND_WAIT_NS;
use dvs_abi::{Code, Endpoint, Error, Privileges};

impl Node {
    /// Declares a service, unless somebody has.
    pub(crate) fn declare(&mut self, s: SessionId, id: u64, want: Want) -> Result<Outcome, Error> {
        let Want::Declare { dc, slot, kind, .. } = want else { return Err(Code::BADREQUEST.into()) };
        let c = self.dc(dc)?;
        if !(-c.config.tasks..c.config.first_user()).contains(&slot) {
            return Err(Code::BADRANGE.into());
        }
        match self.service_of(dc, slot) {
            Some(known) if known.kind == kind => Ok(DONE),
            Some(_) => Err(Error::early(Code::SLOTUSED).at(Endpoint::new(0, slot))),
            None => self.decide_for(s, id, want),
        }
    }

    /// Binds an instance: it is offered, and bound when that is decided.
    pub(crate) fn bind_instance(&mut self, s: SessionId, id: u64, ask: BindAsk) -> Result<Outcome, Error> {
        let (dc, endpoint) = (ask.dc, ask.endpoint);
        let service = self.service_of(dc, endpoint.slot()).ok_or(Code::NOTBIND)?;
        if endpoint.generation() != 0 || ask.is_far() {
            return Err(Error::early(Code::SLOTUSED).at(Endpoint::new(0, endpoint.slot())));
        }
        if service.retiring.is_some() {
            let slot = endpoint.slot();
            return self.park(s, id, dc, Some(slot), WaitFor::Instance(Box::new(ask)), BIND_WAIT_NS);
        }
        self.offer_instance(s, id, &ask, Want::Offer { dc, slot: endpoint.slot() }, BIND_WAIT_NS)
    }

    /// Offers an instance by `want`, and has whoever asked wait for so long.
    pub(crate) fn offer_instance(
        &mut self,
        s: SessionId,
        id: u64,
        ask: &BindAsk,
        want: Want,
        wait_ns: u64,
    ) -> Result<Outcome, Error> {
        let (dc, endpoint) = (ask.dc, ask.endpoint);
        if self.dc(dc)?.find(endpoint)?.pid != 0 {
            return Err(Error::early(Code::SLOTUSED).at(endpoint));
        }
        let (session, pid) = self.holder(s, ask)?;
        self.room_for_ticket()?;
        self.park(s, id, dc, Some(endpoint.slot()), WaitFor::Offer { endpoint }, wait_ns)?;
        let wait = self.sessions.get(&s).and_then(|x| x.waits.get(&id)).copied();
        self.attach(s, ask, session, pid);
        self.open_ticket(s, wait, want);
        Ok(Outcome::Later)
    }

    /// The program of an instance stands by at the endpoint of its service.
    fn attach(&mut self, s: SessionId, ask: &BindAsk, session: Option<SessionId>, pid: u32) {
        let (dc, endpoint) = (ask.dc, ask.endpoint);
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        let (tasks, sysprocs) = (c.config.tasks, c.config.sysprocs);
        let Some(d) = c.bound_mut(endpoint.slot()) else { return };
        (d.session, d.pid, d.board) = (session, pid, ask.board);
        d.own = session == Some(s);
        (d.claimed, d.asked) = (d.own, false);
        d.kind = BindKind::Backup;
        d.privileges = Privileges::at_bind(endpoint.slot(), tasks, sysprocs);
        self.bound_here += 1;
        match session.and_then(|n| self.sessions.get_mut(&n)) {
            Some(holder) => drop(holder.endpoints.insert((dc, endpoint))),
            None => {
                self.orphans.entry(pid).or_default().push((dc, endpoint));
                self.out.push(Command::WatchPid { pid });
            }
        }
        self.place_instance(dc, endpoint.slot());
        self.tell_instance(dc, endpoint.slot());
        if let Some(holder) = session {
            self.offer(holder);
        }
    }

    /// What was bound here before the service was declared is its instance from here on.
    pub(crate) fn enlist(&mut self, dc: u16, endpoint: Endpoint) {
        if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) {
            (d.service, d.moving, d.kind, d.instances) = (true, true, BindKind::Backup, 0);
        }
        self.tell_instance(dc, endpoint.slot());
        self.open_ticket(PROXY, None, Want::Offer { dc, slot: endpoint.slot() });
    }

    /// Whether callers of this node come to the instance here.
    pub(crate) fn place_instance(&mut self, dc: u16, slot: i32) {
        let me = self.config.me;
        let Some(s) = self.service_of(dc, slot) else { return };
        let (here, active) = (s.node == Some(me), s.kind == Kind::Active);
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) else { return };
        d.kind = match (here, active) {
            _ if d.pid == 0 => BindKind::Remote,
            (true, true) => BindKind::Replica,
            (true, false) => BindKind::Local,
            (false, _) => BindKind::Backup,
        };
        self.reconsider(dc, slot);
    }

    /// Tells the instance here whether it takes requests.
    pub(crate) fn tell_instance(&mut self, dc: u16, slot: i32) {
        let Some(s) = self.service_of(dc, slot) else { return };
        let serving = s.serving;
        // One that moves answers what it had taken up: that is part of the state that travels.
        let may = if s.kind == Kind::Single && s.placed.moves { Duty::Full } else { serving };
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(slot)).filter(|d| d.service);
        let Some((session, endpoint)) = bound.and_then(|d| Some((d.session?, d.endpoint.raw()))) else {
            return;
        };
        let takes = serving != Duty::Stopped;
        let event = if takes { Told::Thaw { dc, endpoint } } else { Told::Freeze { dc, endpoint } };
        // What holds when the lease is over follows from the service's rule, which the driver knows.
        self.tell(session, Told::Instance { dc, endpoint, may, after: may });
        self.tell(session, event);
    }

    /// An offer was decided.
    pub(crate) fn offered(&mut self, dc: u16, slot: i32, wait: Option<WaitId>, result: Result<(), Code>) {
        let endpoint = Endpoint::new(0, slot);
        let waits = wait.and_then(|wait| self.unpark(wait));
        if let Err(code) = result {
            if waits.is_none() {
                self.refuse_enlisted(dc, slot);
            }
            self.detach(dc, slot, End::Withdrawn, false);
            if let Some(w) = waits {
                self.reply(w.session, w.id, Err(Error::early(code).at(endpoint)));
            }
            return;
        }
        let Some(w) = waits else { return };
        let result = self.bound_answer(dc, endpoint).map(Outcome::Answer);
        self.reply(w.session, w.id, result);
        // It knows the endpoint now, and hears what it may do.
        self.tell_instance(dc, slot);
    }

    /// What was bound here before the service was declared is not its instance. Its program takes itself for
    /// bound, and callers have calls in lanes to it.
    fn refuse_enlisted(&mut self, dc: u16, slot: i32) {
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(slot)).filter(|d| d.service && d.pid != 0);
        let Some((session, endpoint)) = bound.map(|d| (d.session, d.endpoint)) else { return };
        self.lose_calls(dc, slot, self.config.me, Code::MIGRATE);
        if let Some(s) = session {
            self.note_left(s, (dc, endpoint));
            self.tell(s, Told::Moved { dc, endpoint: endpoint.raw() });
        }
    }

    /// The end of an instance was decided: another one may be offered.
    pub(crate) fn retired(&mut self, ticket: u64) {
        let found = self.dcs.iter().find_map(|(dc, c)| {
            c.services.iter().find(|(_, s)| s.retiring == Some(ticket)).map(|(slot, _)| (*dc, *slot))
        });
        let Some((dc, slot)) = found else { return };
        if let Some(s) = self.service_mut(dc, slot) {
            s.retiring = None;
        }
        self.next_instance(dc, slot);
    }

    /// Binds that waited for the end of the last instance go on.
    fn next_instance(&mut self, dc: u16, slot: i32) {
        let list = self.dcs.get(&dc).and_then(|c| c.waiting.get(&slot)).cloned().unwrap_or_default();
        for wait in list {
            let next = self.waits.table.get(&wait).is_some_and(|w| matches!(w.what, WaitFor::Instance(_)));
            let Some(w) = next.then(|| self.unpark(wait)).flatten() else { continue };
            let WaitFor::Instance(ask) = w.what else { continue };
            let result = self.bind(w.session, w.id, *ask);
            self.reply(w.session, w.id, result);
            self.wait_until(w.session, w.id, w.deadline);
        }
    }

    /// The program of an instance is gone, or is one no more. Its service goes on elsewhere, or waits.
    pub(crate) fn instance_ended(&mut self, dc: u16, slot: i32, why: End) {
        let had = self.dcs.get(&dc).and_then(|c| c.bound(slot)).filter(|d| d.service && d.pid != 0);
        if had.is_none() {
            return;
        }
        // One whose offer is not decided yet is taken back behind it.
        let ticket = self.tickets.next();
        self.detach(dc, slot, why, true);
        if let Some(s) = self.service_mut(dc, slot) {
            s.retiring = Some(ticket);
            self.out.push(Command::Decide { ticket, want: Want::Retire { dc, slot } });
        }
    }

    /// This node begins anew: by the log its instances ended with its former life.
    pub(crate) fn forget_instances(&mut self, dc: u16) {
        self.out.retain(|c| !matches!(c, Command::Decide { want: Want::Retire { .. }, .. }));
        let slots: Vec<i32> = self.dcs.get(&dc).map_or(Vec::new(), |c| c.services.keys().copied().collect());
        for slot in slots {
            if let Some(s) = self.service_mut(dc, slot) {
                s.retiring = None;
            }
            self.next_instance(dc, slot);
        }
    }

    /// Takes the program of an instance off its endpoint. `lost`: what it had taken up is lost with it.
    fn detach(&mut self, dc: u16, slot: i32, why: End, lost: bool) {
        let me = self.config.me;
        // Its container may be ending with all services.
        let code = self.service_of(dc, slot).map_or(Code::DSTDIED, Service::lost_code);
        if lost {
            self.lose_calls(dc, slot, me, code);
        }
        let endpoint = Endpoint::new(0, slot);
        let bound = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot));
        let Some(d) = bound.filter(|d| d.service && d.pid != 0) else { return };
        let gone = d.clone();
        (d.session, d.pid, d.claimed, d.own) = (None, 0, false, false);
        d.kind = BindKind::Remote;
        self.close_calls_of(&gone);
        self.bound_here -= 1;
        if let Some(holder) = gone.session.and_then(|s| self.sessions.get_mut(&s)) {
            holder.endpoints.remove(&(dc, endpoint));
        } else if let Some(places) = self.orphans.get_mut(&gone.pid) {
            places.retain(|p| *p != (dc, endpoint));
            if places.is_empty() {
                self.orphans.remove(&gone.pid);
            }
        }
        self.note_freed(dc, slot);
        if let (End::Exit(code), false) = (why, gone.asked) {
            self.warn(dc, &gone, code);
        }
        self.reconsider(dc, slot);
    }

    /// Callers go elsewhere: the instance here stands by; one of a single service is over, by the log too.
    pub(crate) fn stand_back(&mut self, dc: u16, slot: i32, kind: Kind) {
        let bound = self.dcs.get(&dc).and_then(|c| c.bound(slot)).filter(|d| d.service && d.pid != 0);
        let Some(d) = bound.cloned() else { return };
        // One whose offer is not decided yet is not in the log: that may still take it, when the other is
        // gone.
        if kind != Kind::Single || self.tickets.offers(dc, slot) {
            return self.close_calls_of(&d);
        }
        if let Some(s) = d.session {
            self.note_left(s, (dc, d.endpoint));
            self.tell(s, Told::Moved { dc, endpoint: d.endpoint.raw() });
        }
        self.detach(dc, slot, End::Unbound, false);
    }

    /// Calls that an instance has made in the name of its service end.
    fn close_calls_of(&mut self, d: &Descriptor) {
        for (link, number) in &d.lanes {
            let from = self.links.get(link).and_then(|l| l.lane(*number)).map(|l| l.from);
            if from == Some(d.endpoint.raw()) {
                self.close_lane(*link, *number, Code::MIGRATE);
            }
        }
    }

    /// Whether a lane of this node to a service can be opened now: `None` when it is no service.
    pub(crate) fn service_open(&self, dc: u16, d: &Descriptor) -> Option<Result<bool, Code>> {
        let s = self.service_of(dc, d.endpoint.slot()).filter(|_| d.service)?;
        Some(match s.callers {
            Callers::End(code) => Err(code),
            Callers::Wait => Ok(false),
            Callers::Go if d.is_local() => Ok(s.serving != Duty::Stopped && d.receiver().is_some()),
            Callers::Go => Ok(d.node != self.config.me && self.peers.get(&d.node.0).is_some_and(|p| p.up)),
        })
    }
}
