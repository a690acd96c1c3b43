//! Which nodes are of the system, and what happens when this one was taken for lost.

use super::Node;
use super::config::NodeEntry;
use super::event::Command;
use crate::control::Event as Told;
use dvs_abi::Endpoint;
use dvs_abi::limits::NODES_MAX;
use std::collections::BTreeSet;

impl Node {
    /// A node is one of the system, or is called otherwise.
    pub(crate) fn admitted(&mut self, entry: NodeEntry) {
        if entry.id.0 as usize >= NODES_MAX {
            return;
        }
        self.peers.entry(entry.id.0).or_default();
        match self.config.nodes.iter_mut().find(|n| n.id == entry.id) {
            Some(known) => *known = entry,
            None => self.config.nodes.push(entry),
        }
    }

    /// A node is none of the system any more: it takes all that it had with it.
    pub(crate) fn forgotten(&mut self, node: u16) {
        self.node_down(node);
        let dcs: Vec<u16> = self.dcs.keys().copied().collect();
        for dc in dcs {
            let Some(c) = self.dcs.get_mut(&dc) else { continue };
            c.config.nodes &= !1u32.checked_shl(node.into()).unwrap_or(0);
            let places: Vec<Endpoint> =
                c.descriptors().filter(|d| d.node.0 == node && !d.service).map(|d| d.endpoint).collect();
            self.withdraw_places(dc, &places, &BTreeSet::new());
        }
        if node != self.config.me.0 {
            self.config.nodes.retain(|n| n.id.0 != node);
            self.peers.remove(&node);
        }
    }

    /// This node was taken for lost. What was bound here may be bound elsewhere by now: it ends here. Its
    /// programs are told, and go on: they may have other things to do, or bind again.
    pub(crate) fn reborn(&mut self, first_generation: u32) {
        self.out.push(Command::Log("this node was taken for lost and begins anew".into()));
        self.config.first_generation = first_generation;
        self.drop_tickets();
        let me = self.config.me;
        let dcs: Vec<u16> = self.dcs.keys().copied().collect();
        for dc in dcs {
            let Some(c) = self.dcs.get(&dc) else { continue };
            let here = c.descriptors().filter(|d| d.pid != 0 || d.node == me);
            let places: Vec<Endpoint> = here.map(|d| d.endpoint).collect();
            let told = |endpoint| Told::Withdrawn { dc, endpoint };
            self.end_places(dc, &places, told);
            self.forget_instances(dc);
            self.lease_anew(dc);
        }
    }
}
