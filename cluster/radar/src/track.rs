//! One service, as one node follows it.
//!
//! ```text
//!                      Freeze                     Thaw: it is where it was
//!   (declared) ─────────────────► frozen ◄═══════════════════════════════════╗
//!                                  │  ▲ Freeze: it goes, moves, is another    ║
//!                            Point │  │ one, or its node cannot be reached    ║
//!                                  ▼  │                                      ║
//!                                 pointed ───────── Thaw ──────────────────► open
//!                                   its node is reached
//!   any ──── End: withdrawn, or not in this node's container ──► (forgotten)
//! ```
//! Callers are pointed to an *instance*: a node, and the place in the log where that instance was first
//! offered. As long as it is the same one, waiting ends where it began, with what it had taken up. When it is
//! gone by the log, what it had taken up is sent again (another instance knows of it) or ends (nobody does).
//! When callers are sent to another one while it is still there, what it had taken up was handed over and
//! moves along; an instance of an active service answers it as before, and should it go later, it is sent
//! again.
//!
//! The instance on this node is told what it may do: less, before callers are sent anywhere else; more,
//! after.

use crate::choice::choose;
use crate::command::{Action, Command, Why};
use crate::predecessors::Predecessors;
use crate::rule::{self, Serving};
use dvs_abi::{Code, NodeId};
use dvs_control::epoch::Epoch;
use dvs_control::service::{Kind, PartitionRule, Place, Service};
use dvs_control::state::{ServiceName, State};
use std::collections::{BTreeMap, BTreeSet};

/// What a node knows beside the log.
pub(crate) struct Local<'a> {
    pub(crate) me: NodeId,
    /// Its incarnation, while it is in one.
    pub(crate) incarnation: Option<Epoch>,
    pub(crate) lease: bool,
    pub(crate) links: &'a BTreeSet<NodeId>,
    /// What others have applied, and who they are.
    pub(crate) heard: &'a BTreeMap<NodeId, Epoch>,
    pub(crate) state: &'a State,
    pub(crate) now: u64,
    /// Until when somebody who has not heard of what is done now may go on.
    pub(crate) until: u64,
}

/// What the log says anew of one service.
#[derive(Default)]
pub(crate) struct News {
    /// Up to here.
    pub(crate) place: Epoch,
    /// What lies between this and what was known is not known.
    pub(crate) restored: bool,
    /// Instances that have ended.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Nodes that may serve it without this node having heard so.
    pub(crate) others: Vec<(NodeId, Epoch)>,
}

/// One instance: its node, and where in the log it was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spot {
    node: NodeId,
    since: Epoch,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Track {
    name: ServiceName,
    rule: PartitionRule,
    /// Of the last decision, and of the last command about callers.
    epoch: Epoch,
    said: Epoch,
    /// Callers wait or go; else they are told that there is no such service.
    known: bool,
    wait: Option<Why>,
    /// Where callers are to go, and where they were pointed last.
    target: Option<Spot>,
    pointed: Option<Spot>,
    /// Instances that callers were sent to earlier, which are still there and may be at what they took up; of
    /// an active service only, as from others it moves along.
    trail: BTreeMap<NodeId, Epoch>,
    /// The instance here, and what it was told.
    own: Option<Epoch>,
    serving: Serving,
    /// Who may serve by the log as it is known here, in which incarnation; and who may still.
    holders: BTreeMap<NodeId, Epoch>,
    pub(crate) before: Predecessors,
}

impl Track {
    pub(crate) fn new(name: ServiceName) -> Self {
        Track {
            name,
            rule: PartitionRule::Stop,
            epoch: Epoch::default(),
            said: Epoch::default(),
            known: false,
            wait: None,
            target: None,
            pointed: None,
            trail: BTreeMap::new(),
            own: None,
            serving: Serving::Stopped,
            holders: BTreeMap::new(),
            before: Predecessors::default(),
        }
    }

    /// Whether nothing has to be remembered of it.
    pub(crate) fn is_over(&self) -> bool {
        !self.known && self.before.is_empty()
    }

    /// What the instance here may do, with a lease and without.
    pub(crate) fn serving(&self, lease: bool) -> Serving {
        let at_most = if lease { Serving::Full } else { rule::serving(self.rule, false, true) };
        self.serving.min(at_most)
    }

    /// There is no such service here, for this reason.
    pub(crate) fn end(&mut self, code: Code, news: Option<&News>, here: &Local<'_>, out: &mut Vec<Command>) {
        if let Some(news) = news {
            self.pass_on(BTreeMap::new(), news, here);
        }
        self.before.settle(here.state, here.heard, here.now);
        let Some(news) = news else { return };
        if !std::mem::take(&mut self.known) {
            return;
        }
        // Where it only is no longer for this node, it may be again, in the epoch it has.
        if code != Code::NODCNODE {
            self.epoch = self.epoch.max(news.place);
        }
        self.instruct(Serving::Stopped, out);
        self.say(Action::End(code), out);
        (self.wait, self.target, self.pointed, self.own) = (None, None, None, None);
        self.trail.clear();
    }

    /// It is like that now.
    pub(crate) fn review(
        &mut self,
        service: &Service,
        news: Option<&News>,
        here: &Local<'_>,
        out: &mut Vec<Command>,
    ) {
        let lost = news.map(|n| self.follow(service, n, here)).unwrap_or_default();
        self.before.settle(here.state, here.heard, here.now);
        let own = service.instances.get(&here.me).filter(|i| here.incarnation == Some(i.incarnation));
        let serves = own.is_some_and(|i| match service.spec.kind {
            Kind::Active => i.in_step,
            Kind::Single | Kind::Passive => service.at() == Some(here.me),
        });
        let alone = self.before.is_empty() || service.spec.kind == Kind::Active;
        self.rule = service.spec.rule;
        let wanted = if serves { rule::serving(self.rule, here.lease, alone) } else { Serving::Stopped };
        let own = own.map(|i| i.since);
        if self.own != own {
            self.instruct(Serving::Stopped, out);
            self.own = own;
        }
        self.instruct(wanted.min(self.serving), out);
        self.route(service, &lost, here, out);
        self.instruct(wanted, out);
    }

    /// What the log says: where callers are to go from which epoch on, who may serve; and which instances are
    /// lost with what they had taken up.
    fn follow(&mut self, service: &Service, news: &News, here: &Local<'_>) -> Vec<NodeId> {
        let target = self.find(service, here);
        let changed = !self.known || target != self.target;
        let lost = self.lost(service, news);
        self.target = target;
        let before = self.epoch;
        if service.spec.kind != Kind::Active {
            self.epoch = self.epoch.max(service.epoch);
        } else if changed {
            self.epoch = news.place.max(Epoch(self.epoch.0 + 1));
        }
        if !self.known || (news.restored && self.epoch != before) {
            for (node, incarnation) in &news.others {
                self.before.add(*node, *incarnation, news.place, here.until);
            }
        }
        let holders = service.instances.iter().filter(|(node, i)| match service.spec.kind {
            Kind::Active => i.in_step,
            Kind::Single | Kind::Passive => service.at() == Some(**node),
        });
        self.pass_on(holders.map(|(node, i)| (*node, i.incarnation)).collect(), news, here);
        lost
    }

    /// The instances callers were sent to that are gone, with what they had taken up.
    fn lost(&mut self, service: &Service, news: &News) -> Vec<NodeId> {
        let there = |node: NodeId, since| service.instances.get(&node).is_some_and(|i| i.since == since);
        let mut lost = Vec::new();
        if let Some(s) = self.pointed.filter(|s| !there(s.node, s.since)) {
            // Else it has moved, with all it had.
            if news.restored || news.gone.contains(&s.node) {
                lost.push(s.node);
            }
            self.pointed = None;
        }
        self.trail.retain(|node, since| {
            let stays = there(*node, *since);
            if !stays && !lost.contains(node) {
                lost.push(*node);
            }
            stays
        });
        lost
    }

    /// These may serve from now on. Those that might until now have to hear of it, unless they have ended.
    fn pass_on(&mut self, holders: BTreeMap<NodeId, Epoch>, news: &News, here: &Local<'_>) {
        let old = std::mem::replace(&mut self.holders, holders);
        for (node, incarnation) in old {
            let ended = news.gone.contains(&node);
            if !ended && node != here.me && !self.holders.contains_key(&node) {
                self.before.add(node, incarnation, news.place, here.until);
            }
        }
    }

    /// Where callers are to go.
    fn find(&self, service: &Service, here: &Local<'_>) -> Option<Spot> {
        let node = match service.spec.kind {
            Kind::Single | Kind::Passive => service.at(),
            Kind::Active => {
                let in_step: Vec<NodeId> =
                    service.instances.iter().filter(|(_, i)| i.in_step).map(|(n, _)| *n).collect();
                choose(here.me, &in_step, self.target.map(|s| s.node), here.links)
            }
        }?;
        service.instances.get(&node).map(|i| Spot { node, since: i.since })
    }

    fn route(&mut self, service: &Service, lost: &[NodeId], here: &Local<'_>, out: &mut Vec<Command>) {
        let reached = |node| node == here.me || here.links.contains(&node);
        let why = match (self.target, service.place) {
            (Some(s), _) if reached(s.node) => None,
            (Some(_), _) => Some(Why::Unreachable),
            (None, Place::Moving { .. }) if service.spec.kind != Kind::Active => Some(Why::Moving),
            (None, _) => Some(Why::Vacant),
        };
        let repoint = self.target.filter(|_| self.target != self.pointed);
        let anew = !self.known || self.epoch != self.said;
        let open = self.known && self.wait.is_none();
        let freeze = match why {
            None => !self.known || (open && (anew || repoint.is_some())),
            Some(_) => anew || self.wait != why,
        };
        if freeze {
            self.say(Action::Freeze(why.unwrap_or(Why::Changed)), out);
        }
        for node in lost {
            let single = service.spec.kind == Kind::Single;
            self.say(if single { Action::Fail(*node) } else { Action::Resend(*node) }, out);
        }
        if let Some(spot) = repoint {
            if let Some(left) = self.pointed.filter(|_| service.spec.kind == Kind::Active) {
                self.trail.insert(left.node, left.since);
            }
            self.say(Action::Point(spot.node), out);
            self.trail.remove(&spot.node);
            self.pointed = repoint;
        }
        if why.is_none() && (freeze || !open) {
            self.say(Action::Thaw, out);
        }
        (self.known, self.wait, self.said) = (true, why, self.epoch);
    }

    /// The instance here is told once.
    fn instruct(&mut self, wanted: Serving, out: &mut Vec<Command>) {
        if std::mem::replace(&mut self.serving, wanted) != wanted {
            let action = match wanted {
                Serving::Stopped => Action::Stop,
                Serving::Reads => Action::ReadOnly,
                Serving::Full => Action::Continue,
            };
            self.say(action, out);
        }
    }

    fn say(&self, action: Action, out: &mut Vec<Command>) {
        let (dc, slot) = self.name;
        out.push(Command { dc, slot, epoch: self.epoch, action });
    }
}
