//! The ways of one daemon to the others, and what waits there for credit: as its proxy has them
//! (`net/proxy/src/driver.rs`, `app/dvsd/src/proxy/router.rs`).

use super::cable::Segment;
use super::line::{Around, FromLine, Line};
use super::wire::Word;
use crate::actor::Effects;
use crate::control::wire::Note;
use crate::control::{DAEMONS, LEASE_NS, MS};
use dvs_abi::NodeId;
use dvs_kern::control;
use dvs_proxy::peer::Peer;
use dvs_proxy::route::{Cmd, Route, Step};
use dvs_proxy::{Frame, Timing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The times of sessions, as the daemon has them for a lease of this length (`app/dvsd/src/proxy/start.rs`).
const TIMING: Timing = Timing {
    ping_every: 100 * MS,
    silence_max: 1_000 * MS,
    dead_after: if 2 * LEASE_NS > 5_000 * MS { 2 * LEASE_NS } else { 5_000 * MS },
    redial_max: 400 * MS,
};
/// All daemons are of one system.
const SYSTEM: u128 = 0xD5;

/// The ways to all other daemons.
pub(super) struct Lines {
    lines: BTreeMap<NodeId, Line>,
    route: Route,
    news: VecDeque<FromLine>,
}

impl Lines {
    /// Of a daemon that has not started.
    pub(super) fn new(me: NodeId) -> Self {
        Lines { lines: BTreeMap::new(), route: Route::new(me, 0), news: VecDeque::new() }
    }

    /// It starts, and is another run from now on.
    pub(super) fn start(&mut self, me: NodeId, fx: &mut Effects<'_, Note>) {
        let boot = u128::from(fx.random().next()) << 64 | u128::from(fx.random().next());
        self.route = Route::new(me, fx.random().next());
        for node in (0..DAEMONS).map(NodeId).filter(|n| *n != me) {
            let peer = Peer::new(me, boot, node, TIMING, fx.now()).with_system(SYSTEM);
            self.lines.insert(node, Line::new(node, peer));
        }
    }

    fn at(
        &mut self,
        node: NodeId,
        fx: &mut Effects<'_, Note>,
        what: impl FnOnce(&mut Line, &mut Around<'_, '_>),
    ) {
        let Lines { lines, route, news } = self;
        let mut rest = Vec::new();
        if let Some(line) = lines.get_mut(&node) {
            what(line, &mut Around { fx: &mut *fx, route, news, rest: &mut rest });
        }
        if !rest.is_empty() {
            self.send(rest, fx);
        }
    }

    /// The router takes a step.
    pub(super) fn route(&mut self, fx: &mut Effects<'_, Note>, what: impl FnOnce(&mut Route, &mut Step<'_>)) {
        let mut out = Vec::new();
        what(&mut self.route, &mut Step { now: fx.now(), cpu: 0, out: &mut out });
        self.carry(out, fx);
    }

    /// Does what the router wants, in its order; frames leave when all of it is done.
    fn carry(&mut self, commands: Vec<Cmd>, fx: &mut Effects<'_, Note>) {
        let mut frames = Vec::new();
        for command in commands {
            match command {
                Cmd::Send { node, frame } => frames.push((node, frame)),
                other => self.news.extend(FromLine::of(other)),
            }
        }
        self.send(frames, fx);
    }

    fn send(&mut self, frames: Vec<(NodeId, Frame<'static>)>, fx: &mut Effects<'_, Note>) {
        let written: BTreeSet<NodeId> = frames.iter().map(|(node, _)| *node).collect();
        for (node, frame) in frames {
            self.at(node, fx, |line, around| line.send(frame, around));
        }
        for node in written {
            self.at(node, fx, Line::flush_all);
        }
    }

    /// Says something to a node.
    pub(super) fn say(&mut self, node: NodeId, word: &Word, fx: &mut Effects<'_, Note>) {
        // What is too long for a record is not said.
        let Ok(bytes) = control::encode(word) else { return };
        self.at(node, fx, |line, around| match word {
            Word::Log(_) => line.say_log(&bytes, around),
            _ => line.say(bytes, around),
        });
    }

    /// A segment came from a node.
    pub(super) fn hear(&mut self, node: NodeId, segment: Segment, fx: &mut Effects<'_, Note>) {
        self.at(node, fx, |line, around| line.hear(segment, around));
    }

    /// Connections with a node have broken.
    pub(super) fn broken(&mut self, node: NodeId, fx: &mut Effects<'_, Note>) {
        self.at(node, fx, Line::broken);
    }

    /// Ends the session with a node; another one begins when it is reached.
    pub(super) fn give_up(&mut self, node: NodeId, now: u64) {
        if let Some(line) = self.lines.get_mut(&node) {
            line.give_up(now);
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, fx: &mut Effects<'_, Note>) {
        for node in self.lines.keys().copied().collect::<Vec<_>>() {
            self.at(node, fx, Line::tick);
        }
    }

    /// What the daemon is to hear next.
    pub(super) fn next(&mut self) -> Option<FromLine> {
        self.news.pop_front()
    }
}
