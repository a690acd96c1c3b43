//! Ten times a second, in a system of several nodes: this node asks whether it still counts; the leader
//! looks whom it has not heard of, and who should have a vote.

use super::roster::Step;
use crate::daemon::Daemon;
use crate::desk::NodeRecord;
use crate::proxy::NodeOrder;
use dvs_abi::NodeId;
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_linux::clock;

impl Daemon {
    /// Does what is due.
    pub(crate) fn plane_expire(&mut self) {
        let now = clock::now();
        self.asked_expire(now);
        self.radar_tick(now);
        if self.plane.beats() && self.plane.leases.next_beat() <= now {
            self.beat(now);
        }
    }

    fn beat(&mut self, now: u64) {
        if let Some(e) = self.plane.group.failure() {
            let text = format!("the log of the cluster goes no further here: {e}");
            return self.fail(format!("{text}; when that is mended, start the daemon again"));
        }
        let plane = &mut self.plane;
        let me = plane.me();
        let leader = plane.group.leader();
        if leader != plane.leader {
            plane.leader = leader;
            let text = leader.map_or("nobody leads".to_owned(), |n| format!("{n} leads"));
            self.log.add("cluster", text);
        }
        let plane = &mut self.plane;
        let up = |(n, m): (NodeId, &dvs_control::member::Member)| {
            m.incarnation().filter(|_| n != me).map(|i| (n, i))
        };
        let up: Vec<(NodeId, Epoch)> = plane.state.members().filter_map(up).collect();
        let beat = plane.leases.beat(leader, &up, now);
        if beat.confirm {
            plane.roster.confirm();
        }
        if leader == Some(me) {
            let members = plane.group.members();
            plane.roster.review(&plane.state, &members, now);
            plane.trims = members.iter().any(|(n, _)| plane.state.member(*n).is_none());
        }
        if plane.leaving {
            self.let_go();
        }
        if leader == Some(me) {
            self.undo_late_moves();
        }
        self.tell_progress();
        if let Some(leader) = beat.ask {
            self.send_node(leader.0, &NodeRecord::Lease { sent: now });
        }
        for node in beat.lost {
            let incarnation = self.plane.state.member(node).and_then(|m| m.incarnation());
            if let Some(incarnation) = incarnation
                && !self.plane.losing.values().any(|l| *l == (node, incarnation))
            {
                self.log.add("cluster", format!("{node} is silent; its lease is over"));
                let ticket = self.decide_here(Command::Lost { node, incarnation }, "a node that is silent");
                // Unless it was refused at once.
                if self.plane.asked.contains_key(&ticket) {
                    self.plane.losing.insert(ticket, (node, incarnation));
                }
            }
        }
    }

    /// A node asks whether it still counts.
    pub(crate) fn lease_asked(&mut self, node: u16, sent: u64) {
        let is = self.plane.state.member(NodeId(node)).and_then(|m| m.incarnation());
        // One that does not know yet that it was taken for lost is granted nothing.
        if is.is_some() && self.plane.links.greeted(NodeId(node)) == is {
            self.plane.leases.asked((NodeId(node), sent), clock::now());
        }
    }

    /// A majority has confirmed, or not, that this node leads.
    pub(super) fn lease_confirmed(&mut self, upto: Option<Epoch>) {
        let granted = self.plane.leases.confirmed(upto.is_some(), clock::now());
        let me = self.plane.me();
        for (node, sent) in granted {
            let Some(upto) = upto else { continue };
            if node == me {
                self.radar_granted(sent, upto);
            } else {
                self.send_node(node.0, &NodeRecord::Granted { sent, upto: upto.0 });
            }
        }
    }

    /// The leader says that this node counts.
    pub(crate) fn lease_granted(&mut self, node: u16, sent: u64, upto: Epoch) {
        if self.plane.group.leader() == Some(NodeId(node)) {
            self.radar_granted(sent, upto);
        }
    }

    /// A change of the group's members ended.
    pub(super) fn roster_changed(&mut self, step: Step, result: Result<(), String>) {
        self.plane.roster.busy = false;
        match (step, result) {
            (Step::Admit(node, role), Ok(())) => {
                self.log.add(
                    "cluster",
                    format!("{node} has the log as a {}", format!("{role:?}").to_lowercase()),
                );
            }
            (Step::Remove(node), Ok(())) => {
                self.log.add("cluster", format!("{node} has the log no more"));
                if self.plane.state.member(node).is_none() {
                    self.order_nodes(NodeOrder::Forget { node: node.0 });
                }
            }
            // It is tried again at the next beat.
            (_, Err(_)) => {}
        }
    }

    /// This node was let go: it ends when the group goes on without it.
    pub(super) fn let_go(&mut self) {
        let me = self.plane.me();
        let members = self.plane.group.members();
        let still = members.iter().any(|(n, _)| *n == me) && members.len() > 1;
        let leads = self.plane.group.leader() == Some(me);
        if still && leads {
            return;
        }
        if let Err(e) = super::Identity::forget(&self.plane.dir) {
            self.log.add("cluster", format!("{}: {e}", self.plane.dir.display()));
        }
        self.stopper().stop();
    }
}
