//! Carrying out where the callers of a service go.
//!
//! ```text
//!  log ─► dvs-radar ─► Route ─► its descriptor ──► new lanes wait, or lead to another node
//!                       │
//!                       └─► lanes that lead to an instance, by what became of it:
//!           it is lost, others know of its calls      STALE    all that is not answered goes again
//!           it is lost, nobody does                   MIGRATE  what was not taken up goes again
//!           callers go elsewhere: passive             STALE    the other one has its state
//!           callers go elsewhere: active, single      retired  its answers still come; the rest goes again
//! ```
//! The endpoint of a declared service is known on every node of its container from then on, whether or not
//! anybody serves. What nodes tell each other of bindings says nothing about it.

use super::Node;
use super::bind::End;
use super::descriptor::Descriptor;
use super::event::Command;
use super::link::{Lane, Link, LinkKey};
use super::service::{Action, Callers, Kind, Service};
use crate::control::BindKind;
use dvs_abi::{Code, Endpoint, NodeId};
use std::collections::BTreeSet;

impl Node {
    /// A service of a container, declared.
    pub(crate) fn service_of(&self, dc: u16, slot: i32) -> Option<&Service> {
        self.dcs.get(&dc)?.services.get(&slot)
    }

    pub(crate) fn service_mut(&mut self, dc: u16, slot: i32) -> Option<&mut Service> {
        self.dcs.get_mut(&dc)?.services.get_mut(&slot)
    }

    /// A service was declared, or is no more.
    pub(crate) fn service(&mut self, dc: u16, slot: i32, name: String, kind: Option<Kind>) {
        let Some(c) = self.dcs.get_mut(&dc) else { return };
        if slot < -c.config.tasks || slot >= c.config.first_user() {
            return;
        }
        let Some(kind) = kind else { return self.withdraw_service(dc, slot) };
        if let Some(s) = c.services.get_mut(&slot) {
            (s.name, s.kind) = (name, kind);
            return;
        }
        c.services.insert(slot, Service::new(name.clone(), kind));
        let endpoint = Endpoint::new(0, slot);
        let here = c.bound(slot).is_some_and(|d| d.is_local() && d.endpoint == endpoint);
        if here {
            return self.enlist(dc, endpoint);
        }
        if let Some(d) = self.dcs.get(&dc).and_then(|c| c.bound(slot)) {
            let (old, known) = (d.endpoint, d.session.is_some());
            if known {
                self.withdraw_places(dc, &[old], &BTreeSet::new());
            } else {
                self.end(dc, slot, End::Unbound);
            }
        }
        if let Ok(mut d) = self.blank(dc, endpoint, BindKind::Remote, self.config.me, &name) {
            (d.service, d.moving) = (true, true);
            self.install(dc, d);
        }
    }

    /// A service is no more: its instance here ends, callers are told.
    fn withdraw_service(&mut self, dc: u16, slot: i32) {
        let Some(s) = self.service_of(dc, slot) else { return };
        if !matches!(s.callers, Callers::End(_)) {
            self.end_callers(dc, slot, Code::DSTDIED);
        }
        self.withdraw_places(dc, &[Endpoint::new(0, slot)], &BTreeSet::new());
        if let Some(c) = self.dcs.get_mut(&dc) {
            c.services.remove(&slot);
            if let Some(d) = c.bound_mut(slot) {
                d.service = false;
            }
        }
        self.end(dc, slot, End::Withdrawn);
    }

    /// A step of the log for a service.
    pub(crate) fn route(&mut self, dc: u16, slot: i32, epoch: u64, action: Action) {
        let Some(s) = self.service_mut(dc, slot) else { return };
        let from = s.node;
        let stepped = s.step(epoch, action);
        match (stepped, action) {
            (Err(code), _) => {
                let text = format!("{action:?} of {slot} in dc{dc} at epoch {epoch} is refused: {code}");
                self.out.push(Command::Log(text));
            }
            (Ok(_), Action::Resend(node)) => self.lose_instance(dc, slot, node, Code::STALE, from),
            (Ok(_), Action::Fail(node)) => self.lose_instance(dc, slot, node, Code::MIGRATE, from),
            (Ok(false), _) => {}
            (Ok(true), Action::Freeze) => self.hold_callers(dc, slot, true),
            (Ok(true), Action::Point(node)) => self.repoint(dc, slot, from, node),
            (Ok(true), Action::Thaw) => self.hold_callers(dc, slot, false),
            (Ok(true), Action::End(code)) => self.end_callers(dc, slot, code),
            (Ok(true), Action::Continue | Action::ReadOnly) => self.serve_here(dc, slot, true),
            (Ok(true), Action::Stop) => self.serve_here(dc, slot, false),
        }
    }

    fn described(&mut self, dc: u16, slot: i32) -> Option<&mut Descriptor> {
        self.dcs.get_mut(&dc)?.bound_mut(slot).filter(|d| d.service)
    }

    fn hold_callers(&mut self, dc: u16, slot: i32, on: bool) {
        let Some(d) = self.described(dc, slot) else { return };
        d.moving = on;
        if !on {
            self.reconsider(dc, slot);
            self.release_notices(dc, slot);
        }
    }

    /// The lanes that lead to the instance of a service on a node.
    fn lanes_to(&self, dc: u16, slot: i32, node: NodeId) -> Vec<(LinkKey, u8)> {
        let to = Endpoint::new(0, slot).raw();
        self.lanes_where(|l| (l.dc, l.to, l.node) == (dc, to, node))
    }

    fn lanes_where(&self, is: impl Fn(&Lane) -> bool) -> Vec<(LinkKey, u8)> {
        let of = |(key, link): (&LinkKey, &Link)| {
            let those = link.lanes().filter(|(_, l)| l.open && is(l));
            those.map(|(n, _)| (*key, n)).collect::<Vec<_>>()
        };
        self.links.iter().flat_map(of).collect()
    }

    /// By the log an instance is lost. Callers that were pointed to it wait; another one on that node is not
    /// it.
    fn lose_instance(&mut self, dc: u16, slot: i32, node: NodeId, code: Code, from: Option<NodeId>) {
        self.lose_calls(dc, slot, node, code);
        if from == Some(node) {
            self.silence(dc, slot, node);
            self.hold_callers(dc, slot, true);
            self.place_instance(dc, slot);
        }
    }

    /// Whether a node may speak in the name of a service: of one that all callers go to together, who serves
    /// it.
    pub(crate) fn speaks_for(&self, dc: u16, slot: i32, node: NodeId) -> bool {
        self.service_of(dc, slot).is_none_or(|s| s.kind == Kind::Active || s.node == Some(node))
    }

    /// The instance on a node serves no more, whether it knows or not: nothing that it asks of programs of
    /// this node is done any more.
    fn silence(&mut self, dc: u16, slot: i32, node: NodeId) {
        let from = Endpoint::new(0, slot).raw();
        if node == self.config.me || self.speaks_for(dc, slot, node) {
            return;
        }
        for (link, lane) in self.lanes_where(|l| (l.dc, l.from, l.source) == (dc, from, node)) {
            self.close_lane(link, lane, Code::MIGRATE);
        }
    }

    /// An instance is lost: what it had taken up goes again (`STALE`), or its effect is unknown (`MIGRATE`).
    pub(crate) fn lose_calls(&mut self, dc: u16, slot: i32, node: NodeId, code: Code) {
        for (link, lane) in self.lanes_to(dc, slot, node) {
            self.close_lane(link, lane, code);
        }
    }

    /// Callers go elsewhere from here on.
    fn repoint(&mut self, dc: u16, slot: i32, from: Option<NodeId>, node: NodeId) {
        let me = self.config.me;
        let Some(s) = self.service_of(dc, slot) else { return };
        let kind = s.kind;
        if let Some(old) = from.filter(|old| *old != node) {
            for (link, lane) in self.lanes_to(dc, slot, old) {
                match kind {
                    Kind::Passive => self.close_lane(link, lane, Code::STALE),
                    Kind::Active if old == me => self.close_lane(link, lane, Code::STALE),
                    _ => self.retire_lane(link, lane, Code::MIGRATE),
                }
            }
            self.silence(dc, slot, old);
            if old == me {
                self.stand_back(dc, slot, kind);
            }
        }
        let Some(d) = self.described(dc, slot) else { return };
        d.node = node;
        let has = d.pid != 0;
        d.kind = match (node == me && has, has) {
            (true, _) if kind == Kind::Active => BindKind::Replica,
            (true, _) => BindKind::Local,
            (false, true) => BindKind::Backup,
            (false, false) => BindKind::Remote,
        };
        self.reconsider(dc, slot);
    }

    /// There is no such service any more for callers of this node.
    fn end_callers(&mut self, dc: u16, slot: i32, code: Code) {
        let to = Endpoint::new(0, slot);
        let nodes: BTreeSet<NodeId> =
            self.links.values().flat_map(|l| l.lanes()).map(|(_, l)| l.node).collect();
        for node in nodes {
            self.lose_calls(dc, slot, node, code);
        }
        if let Some(d) = self.described(dc, slot) {
            d.moving = true;
            d.kind = if d.pid == 0 { BindKind::Remote } else { BindKind::Backup };
        }
        for wait in self.waits_for_lane(dc, to) {
            self.finish(wait, Err(dvs_abi::Error::early(code).at(to)));
        }
    }

    /// The instance here begins to serve, or stops.
    fn serve_here(&mut self, dc: u16, slot: i32, on: bool) {
        self.tell_instance(dc, slot);
        let me = self.config.me;
        let again = self.service_of(dc, slot).is_some_and(|s| s.kind != Kind::Single);
        if on {
            self.reconsider(dc, slot);
            self.release_notices(dc, slot);
        } else if again {
            // What it has taken up goes again when somebody serves; it cannot answer any more.
            self.lose_calls(dc, slot, me, Code::STALE);
        }
    }
}
