//! Commands about services: where their callers go.

use super::State;
use crate::change::Change;
use crate::command::Refusal;
use crate::container::check_name;
use crate::epoch::Epoch;
use crate::member::Member;
use crate::service::{Instance, Kind, Place, Service, ServiceSpec};
use dvs_abi::{Code, DcId, NodeId};

/// A service, by container and slot.
pub type ServiceName = (DcId, i32);

impl State {
    pub(super) fn some_service(&mut self, dc: DcId, slot: i32) -> Result<&mut Service, Refusal> {
        let services = &mut self.some_container(dc)?.services;
        services.get_mut(&slot).filter(|s| !s.withdrawn).ok_or_else(|| {
            Refusal::new(
                Code::BADPROC,
                format!("no service is declared at slot {slot} of container {}", dc.0),
            )
        })
    }

    pub(super) fn declare(
        &mut self,
        dc: DcId,
        slot: i32,
        spec: &ServiceSpec,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        check_name("service", &spec.name)?;
        let c = self.some_container(dc)?;
        if !(-c.spec.tasks..c.spec.first_user()).contains(&slot) {
            let text = format!("services have slots {} to {}", -c.spec.tasks, c.spec.first_user() - 1);
            return Err(Refusal::new(Code::BADRANGE, text));
        }
        if spec.nodes == 0 || spec.nodes & !c.spec.nodes != 0 {
            let text =
                format!("a service is on nodes of its container, {:#b}, at least on one", c.spec.nodes);
            return Err(Refusal::new(Code::NODCNODE, text));
        }
        if let Some((other, _)) = c.services.iter().find(|(n, s)| **n != slot && s.spec.name == spec.name) {
            let text = format!("the service at slot {other} is called '{}' already", spec.name);
            return Err(Refusal::new(Code::RSCBUSY, text));
        }
        if c.services.get(&slot).is_some_and(|s| s.withdrawn) {
            let text = format!("the service that was at slot {slot} is about to end; try again");
            return Err(Refusal::new(Code::BUSY, text));
        }
        let service = c.services.entry(slot).or_insert_with(|| Service::new(spec.clone(), place));
        if service.spec.kind != spec.kind && !service.instances.is_empty() {
            let text = format!("'{}' has instances; its kind can be changed when they have ended", spec.name);
            return Err(Refusal::new(Code::BUSY, text));
        }
        service.spec = spec.clone();
        out.push(Change::Declared { dc, slot });
        service.stop_moves(place, (dc, slot), out);
        if service.place == Place::Vacant
            && let Some(heir) = service.heir()
        {
            // It was to retire, and may stay after all.
            service.put(Place::At(heir), place, (dc, slot), out);
        }
        Ok(())
    }

    pub(super) fn withdraw(
        &mut self,
        dc: DcId,
        slot: i32,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let s = self.some_service(dc, slot)?;
        s.withdrawn = true;
        s.put(Place::Vacant, place, (dc, slot), out);
        self.some_container(dc)?.services.retain(|_, s| !s.is_over());
        out.push(Change::Withdrawn { dc, slot });
        Ok(())
    }

    pub(super) fn offer(
        &mut self,
        from: NodeId,
        dc: DcId,
        slot: i32,
        in_step: bool,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let member = self.some_member(from)?;
        let (draining, incarnation) = (member.draining, member.incarnation().unwrap_or_default());
        let s = self.some_service(dc, slot)?;
        let name = s.spec.name.clone();
        if !s.spec.allows(from) {
            return Err(Refusal::new(Code::NODCNODE, format!("'{name}' may not be on {from}")));
        }
        let new = !s.instances.contains_key(&from);
        if new && draining && !s.moves_to(from) {
            return Err(Refusal::new(Code::NODEBUSY, format!("{from} is being drained")));
        }
        match s.place {
            _ if s.spec.kind != Kind::Single => {}
            Place::Vacant if !in_step => {
                let text =
                    format!("the one instance of '{name}' has nobody to follow; it offers itself to serve");
                return Err(Refusal::new(Code::PROCSTS, text));
            }
            Place::At(other) if other != from => {
                let text = format!("'{name}' is on {other}; dvs migrate moves it");
                return Err(Refusal::new(Code::SLOTUSED, text));
            }
            Place::Moving { from: other, to, .. } if from != other => {
                let text = format!("'{name}' moves from {other} to {to}");
                return Err(Refusal::new(Code::SLOTUSED, text));
            }
            _ => {}
        }
        let had = s.instances.get(&from).copied();
        let since = had.map_or(place, |i| i.since);
        let instance = Instance { incarnation, since, in_step };
        s.instances.insert(from, instance);
        if had != Some(instance) {
            out.push(Change::Offered { dc, slot, node: from, in_step });
        }
        if s.place == Place::Vacant && in_step {
            s.put(Place::At(from), place, (dc, slot), out);
        }
        Ok(())
    }

    pub(super) fn arrive(
        &mut self,
        from: NodeId,
        dc: DcId,
        slot: i32,
        number: Epoch,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let incarnation = self.some_member(from)?.incarnation().unwrap_or_default();
        let s = self.some_service(dc, slot)?;
        if s.arrival != Some((from, number)) {
            return Err(Refusal::new(Code::STALE, format!("the move {number} is over, or not to {from}")));
        }
        if !s.spec.allows(from) {
            return Err(Refusal::new(Code::NODCNODE, format!("'{}' may not be on {from}", s.spec.name)));
        }
        let since = s.instances.get(&from).map_or(place, |i| i.since);
        let instance = Instance { incarnation, since, in_step: true };
        if s.instances.insert(from, instance) != Some(instance) {
            out.push(Change::Offered { dc, slot, node: from, in_step: true });
        }
        s.put(Place::At(from), place, (dc, slot), out);
        Ok(())
    }

    pub(super) fn retire(
        &mut self,
        from: NodeId,
        dc: DcId,
        slot: i32,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let services = &mut self.some_container(dc)?.services;
        let Some(s) = services.get_mut(&slot).filter(|s| s.instances.contains_key(&from)) else {
            let text = format!("slot {slot} of container {} has no instance on {from}", dc.0);
            return Err(Refusal::new(Code::NONODE, text));
        };
        s.instance_gone(from, place, (dc, slot), out);
        services.retain(|_, s| !s.is_over());
        Ok(())
    }

    pub(super) fn begin_move(
        &mut self,
        dc: DcId,
        slot: i32,
        to: NodeId,
        deadline: u64,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<Epoch, Refusal> {
        let now = self.clock;
        let target = self.some_member(to)?;
        if target.incarnation().is_none() {
            return Err(Refusal::new(Code::NOTCONN, format!("{to} is not up")));
        }
        if target.draining {
            return Err(Refusal::new(Code::NODEBUSY, format!("{to} is being drained")));
        }
        let s = self.some_service(dc, slot)?;
        let name = &s.spec.name;
        let from = match s.place {
            Place::At(node) => node,
            Place::Moving { to, .. } => {
                return Err(Refusal::new(Code::MIGRATE, format!("'{name}' is moving to {to} already")));
            }
            Place::Vacant => {
                return Err(Refusal::new(Code::NONODE, format!("'{name}' is nowhere; start it instead")));
            }
        };
        if from == to {
            return Err(Refusal::new(Code::EXIST, format!("'{name}' is on {to} already")));
        }
        if !s.spec.allows(to) {
            return Err(Refusal::new(Code::NODCNODE, format!("'{name}' may not be on {to}")));
        }
        if deadline <= now {
            return Err(Refusal::new(Code::TIMEDOUT, "the deadline of the move is over"));
        }
        let number = place.max(Epoch(s.epoch.0 + 1));
        s.put(Place::Moving { from, to, number, deadline }, place, (dc, slot), out);
        Ok(number)
    }

    pub(super) fn undo(
        &mut self,
        dc: DcId,
        slot: i32,
        number: Epoch,
        place: Epoch,
        out: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let s = self.some_service(dc, slot)?;
        match s.place {
            Place::Moving { from, number: this, .. } if this == number => {
                s.put(Place::At(from), place, (dc, slot), out);
                Ok(())
            }
            _ => Err(Refusal::new(Code::STALE, format!("the move {number} is over"))),
        }
    }

    /// Moves whose deadline is over at `now`, ns, and that no entry has undone yet: service and number. A
    /// leader has the log undo them if nothing else is put into it.
    pub fn late_moves(&self, now: u64) -> impl Iterator<Item = (DcId, i32, Epoch)> + '_ {
        let all =
            self.containers().flat_map(|(dc, c)| c.services.iter().map(move |(slot, s)| (dc, *slot, s)));
        all.filter_map(move |(dc, slot, s)| match s.place {
            Place::Moving { number, deadline, .. } if deadline <= now => Some((dc, slot, number)),
            _ => None,
        })
    }

    /// Moves whose deadline has passed are undone.
    pub(super) fn undo_late(&mut self, place: Epoch, out: &mut Vec<Change>) {
        let now = self.clock;
        for (dc, c) in &mut self.containers {
            for (slot, s) in &mut c.services {
                if let Place::Moving { from, deadline, .. } = s.place
                    && deadline <= now
                {
                    s.put(Place::At(from), place, (*dc, *slot), out);
                }
            }
        }
    }

    pub(super) fn validate_service(&self, s: &Service) -> Result<(), String> {
        for (node, i) in &s.instances {
            if self.member(*node).and_then(Member::incarnation) != Some(i.incarnation) {
                return Err(format!("an instance on {node} of an incarnation that is over"));
            }
        }
        if s.is_over() || s.withdrawn && s.place != Place::Vacant {
            return Err(format!("withdrawn: {s:?}"));
        }
        let there = |node| s.instances.contains_key(&node);
        let fine = match s.place {
            Place::Vacant => s.heir().is_none(),
            Place::At(node) => there(node),
            Place::Moving { from, to, .. } => there(from) && from != to,
        };
        // One to which it was to move may have been there already.
        let two = s.withdrawn || matches!(s.place, Place::Moving { .. });
        let alone = s.spec.kind != Kind::Single || s.instances.len() <= 1 || two;
        if fine && alone { Ok(()) } else { Err(format!("{s:?}")) }
    }
}

impl Service {
    fn moves_to(&self, node: NodeId) -> bool {
        matches!(self.place, Place::Moving { to, .. } if to == node)
    }

    /// It was withdrawn, and its last instance has retired.
    pub(super) fn is_over(&self) -> bool {
        self.withdrawn && self.instances.is_empty()
    }

    /// A move to where it may no longer be is undone.
    pub(super) fn stop_moves(&mut self, epoch: Epoch, name: ServiceName, out: &mut Vec<Change>) {
        if let Place::Moving { from, to, .. } = self.place
            && !self.spec.allows(to)
        {
            self.put(Place::At(from), epoch, name, out);
        }
    }

    /// Callers go elsewhere, or wait, from `now` on. (One entry may do both, one after the other: then the
    /// epoch is ahead of the log.)
    pub(super) fn put(&mut self, place: Place, now: Epoch, (dc, slot): ServiceName, out: &mut Vec<Change>) {
        let epoch = now.max(Epoch(self.epoch.0 + 1));
        (self.place, self.epoch) = (place, epoch);
        self.arrival = match place {
            Place::Moving { to, number, .. } => Some((to, number)),
            Place::At(_) => None,
            Place::Vacant => self.arrival,
        };
        if let (Kind::Single, Place::At(node)) = (self.spec.kind, place) {
            // What another node has prepared, or left behind, is over.
            self.instances.retain(|n, _| *n == node);
        }
        out.push(match self.at() {
            Some(node) => Change::Placed { dc, slot, node, epoch },
            None => Change::Held { dc, slot, epoch },
        });
    }

    /// The instance on a node, if any, is gone.
    pub(super) fn instance_gone(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        name: ServiceName,
        out: &mut Vec<Change>,
    ) {
        let had = self.instances.remove(&node).is_some();
        if had {
            out.push(Change::Gone { dc: name.0, slot: name.1, node });
        }
        let next = match self.place {
            // Whoever was to take it over may have all of it by now: then it offers itself.
            Place::At(at) | Place::Moving { from: at, .. } if had && at == node => {
                self.heir().map_or(Place::Vacant, Place::At)
            }
            // It has nowhere to go any more.
            Place::Moving { from, to, .. } if to == node => Place::At(from),
            _ => return,
        };
        self.put(next, epoch, name, out);
    }
}
