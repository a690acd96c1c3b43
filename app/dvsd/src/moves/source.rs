//! Moves of services away from this node.
//!
//! ```text
//!  asked ──► Wanted: its program ──► Asking: the target's ──► Under way: reports ──► over
//!               │ cannot move          │ refused, silent       │ its program ended
//!               └──────────────────────┴─► refused             └─► refused
//! ```

use super::{MoveRecord, Prepare, Readiness};
use crate::admin::{AdminAnswer, MoveCheck, MoveOrder};
use crate::daemon::Daemon;
use crate::programs::Asker;
use dvs_abi::limits::MOVES_MAX;
use dvs_abi::{Code, DcId, Endpoint, NodeId};
use dvs_control::service::Place;
use dvs_ipc::control::Answer;
use dvs_kern::mover::{MoverAnswer, MoverReport};
use dvs_kern::node::event::{Event, SessionId};
use dvs_kern::node::mover::Waiter;
use dvs_linux::clock;
use dvs_migrate::preflight::{self, Load, Room};

/// How long its program has to say how it is, when it did not just then.
const PROGRAM_NS: u64 = 1_000_000_000;
/// How often it is looked whether it has.
const LOOK_NS: u64 = 10_000_000;
/// How long the other daemon has, above what a program needs to start.
const TARGET_NS: u64 = 15_000_000_000;

enum Stage {
    /// Its program is to say how it is, until then.
    Wanted { until: u64, look_at: u64 },
    /// The target's daemon is asked.
    Asking { until: u64 },
    /// Its program carries it out.
    Under { session: SessionId, last: String },
}

/// One move.
pub(crate) struct Leaving {
    asker: Option<Asker>,
    order: MoveOrder,
    stage: Stage,
    cancelled: bool,
}

impl Leaving {
    pub(super) fn look_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Wanted { look_at, .. } => Some(look_at),
            Stage::Asking { until } => Some(until),
            Stage::Under { .. } => None,
        }
    }
}

impl Daemon {
    /// Somebody wants a service of this node elsewhere.
    pub(crate) fn move_asked(&mut self, asker: Asker, order: MoveOrder) {
        let (dc, slot) = (order.dc, order.slot);
        let busy = self.moves.leaving.values().any(|m| (m.order.dc, m.order.slot) == (dc, slot));
        if busy {
            return self.move_denied(Some(asker), Code::BUSY, "it is about to move already");
        }
        if self.moves.leaving.len() >= MOVES_MAX {
            return self.move_denied(Some(asker), Code::NOSPC, "too many services move at this moment");
        }
        let now = clock::now();
        self.moves.last = self.moves.last.max(now) + 1;
        let (id, stage) = (self.moves.last, Stage::Wanted { until: now + PROGRAM_NS, look_at: now });
        self.moves.leaving.insert(id, Leaving { asker: Some(asker), order, stage, cancelled: false });
        self.move_wanted(id, now);
    }

    fn hindrances(&self, order: &MoveOrder, load: Option<Load>, room: Option<Room>) -> Vec<String> {
        let name = (DcId(order.dc), order.slot);
        preflight::hindrances(&self.plane.state, name, NodeId(order.to), load, room)
    }

    /// Looks whether the service can be moved, and its program can do that, and asks the target.
    fn move_wanted(&mut self, id: u64, now: u64) {
        let Some(order) = self.moves.leaving.get(&id).map(|m| m.order.clone()) else { return };
        let (dc, slot, to, check) = (order.dc, order.slot, order.to, order.check);
        let hindrances = self.hindrances(&order, None, None);
        let waiter = self.node.movable_instance(dc, slot);
        // What this node does not know yet, it may in a moment: that the last move is over.
        let moving = matches!(self.place_of(dc, slot), Some(Place::Moving { .. }));
        let elsewhere =
            self.place_of(dc, slot).is_some_and(|p| matches!(p, Place::At(n) if n != self.plane.me()));
        let Some(m) = self.moves.leaving.get_mut(&id) else { return };
        let Stage::Wanted { until, look_at } = &mut m.stage else { return };
        let waits = now < *until && (moving || hindrances.is_empty() && waiter.is_none() && !elsewhere);
        if waits {
            *look_at = now + LOOK_NS;
            return;
        }
        let Some(waiter) = waiter.filter(|_| hindrances.is_empty()) else {
            return self.move_hindered(id, &order, hindrances, elsewhere);
        };
        m.stage = Stage::Asking { until: now + TARGET_NS };
        let start = match order.program.is_empty() {
            true => self.command_of(waiter.session),
            false => Some((order.program, order.folder)),
        };
        let ask = Prepare { dc, slot, peer: waiter.mover.raw(), start, check };
        self.tell_mover(to, MoveRecord::Prepare { id, ask });
    }

    fn move_hindered(&mut self, id: u64, order: &MoveOrder, hindrances: Vec<String>, elsewhere: bool) {
        if elsewhere {
            let text = "it is not on this node any more; ask again";
            return self.move_failed(id, Code::STALE, text);
        }
        if order.check && !hindrances.is_empty() {
            let asker = self.move_ended(id, false);
            let check = MoveCheck { hindrances, ..MoveCheck::default() };
            return asker.into_iter().for_each(|asker| self.checked(asker, check.clone()));
        }
        let text = match hindrances.is_empty() {
            true => "its program cannot hand its state over: it is not run by dvs_migrate::Host".to_owned(),
            false => hindrances.join("; "),
        };
        self.move_failed(id, Code::PROCSTS, &text);
    }

    fn place_of(&self, dc: u16, slot: i32) -> Option<Place> {
        self.plane.state.container(DcId(dc)).and_then(|c| c.services.get(&slot)).map(|s| s.place)
    }

    /// The same for whoever asks by endpoint.
    pub(crate) fn command_at(&self, dc: u16, endpoint: i32) -> AdminAnswer {
        let endpoint = Endpoint::from_raw(endpoint);
        let found = self.node.containers().find(|(n, _)| *n == dc);
        let session = found
            .and_then(|(_, c)| c.descriptors().find(|d| d.endpoint.slot() == endpoint.slot()))
            .and_then(|d| d.session);
        match session.and_then(|s| self.command_of(s)) {
            Some((program, folder)) => AdminAnswer::Command { program, folder },
            None => {
                let why = format!("what was started as {endpoint} is not known; name it behind --");
                AdminAnswer::Refused { code: Code::NOENT as i32, why }
            }
        }
    }

    /// What a program was started with, as far as its node can know: by this daemon, or from the system, of
    /// the same user.
    fn command_of(&self, session: SessionId) -> Option<(Vec<String>, Option<String>)> {
        let peer = self.conns.get(&session)?.peer;
        if let Some(order) = self.programs.order_of(peer.pid) {
            return Some((order.program.clone(), order.folder.clone()));
        }
        if peer.uid != dvs_linux::paths::uid() {
            return None;
        }
        let folder = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", peer.pid)).ok();
        let text = |path: std::path::PathBuf| path.to_str().map(str::to_owned);
        let words = std::fs::read(format!("/proc/{}/cmdline", peer.pid)).ok()?;
        let words = words.strip_suffix(&[0]).unwrap_or(&words);
        let rest = words.split(|b| *b == 0).skip(1).map(|w| String::from_utf8(w.to_vec()).ok());
        let program = text(folder("exe")?)?;
        let program = program.strip_suffix(" (deleted)").unwrap_or(&program).to_owned();
        let words: Option<Vec<String>> = std::iter::once(Some(program)).chain(rest).collect();
        Some((words?, folder("cwd").and_then(text)))
    }

    /// Somebody is there to take it over.
    pub(super) fn move_ready(&mut self, node: u16, id: u64, room: Readiness) {
        let Some(m) = self.moves.leaving.get(&id).filter(|m| m.order.to == node) else {
            // Nobody wants it any more.
            return self.tell_mover(node, MoveRecord::Over { id, moved: false });
        };
        if !matches!(m.stage, Stage::Asking { .. }) {
            return;
        }
        let order = m.order.clone();
        let Some(waiter) = self.node.movable_instance(order.dc, order.slot) else {
            // It is about to say so anew.
            if let Some(m) = self.moves.leaving.get_mut(&id) {
                let now = clock::now();
                m.stage = Stage::Wanted { until: now + PROGRAM_NS, look_at: now + LOOK_NS };
            }
            return;
        };
        let load = Load { state: waiter.bytes, version: waiter.versions.0 };
        let versions = room.mover.map_or(waiter.versions, |(_, versions)| versions);
        let hindrances = self.hindrances(&order, Some(load), Some(Room { memory: room.memory, versions }));
        if order.check {
            let check = MoveCheck {
                hindrances,
                bytes: waiter.bytes,
                version: waiter.versions.0,
                memory: room.memory,
                takes: room.mover.map(|(_, versions)| versions),
            };
            let asker = self.move_ended(id, false);
            return asker.into_iter().for_each(|asker| self.checked(asker, check.clone()));
        }
        match room.mover {
            _ if !hindrances.is_empty() => self.move_failed(id, Code::PROCSTS, &hindrances.join("; ")),
            Some((peer, _)) => self.move_goes(id, &order, waiter, peer),
            None => self.move_failed(id, Code::PROCSTS, "nobody takes it over there"),
        }
    }

    fn move_goes(&mut self, id: u64, order: &MoveOrder, waiter: Waiter, peer: i32) {
        let Some(m) = self.moves.leaving.get_mut(&id) else { return };
        m.stage = Stage::Under { session: waiter.session, last: "preparing".into() };
        let (prepare_ns, hold_ns) = (order.prepare_ms.saturating_mul(1_000_000), order.hold_ms * 1_000_000);
        let answer = MoverAnswer::Go { id, to: order.to, peer, prepare_ns, hold_ns };
        let (dc, slot) = (order.dc, order.slot);
        let (name, to) = (self.service_name(dc, slot), self.node_name(order.to));
        self.log.add("move", format!("{name} begins to move to {to}"));
        self.feed(Event::MoverOrder { dc, slot, answer });
    }

    fn service_name(&self, dc: u16, slot: i32) -> String {
        let c = self.plane.state.container(DcId(dc));
        c.and_then(|c| c.services.get(&slot)).map_or(format!("dc{dc}/{slot}"), |s| s.spec.name.clone())
    }

    /// The target's daemon has nobody for it.
    pub(super) fn move_refused(&mut self, node: u16, id: u64, why: &str) {
        if self.moves.leaving.get(&id).is_some_and(|m| m.order.to == node) {
            self.move_failed(id, Code::PROCSTS, why);
        }
    }

    /// Its program says how far it is.
    pub(crate) fn move_report(&mut self, s: SessionId, request: u64, id: u64, report: MoverReport) {
        let mine = |m: &&mut Leaving| matches!(m.stage, Stage::Under { session, .. } if session == s);
        let Some(m) = self.moves.leaving.get_mut(&id).filter(mine) else {
            return self.answer_mover(s, request, MoverAnswer::Stop);
        };
        let (asker, dc, slot, to) = (m.asker, m.order.dc, m.order.slot, m.order.to);
        let wanted = asker.is_some() && !m.cancelled;
        let go = if wanted { MoverAnswer::On } else { MoverAnswer::Stop };
        match report {
            MoverReport::Phase { phase, round, bytes } => {
                if let Stage::Under { last, .. } = &mut m.stage {
                    *last = phase.text().into();
                }
                self.answer_mover(s, request, go);
                if let Some(asker) = asker {
                    self.tell_asker(asker, AdminAnswer::Moving { phase, round, bytes });
                }
            }
            MoverReport::Ended { moved, why, rounds, bytes, held_ns } => {
                let name = self.service_name(dc, slot);
                let text = if moved { format!("is on {} now", self.node_name(to)) } else { why.clone() };
                self.log
                    .add("move", format!("{name} {text}; callers were held for {} ms", held_ns / 1_000_000));
                self.answer_mover(s, request, go);
                self.move_ended(id, moved);
                if let Some(asker) = asker {
                    self.tell_asker(asker, AdminAnswer::Moved { moved, why, rounds, bytes, held_ns });
                    self.tell_asker(asker, AdminAnswer::End);
                }
            }
        }
    }

    fn answer_mover(&mut self, s: SessionId, request: u64, answer: MoverAnswer) {
        self.answer(s, request, Ok(Answer::Mover(answer)));
    }

    fn checked(&mut self, asker: Asker, check: MoveCheck) {
        self.tell_asker(asker, AdminAnswer::Checked(check));
        self.tell_asker(asker, AdminAnswer::End);
    }

    fn move_denied(&mut self, asker: Option<Asker>, code: Code, why: &str) {
        let Some(asker) = asker else { return };
        self.tell_asker(asker, AdminAnswer::Refused { code: code as i32, why: why.to_owned() });
        self.tell_asker(asker, AdminAnswer::End);
    }

    fn move_failed(&mut self, id: u64, code: Code, why: &str) {
        let asker = self.move_ended(id, false);
        self.move_denied(asker, code, why);
    }

    /// Forgets a move, and tells the target's daemon; who asked for it.
    fn move_ended(&mut self, id: u64, moved: bool) -> Option<Asker> {
        let m = self.moves.leaving.remove(&id)?;
        if !matches!(m.stage, Stage::Wanted { .. }) {
            self.tell_mover(m.order.to, MoveRecord::Over { id, moved });
        }
        m.asker
    }

    /// Whoever asked does not wait any more: it is not to be, unless it is too late for that.
    pub(crate) fn move_withdrawn(&mut self, asker: Asker) {
        let found = self.moves.leaving.iter_mut().find(|(_, m)| m.asker == Some(asker));
        let Some((&id, m)) = found else { return };
        m.asker = None;
        if !matches!(m.stage, Stage::Under { .. }) {
            self.move_ended(id, false);
        }
    }

    /// A move is not to be, unless it is too late for that: whoever asked for it is told.
    pub(crate) fn move_cancelled(&mut self, dc: u16, slot: i32) {
        let found = self.moves.leaving.iter_mut().find(|(_, m)| (m.order.dc, m.order.slot) == (dc, slot));
        let Some((&id, m)) = found else { return };
        m.cancelled = true;
        if !matches!(m.stage, Stage::Under { .. }) {
            self.move_failed(id, Code::INTR, "it was cancelled before it began");
        }
    }

    /// A program has ended: what it moved is where the log says.
    pub(crate) fn move_session_over(&mut self, s: SessionId) {
        let mine = |m: &Leaving| matches!(m.stage, Stage::Under { session, .. } if session == s);
        let ids: Vec<u64> = self.moves.leaving.iter().filter(|(_, m)| mine(m)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(m) = self.moves.leaving.get(&id) else { continue };
            let place = self.place_of(m.order.dc, m.order.slot);
            // One that may have all of it is left alone: the log will say.
            let open = matches!(place, Some(Place::Moving { .. } | Place::Vacant));
            let moved = open || place == Some(Place::At(NodeId(m.order.to)));
            let asker = self.move_ended(id, moved);
            self.move_denied(asker, Code::SRCDIED, "the program that served ended while it moved");
        }
    }

    pub(super) fn leaving_expire_moves(&mut self, now: u64) {
        let due = self.moves.leaving.iter().filter(|(_, m)| m.look_at().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.moves.leaving.get(&id).map(|m| (&m.stage, m.order.to)) {
                Some((Stage::Asking { .. }, to)) => {
                    let text = format!("{} does not answer", self.node_name(to));
                    self.move_failed(id, Code::TIMEDOUT, &text);
                }
                _ => self.move_wanted(id, now),
            }
        }
    }

    pub(super) fn leaving_node_down(&mut self, node: u16) {
        let all: Vec<u64> = self.moves.leaving.keys().copied().collect();
        for id in all {
            let Some(m) = self.moves.leaving.get_mut(&id) else { continue };
            if m.asker.is_some_and(|a| a.node == node) {
                m.asker = None;
            }
            // One under way finds out by itself.
            if m.order.to == node && matches!(m.stage, Stage::Asking { .. }) {
                let text = format!("{} was lost", self.node_name(node));
                self.move_failed(id, Code::NOTCONN, &text);
            }
        }
    }

    /// What the program of a service that is about to leave is at.
    pub(crate) fn move_phase(&self, dc: u16, slot: i32) -> Option<(u16, String)> {
        let m = self.moves.leaving.values().find(|m| (m.order.dc, m.order.slot) == (dc, slot))?;
        let phase = match &m.stage {
            Stage::Under { last, .. } => last.clone(),
            _ => "preparing".to_owned(),
        };
        Some((m.order.to, phase))
    }
}
