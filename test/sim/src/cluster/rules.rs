//! What RADAR and the rules say is done.

use super::daemon::Daemon;
use super::wire::{Word, key};
use crate::actor::Effects;
use crate::control::wire::Note;
use dvs_abi::{DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::Command as Decision;
use dvs_control::epoch::Epoch;
use dvs_control::service::{Place, ServiceSpec};
use dvs_kern::node::event::{Command, Event, Want};
use dvs_kern::node::mover::Placed;
use dvs_kern::node::service::Action as Step;
use dvs_radar::Event as News;

impl Daemon {
    /// An entry was done.
    pub(super) fn steer_applied(&mut self, place: Epoch, changes: &[Change], fx: &mut Effects<'_, Note>) {
        // Whose instance moves may answer what it has taken up; where it is, is said when it was told so.
        for change in changes {
            if let Change::Held { dc, slot, .. } = change {
                self.tell_place(*dc, *slot, fx);
            }
        }
        self.steer(News::Applied { place, changes }, fx);
        for change in changes {
            if let Change::Placed { dc, slot, .. } | Change::Held { dc, slot, .. } = change {
                self.tell_place(*dc, *slot, fx);
            }
        }
    }

    /// Tells the rules where a service is by the log.
    pub(super) fn tell_place(&mut self, dc: DcId, slot: i32, fx: &mut Effects<'_, Note>) {
        let service = self.state.container(dc).and_then(|c| c.services.get(&slot));
        let Some(s) = service.filter(|s| !s.withdrawn) else { return };
        let (node, moves) = (s.at(), matches!(s.place, Place::Moving { .. }));
        let placed = Placed { node, moves, epoch: s.epoch.0 };
        self.feed(Event::ServicePlace { dc: dc.0, slot, placed }, fx);
    }

    /// RADAR hears something; the rules do what it says.
    pub(super) fn steer(&mut self, news: News<'_>, fx: &mut Effects<'_, Note>) {
        if self.incarnation().is_none() {
            return;
        }
        let mut commands = Vec::new();
        self.radar.event(&self.state, news, fx.now(), &mut commands);
        for command in commands {
            let (dc, slot, epoch) = (command.dc.0, command.slot, command.epoch.0);
            let action = Step::from(command.action);
            if action == Step::Continue {
                fx.note(Note::Serves(slot, command.epoch));
            }
            self.feed(Event::Route { dc, slot, epoch, action }, fx);
        }
    }

    /// The rules hear something; what they command is done. What follows from that is done after it.
    pub(super) fn feed(&mut self, event: Event, fx: &mut Effects<'_, Note>) {
        self.pending.push_back(event);
        if std::mem::replace(&mut self.feeding, true) {
            return;
        }
        while let Some(event) = self.pending.pop_front() {
            for command in self.kern.handle(event, fx.now()) {
                self.carry_out(command, fx);
            }
        }
        self.feeding = false;
    }

    fn carry_out(&mut self, command: Command, fx: &mut Effects<'_, Note>) {
        match command {
            Command::Reply { session, id, result } => self.replied(session, id, result, fx),
            Command::Tell { session, event, attach } => self.told(session, event, attach, fx),
            Command::Decide { ticket, want } => self.decide(Some(ticket), decision(want, fx.now())),
            Command::Control { node, record } => self.say(NodeId(node), Word::Rules(record), fx),
            Command::Signal { pid } => self.people.signal(pid),
            Command::StandsBy { slot, .. } => self.move_standby(slot, fx),
            Command::MoveReport { id, .. } => self.move_over(id, fx),
            Command::CreateLink { link } => self.calls.lanes.create(link),
            Command::DropLink { link } => self.calls.lanes.remove(link),
            Command::CloseLane { link, lane } => drop(self.calls.lanes.with(key(link, lane), |l| l.close())),
            Command::ResetLane { link, lane } => drop(self.calls.lanes.with(key(link, lane), |l| l.reset())),
            // Sessions that break rules, copies, lines for people: there are none here.
            _ => {}
        }
    }
}

fn decision(want: Want, now: u64) -> Decision {
    match want {
        Want::Create { dc, config } => Decision::Create { dc: Some(DcId(dc)), spec: config },
        Want::End { dc } => Decision::End { dc: DcId(dc) },
        Want::Allow { dc, node, on } => Decision::Allow { dc: DcId(dc), node: NodeId(node), on },
        Want::Declare { dc, slot, name, kind, rule, nodes } => {
            let spec = ServiceSpec { name, kind, nodes, rule };
            Decision::Declare { dc: DcId(dc), slot, spec }
        }
        Want::Offer { dc, slot } => Decision::Offer { dc: DcId(dc), slot, in_step: true },
        Want::Retire { dc, slot } => Decision::Retire { dc: DcId(dc), slot },
        Want::Move { dc, slot, to, hold_ns } => {
            Decision::Move { dc: DcId(dc), slot, to: NodeId(to), deadline: now + hold_ns }
        }
        Want::Undo { dc, slot, number } => Decision::Undo { dc: DcId(dc), slot, number: Epoch(number) },
        Want::Arrive { dc, slot, number } => Decision::Arrive { dc: DcId(dc), slot, number: Epoch(number) },
        Want::Slots { dc, request } => Decision::Slots { dc: DcId(dc), request },
    }
}
