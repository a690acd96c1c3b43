//! Carries out what [`dvs_radar::links`] says about the ways to other nodes: tells the rules and RADAR who is
//! up, and ends sessions with nodes that are lost.

use crate::daemon::Daemon;
use crate::desk::NodeRecord;
use crate::proxy::NodeOrder;
use dvs_abi::NodeId;
use dvs_control::epoch::Epoch;
use dvs_kern::node::event::Event;
use dvs_kern::node::record::Record;
use dvs_radar::links::Said;

impl Daemon {
    /// A session with a node began.
    pub(crate) fn node_linked(&mut self, node: u16) {
        self.plane.links.linked(NodeId(node));
        self.greet(node);
    }

    /// It ended.
    pub(crate) fn node_unlinked(&mut self, node: u16) {
        if self.plane.links.unlinked(NodeId(node)) {
            self.node_down(node);
        }
    }

    /// Says who this is, to a node or to all.
    fn greet(&mut self, node: u16) {
        if let Some(incarnation) = self.plane.incarnation {
            self.send_node(node, &NodeRecord::Hello { incarnation: incarnation.0 });
        }
    }

    pub(super) fn greet_all(&mut self) {
        for node in self.plane.links.all_linked() {
            self.greet(node.0);
        }
    }

    /// A node says in which incarnation it is.
    pub(crate) fn node_greets(&mut self, node: u16, incarnation: Epoch) {
        if self.plane.links.greets(NodeId(node), incarnation) {
            self.node_down(node);
        }
        self.node_review(node);
    }

    /// Whether a node is up by now.
    pub(super) fn node_review(&mut self, node: u16) {
        let plane = &mut self.plane;
        let lives = plane.state.member(NodeId(node)).and_then(|m| m.incarnation());
        if plane.incarnation.is_none() {
            return;
        }
        let Some(early) = plane.links.review(NodeId(node), lives) else { return };
        self.feed(Event::NodeUp { node });
        self.radar_link(node, true);
        for record in early {
            self.feed(Event::Record { node, record });
        }
    }

    pub(super) fn node_review_all(&mut self) {
        for node in self.plane.links.all_linked() {
            self.node_review(node.0);
        }
    }

    /// What a node says of its endpoints.
    pub(crate) fn node_rules(&mut self, node: u16, record: Record) {
        match self.plane.links.says(NodeId(node), record) {
            Said::Counts(record) => self.feed(Event::Record { node, record }),
            Said::Waits | Said::Nothing => {}
            Said::TooMuch => {
                let text = format!("n{node} says more than can be kept until the log knows it");
                self.log.add("cluster", text);
                self.order_nodes(NodeOrder::GiveUp { node });
            }
        }
    }

    /// What was known of a node's endpoints is nothing any more.
    pub(super) fn node_lost(&mut self, node: u16) {
        if self.plane.links.lost(NodeId(node)) {
            self.node_down(node);
        }
    }

    /// This node begins anew: until it has, it says nothing to others, and hears nothing of them.
    pub(super) fn unlink_rules(&mut self) {
        for node in self.plane.links.begins_anew() {
            self.node_down(node.0);
        }
    }

    fn node_down(&mut self, node: u16) {
        self.radar_link(node, false);
        self.feed(Event::NodeDown { node });
        self.desk_node_down(node);
        self.programs_node_down(node);
        self.moves_node_down(node);
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
        for node in self.plane.links.all_linked() {
            self.node_unlinked(node.0);
        }
    }
}
