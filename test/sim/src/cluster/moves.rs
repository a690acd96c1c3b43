//! What daemons have to do with moves: they bring the program that a service leaves and the one it goes to
//! together. As `app/dvsd/src/moves` does, without what people are told.

use super::daemon::Daemon;
use super::hosts::At;
use super::people::Role;
use super::wire::Word;
use crate::actor::Effects;
use crate::control::wire::Note;
use crate::control::{DAEMONS, MAIN, MS, SERVICES};
use dvs_abi::{Endpoint, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_control::service::Kind;
use dvs_kern::mover::MoverAnswer;
use dvs_kern::node::event::{Event, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One who stands by has so long to say so anew, before another one is started.
const LOOK_NS: u64 = 200 * MS;
/// A program that was started has so long until it stands by.
const START_NS: u64 = 2_000 * MS;
/// The other daemon has so long in all.
const TARGET_NS: u64 = 4_000 * MS;

/// What daemons say to each other about a move; the number is the source's.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum MoveRecord {
    /// Have somebody who takes this service over from this endpoint.
    Prepare(u64, i32, i32),
    /// There is somebody, at this endpoint.
    Ready(u64, i32),
    /// There is nobody.
    Refused(u64),
    /// It is over.
    Over(u64),
}

#[derive(Debug)]
enum Stage {
    Asking(u64),
    Under(SessionId),
}

#[derive(Debug)]
struct Leaving {
    slot: i32,
    to: NodeId,
    stage: Stage,
}

#[derive(Debug)]
struct Coming {
    slot: i32,
    peer: i32,
    started: bool,
    taken: bool,
    until: u64,
}

/// The moves a daemon has a part in.
#[derive(Debug, Default)]
pub(super) struct Moves {
    last: u64,
    leaving: BTreeMap<u64, Leaving>,
    coming: BTreeMap<(NodeId, u64), Coming>,
    late: BTreeMap<i32, Epoch>,
}

impl Daemon {
    fn tell_mover(&mut self, node: NodeId, record: MoveRecord, fx: &mut Effects<'_, Note>) {
        self.say(node, Word::Move(record), fx);
    }

    /// People want services of this node elsewhere.
    pub(super) fn order_moves(&mut self, fx: &mut Effects<'_, Note>) {
        for (slot, _) in SERVICES.into_iter().filter(|(_, kind)| *kind == Kind::Single) {
            let to = NodeId(fx.random().below(u64::from(DAEMONS)) as u16);
            let Some(waiter) = self.kern.movable_instance(MAIN.0, slot).filter(|_| to != self.me) else {
                continue;
            };
            if !fx.random().odds(200) || self.moves.leaving.values().any(|m| m.slot == slot) {
                continue;
            }
            self.moves.last = self.moves.last.max(fx.now()) + 1;
            let (id, stage) = (self.moves.last, Stage::Asking(fx.now() + TARGET_NS));
            self.moves.leaving.insert(id, Leaving { slot, to, stage });
            self.tell_mover(to, MoveRecord::Prepare(id, slot, waiter.mover.raw()), fx);
        }
    }

    pub(super) fn move_record(&mut self, from: NodeId, record: MoveRecord, fx: &mut Effects<'_, Note>) {
        match record {
            MoveRecord::Prepare(id, slot, peer) => {
                let until = fx.now() + LOOK_NS;
                let coming = Coming { slot, peer, started: false, taken: false, until };
                self.moves.coming.insert((from, id), coming);
                self.move_take((from, id), fx);
            }
            MoveRecord::Ready(id, peer) => self.move_ready(from, id, peer, fx),
            MoveRecord::Refused(id) => drop(self.moves.leaving.remove(&id)),
            MoveRecord::Over(id) => drop(self.moves.coming.remove(&(from, id))),
        }
    }

    fn move_ready(&mut self, from: NodeId, id: u64, peer: i32, fx: &mut Effects<'_, Note>) {
        let prepare_ns = 500 * MS + fx.random().below(2_000 * MS);
        let hold_ns = 100 * MS + fx.random().below(2_000 * MS);
        let found = self.moves.leaving.get_mut(&id).filter(|m| m.to == from);
        let waiter = found.as_ref().and_then(|m| self.kern.movable_instance(MAIN.0, m.slot));
        let (Some(m), Some(waiter)) = (found, waiter) else {
            self.moves.leaving.remove(&id);
            return self.tell_mover(from, MoveRecord::Over(id), fx);
        };
        if let Stage::Asking(_) = m.stage {
            m.stage = Stage::Under(waiter.session);
            let (slot, answer) = (m.slot, MoverAnswer::Go { id, to: from.0, peer, prepare_ns, hold_ns });
            self.feed(Event::MoverOrder { dc: MAIN.0, slot, answer }, fx);
        }
    }

    /// Tells somebody who stands by to take it, if there is one.
    fn move_take(&mut self, name: (NodeId, u64), fx: &mut Effects<'_, Note>) {
        let Some(c) = self.moves.coming.get_mut(&name).filter(|c| !c.taken) else { return };
        let Some(waiter) = self.kern.standby(MAIN.0, c.slot) else { return };
        (c.taken, c.until) = (true, u64::MAX);
        let (slot, (from, id)) = (c.slot, name);
        let answer = MoverAnswer::Take { id, from: from.0, peer: c.peer };
        self.feed(Event::MoverOrder { dc: MAIN.0, slot, answer }, fx);
        self.tell_mover(from, MoveRecord::Ready(id, waiter.mover.raw()), fx);
    }

    /// A program stands by.
    pub(super) fn move_standby(&mut self, slot: i32, fx: &mut Effects<'_, Note>) {
        let found = self.moves.coming.iter().find(|(_, c)| c.slot == slot && !c.taken).map(|(n, _)| *n);
        found.into_iter().for_each(|name| self.move_take(name, fx));
    }

    /// Its program says that it is over.
    pub(super) fn move_over(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        if let Some(m) = self.moves.leaving.remove(&id) {
            self.tell_mover(m.to, MoveRecord::Over(id), fx);
        }
    }

    pub(super) fn moves_node_down(&mut self, node: NodeId) {
        self.moves.leaving.retain(|_, m| m.to != node || matches!(m.stage, Stage::Under(_)));
        // Its program goes on if it has all: the log will say.
        self.moves.coming.retain(|(from, _), _| *from != node);
    }

    pub(super) fn moves_tick(&mut self, fx: &mut Effects<'_, Note>) {
        let now = fx.now();
        let leaves =
            |session: &SessionId| self.hosts.get(session).is_some_and(|h| matches!(h.at, At::Leaves(_)));
        let over = self.moves.leaving.iter().filter(|(_, m)| match &m.stage {
            Stage::Asking(until) => *until <= now,
            Stage::Under(session) => !leaves(session),
        });
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.move_over(id, fx);
        }
        let due: Vec<_> = self.moves.coming.iter().filter(|(_, c)| c.until <= now).map(|(n, _)| *n).collect();
        for name in due {
            let Some(c) = self.moves.coming.get_mut(&name) else { continue };
            if std::mem::replace(&mut c.started, true) {
                self.moves.coming.remove(&name);
                self.tell_mover(name.0, MoveRecord::Refused(name.1), fx);
                continue;
            }
            let slot = c.slot;
            c.until = now + START_NS;
            if self.people.count(|r| matches!(r, Role::Server(s) if *s == slot)) == 0 {
                self.connect(Role::Server(slot), Endpoint::new(0, slot).raw(), fx);
            }
        }
    }

    /// Of a leader: has the log undo the moves whose time is over, if no other entry does.
    pub(super) fn undo_late_moves(&mut self, now: u64) {
        let late: BTreeMap<i32, Epoch> = self.state.late_moves(now).map(|(_, s, n)| (s, n)).collect();
        let told = std::mem::replace(&mut self.moves.late, late.clone());
        for (slot, number) in late.into_iter().filter(|(slot, number)| told.get(slot) != Some(number)) {
            self.decide(None, Command::Undo { dc: MAIN, slot, number });
        }
    }
}
