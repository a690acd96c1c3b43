//! Services: what the log says of them, through RADAR, to the rules.
//!
//! ```text
//!   entries, links, leases ──► Radar ──► Route ──► Node: callers wait, go on, go elsewhere
//!                                                        instances serve, stop
//! ```
//! Until this daemon has begun none of it concerns it; then it takes what there is from the state as a whole.

use super::For;
use crate::admin::{AdminAnswer, MoveCheck};
use crate::daemon::Daemon;
use crate::desk::{NodeRecord, Wish};
use dvs_abi::{DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_ipc::control::{Duty, Event as Told};
use dvs_kern::node::event::{Event, SessionId};
use dvs_kern::node::mover::Placed;
use dvs_linux::clock;
use dvs_radar::{Event as News, Radar};

impl Daemon {
    /// Tells RADAR, and has the rules do what it says.
    fn radar(&mut self, news: News<'_>) {
        let plane = &mut self.plane;
        if plane.incarnation.is_none() {
            return;
        }
        let mut commands = Vec::new();
        plane.radar.event(&plane.state, news, clock::now(), &mut commands);
        // Before any instance is told that it may go on.
        self.publish_lease();
        for command in commands {
            let (dc, slot, epoch) = (command.dc.0, command.slot, command.epoch.0);
            self.feed(Event::Route { dc, slot, epoch, action: command.action.into() });
        }
    }

    /// An entry was done here.
    pub(super) fn radar_applied(&mut self, place: Epoch, changes: &[Change]) {
        // Whose instance moves may answer what it has taken up; where it is, is said when it was told so.
        for change in changes {
            if let Change::Held { dc, slot, .. } = change {
                self.tell_place(*dc, *slot);
            }
        }
        self.radar(News::Applied { place, changes });
        let mut placed = false;
        for change in changes {
            if let Change::Placed { dc, slot, .. } | Change::Held { dc, slot, .. } = change {
                self.tell_place(*dc, *slot);
                placed = true;
            }
        }
        // Whoever takes a service over waits for the word of the one before.
        if placed {
            self.tell_progress();
        }
    }

    /// Tells the rules where a service is by the log.
    fn tell_place(&mut self, dc: DcId, slot: i32) {
        let service = self.plane.state.container(dc).and_then(|c| c.services.get(&slot));
        let Some(s) = service.filter(|s| !s.withdrawn) else { return };
        let (node, moves) = (s.at(), matches!(s.place, Place::Moving { .. }));
        let placed = Placed { node, moves, epoch: s.epoch.0 };
        self.feed(Event::ServicePlace { dc: dc.0, slot, placed });
    }

    /// This daemon has begun: all services there are.
    pub(super) fn radar_begin(&mut self, incarnation: Epoch) {
        let plane = &mut self.plane;
        let terms = super::terms(plane.state.rules().lease_ns);
        plane.leases.agreed(terms);
        plane.radar = Radar::new(plane.me(), terms);
        let all: Vec<(DcId, i32)> = plane
            .state
            .containers()
            .flat_map(|(dc, c)| c.services.keys().map(move |slot| (dc, *slot)))
            .collect();
        for (dc, slot) in all.iter().copied() {
            self.tell_service(dc, slot);
        }
        self.radar(News::Restored);
        self.radar(News::Began { incarnation });
        for node in self.plane.links.all_up() {
            self.radar_link(node.0, true);
        }
        for (dc, slot) in all {
            self.tell_place(dc, slot);
        }
    }

    /// Whether messages get through to a node.
    pub(super) fn radar_link(&mut self, node: u16, up: bool) {
        self.radar(News::Link { node: NodeId(node), up });
    }

    /// Another node has done what the log says up to there.
    pub(crate) fn radar_heard(&mut self, node: u16, applied: Epoch) {
        self.radar(News::Heard { node: NodeId(node), applied });
    }

    /// The leader says that this node counts.
    pub(super) fn radar_granted(&mut self, sent: u64, upto: Epoch) {
        self.radar(News::Granted { sent, upto });
    }

    /// Time has passed.
    pub(super) fn radar_tick(&mut self, now: u64) {
        if self.plane.radar.wake_at().is_some_and(|at| at <= now) {
            self.radar(News::Tick);
        }
    }

    /// Says to all that are reached how far this node is.
    pub(super) fn tell_progress(&mut self) {
        let applied = self.plane.state.last().0;
        if self.plane.has_services() {
            for node in self.plane.links.all_up() {
                self.send_node(node.0, &NodeRecord::Applied { applied });
            }
        }
    }

    /// Tells the rules what the log says of a service.
    pub(super) fn tell_service(&mut self, dc: DcId, slot: i32) {
        let service = self.plane.state.container(dc).and_then(|c| c.services.get(&slot));
        let service = service.filter(|s| !s.withdrawn);
        let name = service.map_or(String::new(), |s| s.spec.name.clone());
        let kind = service.map(|s| s.spec.kind);
        self.feed(Event::Service { dc: dc.0, slot, name, kind });
    }

    /// The command for what a program wants to be a service.
    pub(super) fn declaration(
        &self,
        dc: DcId,
        slot: i32,
        name: String,
        kind: Kind,
        rule: PartitionRule,
        nodes: u32,
    ) -> Command {
        let of_dc = self.plane.state.container(dc).map_or(0, |c| c.spec.nodes);
        let nodes = if nodes == 0 { of_dc } else { nodes };
        let spec = ServiceSpec { name, kind, nodes, rule };
        Command::Declare { dc, slot, spec }
    }

    /// What an instance that may do this now may do when the node's lease is over.
    pub(crate) fn after_lease(&self, dc: u16, slot: i32, may: Duty) -> Duty {
        let service = self.plane.state.container(DcId(dc)).and_then(|c| c.services.get(&slot));
        match service.map(|s| s.spec.rule) {
            Some(PartitionRule::Continue) => may,
            Some(PartitionRule::Reads) => may.min(Duty::Reads),
            Some(PartitionRule::Stop) | None => Duty::Stopped,
        }
    }

    /// Has all programs know until when this node's lease holds.
    pub(super) fn publish_lease(&mut self) {
        let until = self.plane.radar.lease_until();
        let before = std::mem::replace(&mut self.lease_said, until);
        if before == until {
            return;
        }
        self.conns.values().for_each(|c| c.tell_lease(until));
        // Answers may wait that were ready when the lease was over. Looked at now: who has read the old word
        // looked at the clock before.
        let now = clock::now();
        if before <= now && now < until {
            // Who has not been welcomed yet has nothing that waits, and expects the welcome first.
            let welcomed = self.conns.iter().filter(|(_, c)| c.memories.is_some());
            let welcomed: Vec<SessionId> = welcomed.map(|(s, _)| *s).collect();
            for s in welcomed {
                self.tell(s, Told::LeasedAgain, Vec::new());
            }
        }
    }

    /// Has callers of a passive service go to another instance, or says what is in the way.
    pub(crate) fn switch(&mut self, s: SessionId, (dc, slot): (u16, i32), to: u16, check: bool) {
        let (dc, to) = (DcId(dc), NodeId(to));
        if !check {
            return self.decide(Command::Switch { dc, slot, to }, For::Admin(s, Wish::Done));
        }
        let hindrances =
            self.plane.state.may_switch(dc, slot, to).err().into_iter().map(|e| e.text).collect();
        self.part(s, AdminAnswer::Checked(MoveCheck { hindrances, ..MoveCheck::default() }));
        self.part(s, AdminAnswer::End);
    }

    /// Declares a service, or says that it is no more.
    pub(crate) fn declare(&mut self, dc: u16, slot: i32, spec: Option<ServiceSpec>, by: For) {
        let dc = DcId(dc);
        let command = match spec {
            Some(spec) => Command::Declare { dc, slot, spec },
            None => Command::Withdraw { dc, slot },
        };
        self.decide(command, by);
    }
}
