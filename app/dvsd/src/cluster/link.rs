//! Which other nodes are reached, and in which incarnation.
//!
//! ```text
//!   session begins ──► linked ── Hello{incarnation} ──► greeted ── the log says the same ──► up
//!                        ▲                                                                    │
//!                        └── the session ends, or the log says that the incarnation is over ──┘
//! ```
//! What a node says of its endpoints counts only while it is *up*: one that was taken for lost and does not
//! know it yet says nothing that is believed. What came a little before the log said so here waits.

use crate::daemon::Daemon;
use crate::desk::NodeRecord;
use crate::proxy::NodeOrder;
use dvs_abi::NodeId;
use dvs_abi::limits::EARLY_RECORDS_MAX;
use dvs_control::epoch::Epoch;
use dvs_kern::node::event::Event;
use dvs_kern::node::record::Record;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the ways to other nodes.
#[derive(Default)]
pub(super) struct Links {
    linked: BTreeSet<u16>,
    greeted: BTreeMap<u16, Epoch>,
    up: BTreeSet<u16>,
    early: BTreeMap<u16, Vec<Record>>,
}

impl Links {
    /// Whether a node is up, as the rules know it.
    pub(super) fn is_up(&self, node: u16) -> bool {
        self.up.contains(&node)
    }

    /// The nodes that are up.
    pub(super) fn all(&self) -> Vec<u16> {
        self.up.iter().copied().collect()
    }

    /// The incarnation a node says it is.
    pub(super) fn greeted(&self, node: u16) -> Option<Epoch> {
        self.greeted.get(&node).copied()
    }
}

impl Daemon {
    /// A session with a node began.
    pub(crate) fn node_linked(&mut self, node: u16) {
        self.plane.links.linked.insert(node);
        self.greet(node);
    }

    /// It ended.
    pub(crate) fn node_unlinked(&mut self, node: u16) {
        self.plane.links.linked.remove(&node);
        self.plane.links.greeted.remove(&node);
        self.node_lost(node);
    }

    /// Says who this is, to a node or to all.
    fn greet(&mut self, node: u16) {
        if let Some(incarnation) = self.plane.incarnation {
            self.send_node(node, &NodeRecord::Hello { incarnation: incarnation.0 });
        }
    }

    pub(super) fn greet_all(&mut self) {
        for node in self.plane.links.linked.clone() {
            self.greet(node);
        }
    }

    /// A node says in which incarnation it is.
    pub(crate) fn node_greets(&mut self, node: u16, incarnation: Epoch) {
        if self.plane.links.greeted.insert(node, incarnation).is_some_and(|old| old != incarnation) {
            self.node_lost(node);
        }
        self.node_review(node);
    }

    /// Whether a node is up by now.
    pub(super) fn node_review(&mut self, node: u16) {
        let plane = &mut self.plane;
        let says = plane.links.greeted.get(&node).copied();
        let is = plane.state.member(NodeId(node)).and_then(|m| m.incarnation());
        if plane.incarnation.is_none() || says.is_none() || says != is || !plane.links.up.insert(node) {
            return;
        }
        let early = plane.links.early.remove(&node).unwrap_or_default();
        self.feed(Event::NodeUp { node });
        self.radar_link(node, true);
        for record in early {
            self.feed(Event::Record { node, record });
        }
    }

    pub(super) fn node_review_all(&mut self) {
        for node in self.plane.links.linked.clone() {
            self.node_review(node);
        }
    }

    /// What a node says of its endpoints.
    pub(crate) fn node_rules(&mut self, node: u16, record: Record) {
        let links = &mut self.plane.links;
        if links.up.contains(&node) {
            return self.feed(Event::Record { node, record });
        }
        if !links.greeted.contains_key(&node) {
            return;
        }
        let early = links.early.entry(node).or_default();
        if early.len() < EARLY_RECORDS_MAX {
            return early.push(record);
        }
        early.clear();
        self.log.add("cluster", format!("n{node} says more than can be kept until the log knows it"));
        self.order_nodes(NodeOrder::GiveUp { node });
    }

    /// What was known of a node's endpoints is nothing any more.
    pub(super) fn node_lost(&mut self, node: u16) {
        self.plane.links.early.remove(&node);
        if self.plane.links.up.remove(&node) {
            self.radar_link(node, false);
            self.feed(Event::NodeDown { node });
            self.desk_node_down(node);
            self.programs_node_down(node);
        }
    }

    /// The log says that a node is lost: its session ends, and with it what was under way.
    pub(super) fn node_over(&mut self, node: u16) {
        self.node_lost(node);
        self.order_nodes(NodeOrder::GiveUp { node });
    }

    pub(crate) fn order_nodes(&mut self, order: NodeOrder) {
        if let Some(door) = &self.door {
            // It ends with the proxy.
            let _ = door.nodes.send(order);
        }
    }

    /// A message of the log for a node of this daemon.
    pub(crate) fn node_log(&mut self, node: u16, bytes: Vec<u8>) {
        self.plane.group.receive(NodeId(node), bytes);
    }

    /// The proxy is gone: nobody is reached.
    pub(crate) fn unlink_all(&mut self) {
        for node in self.plane.links.linked.clone() {
            self.node_unlinked(node);
        }
    }
}
