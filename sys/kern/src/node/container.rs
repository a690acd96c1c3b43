//! Containers and the nodes they may run on (facts §2.2, §2.3): asking for a change, doing what was decided.

use super::Node;
use super::bind::End;
use super::config::{DcConfig, Unfit};
use super::dc::Dc;
use super::dispatch::Outcome;
use super::event::{Command, SessionId, Want};
use super::record::Record;
use crate::control::{BindKind, Event as Told};
use dvs_abi::limits::{DCS_MAX, NODES_MAX};
use dvs_abi::{Code, Endpoint, Error};
use std::collections::BTreeSet;

impl Node {
    /// Has a container created on this node and those listed.
    pub(crate) fn dc_init(
        &mut self,
        s: SessionId,
        id: u64,
        dc: u16,
        mut config: DcConfig,
        nodes: &[u16],
    ) -> Result<Outcome, Error> {
        if dc as usize >= DCS_MAX {
            return Err(Code::BADDCID.into());
        }
        if config.name.is_empty() {
            config.name = format!("dc{dc}");
        }
        config.nodes = 1 << self.config.me.0;
        config.check()?;
        if self.dcs.contains_key(&dc) || self.dcs.values().any(|c| c.config.name == config.name) {
            return Err(Code::RSCBUSY.into());
        }
        for node in nodes {
            if *node as usize >= NODES_MAX || !self.config.knows(*node) {
                return Err(Code::BADNODEID.into());
            }
            config.nodes |= 1 << node;
        }
        self.decide_for(s, id, Want::Create { dc, config })
    }

    pub(crate) fn dc_end(&mut self, s: SessionId, id: u64, dc: u16) -> Result<Outcome, Error> {
        self.dc(dc)?;
        self.decide_for(s, id, Want::End { dc })
    }

    pub(crate) fn add_node(&mut self, s: SessionId, id: u64, dc: u16, node: u16) -> Result<Outcome, Error> {
        let config = &self.dc(dc)?.config;
        if node as usize >= NODES_MAX {
            return Err(Code::BADNODEID.into());
        }
        if !self.config.knows(node) {
            return Err(Code::NODEFREE.into());
        }
        if config.runs_on(node) {
            let own = node == self.config.me.0;
            return Err(if own { Code::BADNODEID } else { Code::DCNODE }.into());
        }
        self.decide_for(s, id, Want::Allow { dc, node, on: true })
    }

    pub(crate) fn del_node(&mut self, s: SessionId, id: u64, dc: u16, node: u16) -> Result<Outcome, Error> {
        let config = &self.dc(dc)?.config;
        if node as usize >= NODES_MAX {
            return Err(Code::BADNODEID.into());
        }
        if !config.runs_on(node) {
            return Err(Code::DCNODE.into());
        }
        self.decide_for(s, id, Want::Allow { dc, node, on: false })
    }

    /// What was decided about a container.
    pub(crate) fn container(&mut self, dc: u16, value: Option<DcConfig>) {
        let fits = |v: &DcConfig| matches!(v.check(), Ok(()) | Err(Unfit::Nowhere));
        if dc as usize >= DCS_MAX || !value.as_ref().is_none_or(fits) {
            return self.out.push(Command::Log(format!("what was decided about container {dc} cannot be")));
        }
        let (tickets, spared) = self.tickets_about(dc);
        self.note_decided(tickets);
        let before = self.dcs.get(&dc).map(|c| (c.config.born, c.config.nodes));
        let now = value.as_ref().map(|v| (v.born, v.nodes));
        self.apply_dc(dc, value, &spared);
        let had = before.filter(|b| now.is_some_and(|n| n.0 == b.0)).map_or(0, |b| b.1);
        if now.is_some_and(|(_, nodes)| nodes & !had != 0) {
            // What was said of it before it was known here.
            self.broadcast(Record::Resync { dc });
        }
    }

    /// Brings the table of a container in line with what was decided. Processes in `spared` are not
    /// signalled.
    fn apply_dc(&mut self, dc: u16, value: Option<DcConfig>, spared: &BTreeSet<u32>) {
        let me = self.config.me;
        let same = match (self.dcs.get(&dc), &value) {
            (Some(c), Some(v)) => DcConfig { nodes: v.nodes, ..c.config.clone() } == *v,
            _ => false,
        };
        if !same {
            self.end_dc(dc, spared);
        }
        let Some(config) = value else { return };
        let c = self.dcs.entry(dc).or_insert_with(|| Dc::new(config.clone(), me));
        let lost = c.config.nodes & !config.nodes;
        c.config.nodes = config.nodes;
        let leaves = lost & 1 << me.0 != 0;
        let withdrawn = c.descriptors().filter(|d| lost & 1 << d.node.0 != 0 || (leaves && d.pid != 0));
        let places: Vec<Endpoint> = withdrawn.map(|d| d.endpoint).collect();
        self.withdraw_places(dc, &places, spared);
        if leaves {
            self.give_slots(dc);
        }
        self.provide_slots(dc);
    }

    fn end_dc(&mut self, dc: u16, spared: &BTreeSet<u32>) {
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        c.services.clear();
        let places: Vec<Endpoint> = c.descriptors().map(|d| d.endpoint).collect();
        let sessions: BTreeSet<SessionId> = c.descriptors().filter_map(|d| d.session).collect();
        self.withdraw_places(dc, &places, spared);
        for endpoint in places {
            // Endpoints of services are left when their instances have ended.
            self.end(dc, endpoint.slot(), End::Withdrawn);
        }
        self.fail_waits(dc);
        self.dcs.remove(&dc);
        for s in sessions {
            self.tell(s, Told::DcEnded { dc });
        }
    }

    /// Ends endpoints because their container ends or leaves their node; their processes are asked to end.
    pub(crate) fn withdraw_places(&mut self, dc: u16, places: &[Endpoint], spared: &BTreeSet<u32>) {
        let mut pids = self.end_places(dc, places, |endpoint| Told::Unbind { dc, endpoint });
        pids.retain(|pid| !spared.contains(pid));
        self.out.extend(pids.into_iter().map(|pid| Command::Signal { pid }));
    }

    /// Ends endpoints, and tells their processes so; which these are.
    pub(crate) fn end_places(
        &mut self,
        dc: u16,
        places: &[Endpoint],
        told: impl Fn(i32) -> Told,
    ) -> BTreeSet<u32> {
        let (mut pids, me) = (BTreeSet::new(), self.config.me);
        for endpoint in places {
            let Some(c) = self.dcs.get(&dc) else { continue };
            let Some(d) = c.bound(endpoint.slot()) else { continue };
            // Of a standby the primary goes on.
            let primary = d.kind == BindKind::Backup && d.node != me && c.config.runs_on(d.node.0);
            if d.pid != 0 {
                pids.insert(d.pid);
            }
            if let Some(s) = d.session {
                self.tell(s, told(endpoint.raw()));
            }
            self.end_or_demote(dc, *endpoint, if primary { End::Unbound } else { End::Withdrawn });
        }
        pids
    }
}
