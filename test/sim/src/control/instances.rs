//! The instances of services on one simulated node.
//!
//! An instance serves while the replicated state sends callers to it. Single services move as in
//! [`super::moves`]. Of others: when its service moves it has stopped, and hands its state over until the
//! move is over; its target offers itself when it got that.

use super::moves::Moves;
use super::wire::{Note, Packet};
use super::{MAIN, MS, SERVICES, everywhere, service};
use crate::actor::Effects;
use dvs_abi::NodeId;
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_control::service::{Kind, Place, Service};
use dvs_control::state::State;
use std::collections::{BTreeMap, BTreeSet};

/// The instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Running here, by slot.
    alive: BTreeSet<i32>,
    /// Serving callers, since when.
    serving: BTreeMap<i32, Epoch>,
    /// The last move of which the state was handed over to here.
    taken: BTreeMap<i32, Epoch>,
    /// The state of single services, and their moves.
    pub(super) moves: Moves,
}

fn find(state: &State, slot: i32) -> Option<&Service> {
    state.container(MAIN)?.services.get(&slot)
}

impl Instances {
    pub(super) fn serving(&self) -> &BTreeMap<i32, Epoch> {
        &self.serving
    }

    fn start(&mut self, slot: i32, kind: Kind, fx: &mut Effects<'_, Note>) {
        self.alive.insert(slot);
        if kind == Kind::Single {
            self.moves.born(slot, fx);
        }
    }

    /// Whether there was one.
    fn stop(&mut self, slot: i32) -> bool {
        self.moves.ends(slot);
        self.alive.remove(&slot)
    }

    /// Single services that are served here are written to, and moved unless all is to be `quiet`.
    pub(super) fn write(&mut self, quiet: bool, fx: &mut Effects<'_, Note>) {
        for slot in self.serving.keys().filter(|s| SERVICES.contains(&(**s, Kind::Single))) {
            if fx.random().odds(500) {
                self.moves.write(*slot, fx);
            }
            if !quiet && fx.random().odds(25) {
                let to = NodeId(fx.random().below(u64::from(super::DAEMONS)) as u16);
                self.moves.begin(*slot, to, fx);
            }
        }
    }

    /// Something was applied: who serves now?
    pub(super) fn follow(
        &mut self,
        me: (NodeId, Epoch),
        state: &State,
        fx: &mut Effects<'_, Note>,
        out: &mut Vec<Command>,
    ) {
        for (slot, kind) in SERVICES {
            if kind == Kind::Single {
                // One that came is there, one that went is not.
                match self.moves.has(slot) {
                    true => drop(self.alive.insert(slot)),
                    false => drop(self.alive.remove(&slot)),
                }
            }
            let service = find(state, slot);
            let mine = service.is_some_and(|s| s.instances.get(&me.0).is_some_and(|i| i.incarnation == me.1));
            if service.is_none_or(|s| s.withdrawn || !s.spec.allows(me.0)) {
                self.stop(slot);
            }
            let epoch = service.filter(|s| mine && s.at() == Some(me.0)).map(|s| s.epoch);
            match epoch.filter(|_| self.alive.contains(&slot)) {
                Some(epoch) => {
                    if self.serving.insert(slot, epoch) != Some(epoch) {
                        fx.note(Note::Serves(slot, epoch));
                    }
                }
                None => drop(self.serving.remove(&slot)),
            }
            // The state has one that does not run here: it ended before its offer came through.
            let offered = |c: &Command| matches!(c, Command::Retire { slot: s, .. } if *s == slot);
            if mine && !self.alive.contains(&slot) && !out.iter().any(offered) {
                out.push(Command::Retire { dc: MAIN, slot });
            }
        }
    }

    pub(super) fn handed_over(
        &mut self,
        me: NodeId,
        slot: i32,
        number: Epoch,
        state: &State,
    ) -> Option<Command> {
        let moving = find(state, slot).map(|s| s.place);
        let mine = matches!(moving, Some(Place::Moving { to, number: n, .. }) if to == me && n == number);
        if !mine || self.taken.insert(slot, number) == Some(number) {
            return None;
        }
        self.alive.insert(slot);
        Some(Command::Arrive { dc: MAIN, slot, number })
    }

    /// Time passes: hands over, offers itself where something is missing.
    pub(super) fn tick(
        &mut self,
        (me, retiring): (NodeId, &BTreeSet<i32>),
        state: &State,
        fx: &mut Effects<'_, Note>,
    ) -> Vec<Command> {
        let mut out = Vec::new();
        for (slot, kind) in SERVICES {
            let Some(s) = find(state, slot).filter(|s| !s.withdrawn && s.spec.allows(me)) else { continue };
            let has = s.instances.get(&me);
            let offer = |in_step| Command::Offer { dc: MAIN, slot, in_step };
            match s.place {
                Place::Moving { from, to, number, .. } if from == me && kind != Kind::Single => {
                    fx.send(to, Packet::HandOver(slot, number).encode());
                }
                _ if retiring.contains(&slot) => {}
                Place::Vacant if !self.moves.comes(slot) && fx.random().odds(100) => {
                    self.start(slot, kind, fx);
                    out.push(offer(true));
                }
                Place::At(other) if other != me && kind != Kind::Single && fx.random().odds(30) => {
                    self.alive.insert(slot);
                    match has {
                        None => out.push(offer(kind == Kind::Active)),
                        Some(i) if !i.in_step => out.push(offer(true)),
                        Some(_) => {}
                    }
                }
                Place::At(other) if other != me && has.is_none() => drop(self.stop(slot)),
                _ => {}
            }
        }
        out
    }

    /// What was withdrawn, or may not be everywhere.
    pub(super) fn missing(&self, state: &State) -> Vec<Command> {
        let fine = |slot| find(state, slot).is_some_and(|s| !s.withdrawn && s.spec.nodes == everywhere());
        let missing = SERVICES.iter().filter(|(slot, _)| !fine(*slot));
        let declared = missing.map(|(slot, kind)| Command::Declare {
            dc: MAIN,
            slot: *slot,
            spec: service(*slot, *kind),
        });
        declared.collect()
    }

    /// What people do with services.
    pub(super) fn people(&mut self, state: &State, fx: &mut Effects<'_, Note>) -> Option<Command> {
        let (slot, kind) = SERVICES[fx.random().below(SERVICES.len() as u64) as usize];
        let Some(s) = find(state, slot).filter(|s| !s.withdrawn) else {
            return Some(Command::Declare { dc: MAIN, slot, spec: service(slot, kind) });
        };
        let to = NodeId(fx.random().below(u64::from(super::DAEMONS)) as u16);
        match (fx.random().below(10), s.place) {
            (0..2, _) if self.stop(slot) => {
                self.serving.remove(&slot);
                Some(Command::Retire { dc: MAIN, slot })
            }
            (2, Place::Moving { number, .. }) => Some(Command::Undo { dc: MAIN, slot, number }),
            (3..7, Place::At(_)) if kind == Kind::Single => {
                if self.serving.contains_key(&slot) {
                    self.moves.begin(slot, to, fx);
                }
                None
            }
            (3..5, Place::At(_)) if kind == Kind::Passive => Some(Command::Switch { dc: MAIN, slot, to }),
            (3..7, Place::At(_)) => {
                let deadline = fx.now() + 100 * MS + fx.random().below(2_000 * MS);
                Some(Command::Move { dc: MAIN, slot, to, deadline })
            }
            (7, _) if fx.random().odds(300) => Some(Command::Withdraw { dc: MAIN, slot }),
            _ => None,
        }
    }
}
