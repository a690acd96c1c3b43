//! Containers and the nodes they may run on (facts §2.2, §2.3).

use super::Node;
use super::bind::End;
use super::cluster::{DcConfig, Register};
use super::dc::Dc;
use super::dispatch::{DONE, Outcome};
use super::event::{Command, SessionId};
use super::lease::SlotLease;
use super::record::Record;
use crate::control::Event as Told;
use dvs_abi::limits::{DCS_MAX, NODES_MAX};
use dvs_abi::{Code, Endpoint, Error};
use std::collections::BTreeSet;

impl Node {
    /// Creates a container on this node and those listed.
    pub(crate) fn dc_init(&mut self, dc: u16, mut config: DcConfig, nodes: &[u16]) -> Result<Outcome, Error> {
        if dc as usize >= DCS_MAX {
            return Err(Code::BADDCID.into());
        }
        if config.name.is_empty() {
            config.name = format!("dc{dc}");
        }
        config.check()?;
        if self.dcs.contains_key(&dc) || self.dcs.values().any(|c| c.config.name == config.name) {
            return Err(Code::RSCBUSY.into());
        }
        let me = [self.config.me.0];
        for node in me.iter().chain(nodes) {
            if *node as usize >= NODES_MAX || self.config.position(*node).is_none() {
                return Err(Code::BADNODEID.into());
            }
            config.nodes |= 1 << node;
        }
        config.born = (self.cluster.register(dc).version + 1, self.config.me.0);
        self.write_dc(dc, Some(config), None);
        Ok(DONE)
    }

    pub(crate) fn dc_end(&mut self, s: SessionId, dc: u16) -> Result<Outcome, Error> {
        self.dc(dc)?;
        self.write_dc(dc, None, Some(s));
        Ok(DONE)
    }

    pub(crate) fn add_node(&mut self, dc: u16, node: u16) -> Result<Outcome, Error> {
        let config = &self.dc(dc)?.config;
        if node as usize >= NODES_MAX {
            return Err(Code::BADNODEID.into());
        }
        if self.config.position(node).is_none() {
            return Err(Code::NODEFREE.into());
        }
        if config.runs_on(node) {
            let own = node == self.config.me.0;
            return Err(if own { Code::BADNODEID } else { Code::DCNODE }.into());
        }
        let mut config = config.clone();
        config.nodes |= 1 << node;
        self.write_dc(dc, Some(config), None);
        Ok(DONE)
    }

    pub(crate) fn del_node(&mut self, s: SessionId, dc: u16, node: u16) -> Result<Outcome, Error> {
        let config = &self.dc(dc)?.config;
        if node as usize >= NODES_MAX {
            return Err(Code::BADNODEID.into());
        }
        if !config.runs_on(node) {
            return Err(Code::DCNODE.into());
        }
        let mut config = config.clone();
        config.nodes &= !(1 << node);
        self.write_dc(dc, Some(config), Some(s));
        Ok(DONE)
    }

    /// Decides something about a container here and tells every node.
    fn write_dc(&mut self, dc: u16, value: Option<DcConfig>, by: Option<SessionId>) {
        let register = self.cluster.write(dc, self.config.me.0, value);
        let Register { version, origin, value } = register.clone();
        self.broadcast(Record::Dc { dc, version, origin, value });
        self.apply_dc(dc, register.value, by);
    }

    /// Brings the table of a container in line with what was agreed. The process of `by` is not signalled: it
    /// asked for this and has work to finish.
    pub(crate) fn apply_dc(&mut self, dc: u16, value: Option<DcConfig>, by: Option<SessionId>) {
        let same = match (self.dcs.get(&dc), &value) {
            (Some(c), Some(v)) => DcConfig { nodes: v.nodes, ..c.config.clone() } == *v,
            _ => false,
        };
        if !same {
            self.end_dc(dc, by);
        }
        let Some(config) = value else { return };
        let position = self.config.position(self.config.me.0).unwrap_or(0);
        let count = self.config.nodes.len();
        let c = self.dcs.entry(dc).or_insert_with(|| {
            Dc::new(config.clone(), SlotLease::cut(config.first_user(), config.procs, position, count))
        });
        let lost = c.config.nodes & !config.nodes;
        c.config.nodes = config.nodes;
        let withdrawn = c.descriptors().filter(|d| lost & 1 << d.node.0 != 0);
        let places: Vec<Endpoint> = withdrawn.map(|d| d.endpoint).collect();
        self.withdraw_places(dc, &places, by);
    }

    fn end_dc(&mut self, dc: u16, by: Option<SessionId>) {
        let Some(c) = self.dcs.get(&dc) else { return };
        let places: Vec<Endpoint> = c.descriptors().map(|d| d.endpoint).collect();
        let sessions: BTreeSet<SessionId> = c.descriptors().filter_map(|d| d.session).collect();
        self.withdraw_places(dc, &places, by);
        self.fail_waits(dc);
        self.dcs.remove(&dc);
        for s in sessions {
            self.tell(s, Told::DcEnded { dc });
        }
    }

    /// Ends endpoints because their container ends or leaves their node; their processes are asked to end.
    fn withdraw_places(&mut self, dc: u16, places: &[Endpoint], by: Option<SessionId>) {
        let spared = by.and_then(|s| self.sessions.get(&s)).map(|s| s.pid);
        let mut pids = BTreeSet::new();
        for endpoint in places {
            let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(endpoint.slot())) else { continue };
            if d.pid != 0 && Some(d.pid) != spared {
                pids.insert(d.pid);
            }
            if let Some(s) = d.session {
                self.tell(s, Told::Unbind { dc, endpoint: endpoint.raw() });
            }
            self.end_or_demote(dc, *endpoint, End::Withdrawn);
        }
        self.out.extend(pids.into_iter().map(|pid| Command::Signal { pid }));
    }
}
