//! What nodes know of each other's endpoints.
//!
//! Every node tells every other what is bound and unbound on it, and everything once more when a session
//! begins, or a container becomes known to the other. A node that is declared dead takes its endpoints with
//! it; only then do callers learn of it (design §4.3). Standbys for its endpoints stay, so that a later
//! commit can promote them.

use super::Node;
use super::bind::End;
use super::event::Command;
use super::notices::HeldNotice;
use super::record::Record;
use super::service::Service;
use super::wait::{Wait, WaitFor, WaitId};
use crate::control::{BindKind, Event as Told};
use dvs_abi::limits::NODES_MAX;
use dvs_abi::{CallSet, Code, Endpoint, Error, NodeId};

impl Node {
    /// Tells every node that can be reached.
    pub(crate) fn broadcast(&mut self, record: Record) {
        let up = self.peers.iter().filter(|(_, p)| p.up).map(|(n, _)| *n);
        self.out.extend(up.map(|node| Command::Control { node, record: record.clone() }));
    }

    fn bound_record(&self, dc: u16, slot: i32) -> Option<Record> {
        let d = self.dcs.get(&dc)?.bound(slot).filter(|d| d.is_local() && !d.service)?;
        Some(Record::Bound {
            dc,
            endpoint: d.endpoint.raw(),
            kind: d.kind,
            name: d.name.clone(),
            calls: d.privileges.calls.0,
            pid: d.pid,
        })
    }

    /// Tells every node what is bound in a slot here.
    pub(crate) fn publish(&mut self, dc: u16, slot: i32) {
        if let Some(record) = self.bound_record(dc, slot) {
            self.broadcast(record);
        }
    }

    /// Tells one node all that is bound here.
    fn sync(&mut self, node: u16) {
        let dcs: Vec<u16> = self.dcs.keys().copied().collect();
        for dc in dcs {
            self.sync_dc(node, dc);
        }
    }

    /// Tells one node what is bound here in a container.
    fn sync_dc(&mut self, node: u16, dc: u16) {
        let Some(c) = self.dcs.get(&dc) else { return };
        for d in c.descriptors() {
            if let Some(record) = self.bound_record(dc, d.endpoint.slot()) {
                self.out.push(Command::Control { node, record });
            }
        }
    }

    pub(crate) fn node_up(&mut self, node: u16) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&node).filter(|p| !p.up) else { return };
        peer.up = true;
        peer.since = now;
        self.out.push(Command::Log(format!("node {node} is up")));
        self.sync(node);
        // Whoever could not be reached before may be now.
        let dcs: Vec<u16> = self.dcs.keys().copied().collect();
        for dc in dcs {
            let slots = self.slots_of(dc, node);
            for endpoint in slots {
                self.reconsider(dc, endpoint.slot());
            }
        }
    }

    pub(crate) fn node_down(&mut self, node: u16) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&node).filter(|p| p.up) else { return };
        peer.up = false;
        peer.since = now;
        self.out.push(Command::Log(format!("node {node} was declared dead")));
        let dcs: Vec<u16> = self.dcs.keys().copied().collect();
        for dc in dcs {
            for endpoint in self.slots_of(dc, node) {
                self.lose(dc, endpoint, node, End::NodeLost);
            }
        }
        self.lose_calls_to(NodeId(node));
        self.end_proxy_waits(node, None, Code::NOTCONN);
    }

    /// A node, or one endpoint of it, waits here for lanes no more: what went on waiting would register its
    /// caller when nobody is left to say that it has ended.
    fn end_proxy_waits(&mut self, node: u16, caller: Option<(u16, Endpoint)>, code: Code) {
        let of = |w: &Wait| match w.what {
            WaitFor::ProxyLane { from, node: n, .. } => n == node && caller.is_none_or(|c| c == (w.dc, from)),
            _ => false,
        };
        let waits: Vec<WaitId> = self.waits.table.iter().filter(|(_, w)| of(w)).map(|(id, _)| *id).collect();
        for wait in waits {
            self.finish(wait, Err(Error::early(code)));
        }
    }

    /// Calls under way to what goes on without `node` are lost on it: those to a service that would answer
    /// them once go again, when callers may.
    fn lose_calls_to(&mut self, node: NodeId) {
        let mut lost = Vec::new();
        for (key, link) in &self.links {
            for (number, lane) in link.lanes().filter(|(_, l)| l.open && l.node == node) {
                let service = self.service_of(lane.dc, Endpoint::from_raw(lane.to).slot());
                match service.map(Service::lost_code) {
                    Some(code) => lost.push((*key, number, code)),
                    None if lane.retired.is_some() => lost.push((*key, number, Code::NOTCONN)),
                    None => {}
                }
            }
        }
        for (key, number, code) in lost {
            self.close_lane(key, number, code);
        }
    }

    /// The endpoints of a container that are registered on `node`.
    fn slots_of(&self, dc: u16, node: u16) -> Vec<Endpoint> {
        let on = |d: &&super::descriptor::Descriptor| {
            d.is_remote() && (d.node.0 == node || d.instances & 1 << node != 0)
        };
        self.dcs.get(&dc).map_or(Vec::new(), |c| c.descriptors().filter(on).map(|d| d.endpoint).collect())
    }

    /// `endpoint` is not on `node` any more.
    fn lose(&mut self, dc: u16, endpoint: Endpoint, node: u16, why: End) {
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(endpoint.slot())) else { return };
        if d.service {
            return;
        }
        d.instances &= !(1 << node);
        if d.endpoint != endpoint || d.is_local() || d.node.0 != node {
            return;
        }
        // A move that is under way decides where the endpoint goes on; a commit may still come.
        if d.kind == BindKind::Backup || d.moving {
            d.dead |= d.moving && d.kind != BindKind::Backup;
            let lanes = d.lanes.clone();
            let code = match why {
                End::NodeLost => Code::NOTCONN,
                _ if d.moving => Code::MIGRATE,
                _ => Code::DSTDIED,
            };
            for (link, lane) in lanes {
                self.close_lane(link, lane, code);
            }
            return;
        }
        if d.instances != 0 {
            d.node = NodeId(d.instances.trailing_zeros() as u16);
            let lanes = d.lanes.clone();
            for (link, lane) in lanes {
                self.close_lane(link, lane, Code::MIGRATE);
            }
            return self.reconsider(dc, endpoint.slot());
        }
        self.end(dc, endpoint.slot(), why);
    }

    pub(crate) fn record(&mut self, node: u16, record: Record) {
        if node as usize >= NODES_MAX || !self.peers.get(&node).is_some_and(|p| p.up) {
            return;
        }
        let ep = Endpoint::from_raw;
        match record {
            Record::Bound { dc, endpoint, kind, name, calls, pid: _ } => {
                self.learn(node, dc, ep(endpoint), kind, &name, CallSet(calls));
            }
            Record::Unbound { dc, endpoint } => {
                self.lose(dc, ep(endpoint), node, End::Unbound);
                self.end_proxy_waits(node, Some((dc, ep(endpoint))), Code::SRCDIED);
            }
            Record::Resync { dc } => self.sync_dc(node, dc),
            Record::Notice { dc, source, endpoint, value } => {
                let notice = HeldNotice { source: ep(source), value, timestamp: self.now };
                self.notice_record(dc, ep(endpoint), notice);
            }
            Record::Ended { dc, from, to, mtype, code } => self.deliver_warning(dc, from, to, mtype, code),
            Record::Migrate { dc, endpoint, step } => self.migrate_record(dc, ep(endpoint), step),
            Record::Probe { dc, chain, next } => self.probe(dc, chain, next),
            Record::Victim { dc, endpoint, call, cycle } => self.victim(dc, endpoint, call, cycle),
        }
    }

    /// `endpoint` is bound on `node`.
    fn learn(&mut self, node: u16, dc: u16, endpoint: Endpoint, kind: BindKind, name: &str, calls: CallSet) {
        // Not known here yet: it is asked for then.
        let Some(c) = self.dcs.get(&dc) else { return };
        if !endpoint.in_table(c.config.tasks, c.config.procs) {
            return;
        }
        let instance = if kind == BindKind::Replica { 1 << node } else { 0 };
        let slot = endpoint.slot();
        let mut contested = false;
        match c.bound(slot) {
            // Where it is follows from the log.
            Some(d) if d.service => return,
            // The move was committed there; the record that says so is on its way.
            Some(d) if d.is_local() && d.moving && d.endpoint == endpoint => {
                return self.point_to(dc, endpoint, node, true);
            }
            Some(d) if d.is_local() => {
                if d.endpoint == endpoint && d.kind == BindKind::Replica && instance != 0 {
                    self.add_instance(dc, slot, instance);
                } else {
                    let text = format!("{endpoint} of dc{dc} is bound here and on node {node}");
                    self.out.push(Command::Log(text));
                }
                return self.set_contested(dc, slot, true);
            }
            // A standby stays one, and learns who its primary is now.
            Some(d) if d.endpoint == endpoint && (d.node.0 == node || d.kind == BindKind::Backup) => {}
            Some(d) if d.endpoint == endpoint && d.instances != 0 && instance != 0 => {
                return self.add_instance(dc, slot, instance);
            }
            Some(d) if d.endpoint == endpoint && d.moving => {}
            Some(d) => {
                contested = d.node.0 != node;
                self.set_contested(dc, slot, false);
                self.end(dc, slot, End::Unbound);
            }
            None => {}
        }
        self.register(node, dc, endpoint, name, calls, instance);
        if contested {
            self.set_contested(dc, slot, true);
        }
    }

    fn set_contested(&mut self, dc: u16, slot: i32, contested: bool) {
        if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) {
            d.contested = contested;
        }
    }

    fn register(
        &mut self,
        node: u16,
        dc: u16,
        endpoint: Endpoint,
        name: &str,
        calls: CallSet,
        instance: u32,
    ) {
        let slot = endpoint.slot();
        if self.dcs.get(&dc).and_then(|c| c.bound(slot)).is_none() {
            let Ok(mut d) = self.blank(dc, endpoint, BindKind::Remote, NodeId(node), name) else { return };
            d.privileges.calls = calls;
            d.instances = instance;
            return self.install(dc, d);
        }
        let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) else { return };
        let moved = d.node.0 != node;
        d.node = NodeId(node);
        d.dead = false;
        d.privileges.calls = calls;
        d.instances |= instance;
        let lanes = if moved { std::mem::take(&mut d.lanes) } else { Default::default() };
        for (link, lane) in lanes {
            self.close_lane(link, lane, Code::MIGRATE);
        }
        self.reconsider(dc, slot);
    }

    fn add_instance(&mut self, dc: u16, slot: i32, instance: u32) {
        if let Some(d) = self.dcs.get_mut(&dc).and_then(|c| c.bound_mut(slot)) {
            d.instances |= instance;
        }
    }

    pub(crate) fn victim(&mut self, dc: u16, endpoint: i32, call: u64, cycle: Vec<i32>) {
        let slot = Endpoint::from_raw(endpoint).slot();
        // It may have ended since, and another begun.
        let same = self.boards.get(&(dc, endpoint)).is_some_and(|w| w.call == call);
        let session = self.dcs.get(&dc).and_then(|c| c.bound(slot)).and_then(|d| d.session).filter(|_| same);
        if let Some(s) = session {
            self.tell(s, Told::Deadlock { dc, endpoint, call, cycle });
        }
    }
}
