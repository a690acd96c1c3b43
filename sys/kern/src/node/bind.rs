//! Binding and what follows from the end of a binding (facts §2.5).

use super::descriptor::Descriptor;
use super::dispatch::{DONE, Outcome};
use super::event::{Command, SessionId};
use super::record::Record;
use super::wait::WaitFor;
use super::{Node, Place};
use crate::control::{Answer, BindKind, Event as Told};
use dvs_abi::limits::{NAME_BYTES, NODE_ENDPOINTS_MAX, SESSION_ENDPOINTS_MAX};
use dvs_abi::{Code, Effect, Endpoint, Error, NodeId, Privileges};
use std::collections::BTreeSet;

/// What `Request::Bind` asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BindAsk {
    pub kind: BindKind,
    pub dc: u16,
    pub endpoint: Endpoint,
    pub pid: u32,
    pub node: u16,
    pub name: String,
    pub board: u32,
}

/// Why a binding ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was asked for.
    Unbound,
    /// Its process ended with this code.
    Exit(i32),
    /// Its node was declared dead.
    NodeLost,
    /// Its container ended or left the node.
    Withdrawn,
}

impl BindAsk {
    /// Of another node's process: it is only registered here.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self.kind, BindKind::Remote | BindKind::Backup)
    }
}

impl Node {
    pub(crate) fn bind(&mut self, s: SessionId, id: u64, ask: BindAsk) -> Result<Outcome, Error> {
        let me = self.config.me.0;
        if ask.is_far() && (ask.node == me || !self.config.knows(ask.node)) {
            return Err(Code::BADNODEID.into());
        }
        let dc = self.dc(ask.dc)?;
        let auto = ask.endpoint == Endpoint::NONE && !ask.is_far();
        if !auto && !ask.endpoint.in_table(dc.config.tasks, dc.config.procs) {
            return Err(Code::RANGE.into());
        }
        let place = if ask.is_far() { ask.node } else { me };
        if !dc.config.runs_on(place) || (ask.kind == BindKind::Backup && !dc.config.runs_on(me)) {
            return Err(Code::NODCNODE.into());
        }
        if !auto && self.service_of(ask.dc, ask.endpoint.slot()).is_some() {
            return self.bind_instance(s, id, ask);
        }
        if !auto {
            self.check_slot(&ask)?;
        }
        self.holder(s, &ask)?;
        if auto {
            self.bind_any(s, id, ask)
        } else if self.must_claim(&ask) {
            self.claim_for(s, id, ask)
        } else {
            self.bind_at(s, &ask, ask.endpoint)
        }
    }

    /// Binds to this endpoint, whose slot may be taken.
    pub(crate) fn bind_at(
        &mut self,
        s: SessionId,
        ask: &BindAsk,
        endpoint: Endpoint,
    ) -> Result<Outcome, Error> {
        let (holder, pid) = self.holder(s, ask)?;
        let others = self.forget_remote(ask.dc, endpoint.slot());
        self.enter(s, ask, endpoint, holder, pid)?;
        if let Some(d) = self.dcs.get_mut(&ask.dc).and_then(|c| c.bound_mut(endpoint.slot()))
            && ask.kind == BindKind::Replica
        {
            // When this instance ends, its node's callers go to one of the others.
            d.instances |= others;
            d.contested = others != 0;
        }
        self.bound_answer(ask.dc, endpoint).map(Outcome::Answer)
    }

    /// Whether the wanted slot can be taken (facts §2.5.1).
    fn check_slot(&self, ask: &BindAsk) -> Result<(), Error> {
        let dc = self.dc(ask.dc)?;
        let Some(d) = dc.bound(ask.endpoint.slot()) else { return Ok(()) };
        let used = Err(Error::early(Code::SLOTUSED).at(d.endpoint));
        if d.kind != BindKind::Remote || d.moving {
            return used;
        }
        let same = d.endpoint == ask.endpoint && d.node.0 == ask.node;
        match ask.kind {
            BindKind::Remote if same && !d.declared => Ok(()),
            BindKind::Backup if same => Ok(()),
            BindKind::Replica if d.endpoint == ask.endpoint && d.instances != 0 => Ok(()),
            _ => used,
        }
    }

    /// The session and the process that will hold the binding.
    pub(crate) fn holder(&self, s: SessionId, ask: &BindAsk) -> Result<(Option<SessionId>, u32), Error> {
        if ask.kind == BindKind::Remote {
            return Ok((None, 0));
        }
        let caller = self.sessions.get(&s).ok_or(Code::NOTBIND)?;
        let own = ask.pid == 0 || ask.pid == caller.pid || ask.kind == BindKind::Own;
        let (session, pid) = if own {
            (Some(s), caller.pid)
        } else {
            (self.sessions.iter().find(|(_, x)| x.pid == ask.pid).map(|(n, _)| *n), ask.pid)
        };
        if pid == 0 || pid == self.config.pid {
            return Err(Code::BADPID.into());
        }
        let holder = session.and_then(|n| self.sessions.get(&n));
        if !own && (holder.is_some_and(|x| !x.endpoints.is_empty()) || self.orphans.contains_key(&pid)) {
            return Err(Code::SLOTUSED.into());
        }
        if holder.is_some_and(|x| x.endpoints.len() >= SESSION_ENDPOINTS_MAX)
            || self.bound_here >= NODE_ENDPOINTS_MAX
        {
            return Err(Code::NOSPC.into());
        }
        Ok((session, pid))
    }

    fn enter(
        &mut self,
        s: SessionId,
        ask: &BindAsk,
        endpoint: Endpoint,
        session: Option<SessionId>,
        pid: u32,
    ) -> Result<(), Error> {
        let node = if ask.is_far() { NodeId(ask.node) } else { self.config.me };
        let program = session.and_then(|n| self.sessions.get(&n)).map(|x| x.name.clone());
        let name = if ask.name.is_empty() { program.unwrap_or_default() } else { ask.name.clone() };
        let mut d = self.blank(ask.dc, endpoint, ask.kind, node, &name)?;
        d.pid = pid;
        d.session = session;
        d.board = ask.board;
        // A standby bound by number only has no port yet: it waits to be bound.
        let named = ask.kind == BindKind::Backup && ask.board == u32::MAX;
        d.own = session == Some(s) && !named;
        d.claimed = d.own && d.is_local();
        d.declared = ask.kind == BindKind::Remote;
        if ask.kind == BindKind::Replica {
            d.instances = 1 << self.config.me.0;
        }
        self.install(ask.dc, d);
        match session {
            Some(holder) => self.offer(holder),
            None if pid != 0 => {
                self.orphans.entry(pid).or_default().push((ask.dc, endpoint));
                self.out.push(Command::WatchPid { pid });
            }
            None => {}
        }
        Ok(())
    }

    /// A descriptor with the rights every new one has.
    pub(crate) fn blank(
        &self,
        dc: u16,
        endpoint: Endpoint,
        kind: BindKind,
        node: NodeId,
        name: &str,
    ) -> Result<Descriptor, Code> {
        let config = &self.dc(dc)?.config;
        Ok(Descriptor {
            endpoint,
            kind,
            node,
            pid: 0,
            session: None,
            claimed: false,
            own: false,
            board: 0,
            name: short(name),
            privileges: Privileges::at_bind(endpoint.slot(), config.tasks, config.sysprocs),
            service: false,
            moving: false,
            moved: false,
            dead: false,
            asked: false,
            contested: false,
            declared: false,
            instances: 0,
            lanes: BTreeSet::new(),
            watchers: BTreeSet::new(),
            held: Vec::new(),
        })
    }

    /// Puts a descriptor into its (free) slot and tells whom it concerns.
    pub(crate) fn install(&mut self, dc: u16, d: Descriptor) {
        let (endpoint, local, session) = (d.endpoint, d.is_local(), d.session);
        if let Some(holder) = session.and_then(|s| self.sessions.get_mut(&s)) {
            holder.endpoints.insert((dc, endpoint));
        }
        self.bound_here += usize::from(d.pid != 0 && (local || d.kind == BindKind::Backup));
        if let Some(slot) = self.dcs.get_mut(&dc).and_then(|c| c.slot_mut(endpoint.slot())) {
            slot.last = Some(endpoint);
            slot.lost = None;
            slot.news = None;
            slot.descriptor = Some(Box::new(d));
        }
        self.slot_taken(dc, endpoint.slot());
        if local {
            self.publish(dc, endpoint.slot());
        }
        self.reconsider(dc, endpoint.slot());
    }

    /// A remote registration makes room for a local one of the same slot; its lanes are opened anew. The
    /// nodes where it has instances.
    fn forget_remote(&mut self, dc: u16, slot: i32) -> u32 {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.slot_mut(slot)?.descriptor.take()) else {
            return 0;
        };
        for (link, lane) in d.lanes.clone() {
            self.close_lane(link, lane, Code::MIGRATE);
        }
        self.forget_watchers(dc, &d, false);
        d.instances
    }

    fn forget_watchers(&mut self, dc: u16, d: &Descriptor, tell: bool) {
        for watcher in &d.watchers {
            if let Some(session) = self.sessions.get_mut(watcher) {
                session.watches.remove(&(dc, d.endpoint));
                if tell {
                    self.tell(*watcher, Told::Gone { dc, endpoint: d.endpoint.raw() });
                }
            }
        }
    }

    /// What a binding looks like to its session.
    pub(crate) fn bound_answer(&self, dc: u16, endpoint: Endpoint) -> Result<Answer, Error> {
        let c = self.dc(dc)?;
        let d = c.find(endpoint)?;
        Ok(Answer::Bound {
            dc,
            endpoint: d.endpoint.raw(),
            kind: d.kind,
            tasks: c.config.tasks,
            procs: c.config.procs,
            sysprocs: c.config.sysprocs,
            privileges: d.privileges.into(),
        })
    }

    /// Gives a session what was bound for its process before it came.
    pub(crate) fn adopt(&mut self, session: SessionId, pid: u32) {
        for (dc, endpoint) in self.orphans.remove(&pid).unwrap_or_default() {
            let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { continue };
            if d.endpoint == endpoint && d.session.is_none() {
                d.session = Some(session);
                if let Some(s) = self.sessions.get_mut(&session) {
                    s.endpoints.insert((dc, endpoint));
                }
            }
        }
    }

    /// A process that was bound before it had a session ended.
    pub(crate) fn pid_gone(&mut self, pid: u32) {
        for (dc, endpoint) in self.orphans.remove(&pid).unwrap_or_default() {
            let bound = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot()));
            if bound.is_some_and(|d| d.endpoint == endpoint && d.session.is_none()) {
                self.end_or_demote(dc, endpoint, End::Exit(-1));
            }
        }
    }

    /// Marks the first endpoint bound in `session` by somebody else as known to it.
    pub(crate) fn claim(&mut self, session: SessionId, board: u32) -> Option<Place> {
        let places: Vec<Place> = self.sessions.get(&session)?.endpoints.iter().copied().collect();
        for place in places {
            let Some(d) = self.dcs.get_mut(&place.0).and_then(|c| c.bound_mut(place.1.slot())) else {
                continue;
            };
            if (d.is_local() || d.service) && !d.claimed {
                d.claimed = true;
                d.board = board;
                self.reconsider(place.0, place.1.slot());
                self.taken.push(place);
                return Some(place);
            }
        }
        None
    }

    pub(crate) fn unbind(
        &mut self,
        s: SessionId,
        id: u64,
        dc: u16,
        endpoint: Endpoint,
        remaining: u64,
    ) -> Result<Outcome, Error> {
        let c = self.dc(dc)?;
        let session = self.sessions.get(&s).ok_or(Code::NOTBIND)?;
        let bound = !session.endpoints.is_empty();
        if bound && session.endpoints_in(dc).next().is_none() {
            return Err(Code::BADDCID.into());
        }
        let slot_used = c.bound(endpoint.slot()).is_some();
        let d = c.find(endpoint).map_err(|code| match code {
            Code::RANGE => Code::ENDPOINT,
            Code::ENDPOINT if slot_used => Code::ENDPOINT,
            _ => Code::NOTBIND,
        })?;
        let (endpoint, pid, caller_pid) = (d.endpoint, d.pid, session.pid);
        if d.service && d.pid == 0 {
            return Err(Code::NOTBIND.into());
        }
        let service = d.service;
        if d.session == Some(s) || (d.is_remote() && !service) {
            self.end_or_demote(dc, endpoint, End::Unbound);
            return Ok(DONE);
        }
        if d.moving && !service {
            return Err(Error::early(Code::MIGRATE).at(endpoint));
        }
        let holder = d.session;
        if let Some(d) = self.dc_mut(dc)?.bound_mut(endpoint.slot()) {
            d.asked = true;
        }
        if let Some(holder) = holder {
            self.tell(holder, Told::Unbind { dc, endpoint: endpoint.raw() });
        }
        if pid != caller_pid {
            self.out.push(Command::Signal { pid });
        }
        if service {
            // Its service goes on, so there is no end to wait for.
            return Ok(DONE);
        }
        if !bound {
            // It was asked all the same.
            return Err(Error::new(Code::AGAIN, Effect::Unknown).at(endpoint));
        }
        self.park(s, id, dc, Some(endpoint.slot()), WaitFor::Unbind { endpoint }, remaining)
    }

    /// The session ends in order.
    pub(crate) fn exit(&mut self, s: SessionId, code: i32) {
        if let Some(session) = self.sessions.get_mut(&s) {
            session.exit = Some(code);
        }
        self.end_all(s, code);
    }

    pub(crate) fn end_all(&mut self, s: SessionId, code: i32) {
        let Some(session) = self.sessions.get(&s) else { return };
        for (dc, endpoint) in session.endpoints.clone() {
            self.end_or_demote(dc, endpoint, End::Exit(code));
        }
    }

    /// A standby that ends leaves the registration of its primary; everything else is freed.
    pub(crate) fn end_or_demote(&mut self, dc: u16, endpoint: Endpoint, why: End) {
        let slot = endpoint.slot();
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) else { return };
        if d.service {
            return self.instance_ended(dc, slot, why);
        }
        if d.is_local() && d.moving && matches!(why, End::Exit(_)) {
            return self.orphan_move(dc, endpoint);
        }
        if d.kind != BindKind::Backup || why == End::Withdrawn {
            return self.end(dc, slot, why);
        }
        d.kind = BindKind::Remote;
        let (session, pid, primary) = (d.session.take(), std::mem::take(&mut d.pid), d.node.0);
        self.bound_here -= usize::from(pid != 0);
        if let Some(s) = session.and_then(|s| self.sessions.get_mut(&s)) {
            s.endpoints.remove(&(dc, endpoint));
        }
        if !self.peers.get(&primary).is_some_and(|p| p.up) {
            self.end(dc, slot, End::NodeLost);
        }
    }

    /// The process of an endpoint ended in the middle of its move, which may have been committed
    /// elsewhere: callers wait on. A roll-back ends it.
    fn orphan_move(&mut self, dc: u16, endpoint: Endpoint) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { return };
        d.kind = BindKind::Remote;
        (d.dead, d.claimed) = (true, false);
        let (session, pid, lanes) = (d.session.take(), std::mem::take(&mut d.pid), d.lanes.clone());
        self.bound_here -= usize::from(pid != 0);
        if let Some(s) = session.and_then(|s| self.sessions.get_mut(&s)) {
            s.endpoints.remove(&(dc, endpoint));
        }
        if let Some(places) = self.orphans.get_mut(&pid) {
            places.retain(|p| *p != (dc, endpoint));
        }
        for (link, lane) in lanes {
            self.close_lane(link, lane, Code::MIGRATE);
        }
        self.broadcast(super::record::Record::Unbound { dc, endpoint: endpoint.raw() });
    }

    /// Frees a slot: lanes are closed, those who watch or wait are told, the other nodes too.
    pub(crate) fn end(&mut self, dc: u16, slot: i32, why: End) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.slot_mut(slot)?.descriptor.take()) else { return };
        if why == End::NodeLost
            && let Some(s) = self.dcs.get_mut(&dc).and_then(|c| c.slot_mut(slot))
        {
            s.lost = Some(d.node);
        }
        self.note_freed(dc, slot);
        let code = if why == End::NodeLost { Code::NOTCONN } else { Code::DSTDIED };
        let heard = d.is_remote() && why == End::Unbound;
        for (link, lane) in d.lanes.clone() {
            if heard {
                self.retire_lane(link, lane, code);
            } else {
                self.close_lane(link, lane, code);
            }
        }
        if let Some(s) = d.session.and_then(|s| self.sessions.get_mut(&s)) {
            s.endpoints.remove(&(dc, d.endpoint));
        }
        if d.session.is_none()
            && let Some(places) = self.orphans.get_mut(&d.pid)
        {
            places.retain(|p| *p != (dc, d.endpoint));
            if places.is_empty() {
                self.orphans.remove(&d.pid);
            }
        }
        self.forget_watchers(dc, &d, true);
        if d.is_local() {
            self.broadcast(Record::Unbound { dc, endpoint: d.endpoint.raw() });
        }
        if d.contested {
            // Another node may have it still; what it said was passed over then.
            self.broadcast(Record::Resync { dc });
        }
        self.bound_here -= usize::from(d.pid != 0 && d.node == self.config.me);
        self.bound_here -= usize::from(d.pid != 0 && d.kind == BindKind::Backup);
        self.reconsider(dc, slot);
        if let (End::Exit(code), true, false) = (why, d.is_local(), d.asked) {
            self.warn(dc, &d, code);
        }
        self.slot_ended(dc, slot);
    }

    /// Tells who wants to know that a process ended (facts §2.5.3), wherever it is. Nobody learns of a
    /// failure.
    pub(crate) fn warn(&mut self, dc: u16, d: &Descriptor, code: i32) {
        let Ok(c) = self.dc(dc) else { return };
        let own = d.privileges.warn;
        let to = if own == Endpoint::NONE { Endpoint::from_raw(c.config.warn) } else { own };
        let Ok(target) = c.find(to) else { return };
        if target.endpoint.slot() == d.endpoint.slot() {
            return;
        }
        let (from, to) = (d.endpoint.raw(), target.endpoint.raw());
        let (node, remote, mtype) = (target.node.0, target.is_remote(), c.config.warn_type);
        if remote && node == self.config.me.0 {
            // A service that nobody serves.
        } else if remote {
            self.out.push(Command::Control { node, record: Record::Ended { dc, from, to, mtype, code } });
        } else {
            self.deliver_warning(dc, from, to, mtype, code);
        }
    }

    /// The news of an end, for an endpoint of this node.
    pub(crate) fn deliver_warning(&mut self, dc: u16, from: i32, to: i32, mtype: i32, code: i32) {
        let target = self.dc(dc).and_then(|c| c.find(Endpoint::from_raw(to)));
        let session = target.ok().filter(|d| d.is_local()).and_then(|d| Some((d.session?, d.endpoint.raw())));
        if let Some((session, to)) = session {
            self.tell(session, Told::Ended { dc, from, to, mtype, code });
        }
    }
}

/// A name cut to what fits.
fn short(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}
