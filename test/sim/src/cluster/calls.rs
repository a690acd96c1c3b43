//! Calls: the lanes of one node, the clients that call through them, the servers that take from them, and
//! what the proxies of two nodes say to each other of them.

use super::daemon::Daemon;
use super::people::{Role, find};
use super::wire::{Key, Said, Told as Seen, Word, effect, key};
use crate::actor::Effects;
use crate::control::moves::Word as Letter;
use crate::control::wire::Note;
use crate::control::{MAIN, MS, SERVICES};
use dvs_abi::{Code, Effect, Endpoint, NodeId};
use dvs_control::service::{Kind, Place};
use dvs_kern::control::{Answer, Duty, Event as Told, Request, WireError};
use dvs_kern::node::event::{Attach, Event, PROXY, SessionId};
use dvs_kern::node::link::LinkKey;
use dvs_radar::Serving;
use std::collections::BTreeMap;

/// How long a client waits for a server at most.
const PATIENCE_NS: u64 = 3_000 * MS;

/// A call in a lane.
#[derive(Clone, Debug)]
struct InLane {
    number: u64,
    taken: bool,
    /// Of another node's client: its node and lane.
    origin: Option<(NodeId, Key)>,
    /// A proxy carries it to another node.
    carried: bool,
    /// The client, if it is of this node.
    client: SessionId,
    /// What it says, if it is no call of a service.
    letter: Option<Letter>,
}

/// The calls of a node.
#[derive(Debug, Default)]
pub(super) struct Calls {
    links: BTreeMap<(SessionId, u16), LinkKey>,
    lanes: BTreeMap<Key, InLane>,
    /// Lanes the proxy has asked for.
    opens: BTreeMap<u64, (NodeId, Key, u64, Option<Letter>)>,
    ids: u64,
}

impl Calls {
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.links.retain(|(s, _), _| *s != session);
        self.lanes.retain(|_, call| call.client != session);
    }

    pub(super) fn key(&self, session: SessionId, link: u16, lane: u8) -> Option<Key> {
        self.links.get(&(session, link)).map(|k| key(*k, lane))
    }

    /// A letter of a program of this node goes to another one.
    pub(super) fn carry(&mut self, key: Key, number: u64, client: SessionId) {
        let call = InLane { number, taken: false, origin: None, carried: true, client, letter: None };
        self.lanes.insert(key, call);
    }

    /// Nobody waits for the answer any more.
    pub(super) fn give_up(&mut self, key: Key) {
        self.lanes.remove(&key);
    }

    /// Letters that came from other nodes.
    pub(super) fn letters(&self) -> Vec<(Key, u64, Letter)> {
        self.lanes.iter().filter_map(|(k, c)| Some((*k, c.number, c.letter.clone()?))).collect()
    }

    /// A letter is answered: to whom that goes.
    pub(super) fn answered(&mut self, key: Key, number: u64) -> Option<(NodeId, Key)> {
        self.lanes.get(&key).filter(|c| c.number == number)?;
        self.lanes.remove(&key)?.origin
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Doing {
    #[default]
    Nothing,
    Opening(u64),
    Calling(Key),
}

/// A client.
#[derive(Debug, Default)]
pub(super) struct Client {
    doing: Doing,
    /// The present call: its number, the service, until when it waits; it was sent before and may have been
    /// done.
    call: Option<(u64, i32, u64)>,
    again: bool,
}

impl Client {
    pub(super) fn idle(&self) -> bool {
        self.call.is_none()
    }

    pub(super) fn died(&self, fx: &mut Effects<'_, Note>) {
        if let Some((number, ..)) = self.call {
            fx.note(Note::Told(Seen::Unknown(number, Code::SRCDIED)));
        }
    }

    /// Its call was not answered: as the library has it.
    fn ended(&mut self, code: Code, effect: Effect, fx: &mut Effects<'_, Note>) {
        self.doing = Doing::Nothing;
        match (code, effect) {
            (Code::MIGRATE | Code::STALE, Effect::No) => {}
            (Code::STALE, _) => self.again = true,
            (_, effect) => {
                let Some((number, ..)) = self.call.take() else { return };
                let nothing = effect == Effect::No && !std::mem::take(&mut self.again);
                self.again = false;
                let seen = if nothing { Seen::Failed(number, code) } else { Seen::Unknown(number, code) };
                fx.note(Note::Told(seen));
            }
        }
    }

    fn answered(&mut self, value: i64, fx: &mut Effects<'_, Note>) {
        (self.doing, self.again) = (Doing::Nothing, false);
        if let Some((number, ..)) = self.call.take() {
            fx.note(Note::Told(Seen::Answered(number, value)));
        }
    }
}

impl Daemon {
    /// Clients call, servers answer.
    pub(super) fn call_and_serve(&mut self, fx: &mut Effects<'_, Note>) {
        let clients = self.people.processes.iter().filter(|(_, p)| matches!(p.role, Role::Client(_)));
        for session in clients.map(|(s, _)| *s).collect::<Vec<_>>() {
            self.call(session, fx);
        }
        for (slot, kind) in SERVICES {
            self.serve(slot, kind, fx);
        }
    }

    fn call(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        let quiet = self.quiet;
        let Some(p) = self.people.processes.get_mut(&session) else { return };
        let (Some(from), Role::Client(client)) = (p.endpoint, &mut p.role) else { return };
        if client.doing != Doing::Nothing {
            return;
        }
        if client.call.is_none() {
            if quiet || !fx.random().odds(300) {
                return;
            }
            let (slot, _) = SERVICES[fx.random().below(SERVICES.len() as u64) as usize];
            let (number, until) = (fx.random().next(), fx.now() + fx.random().below(PATIENCE_NS));
            client.call = Some((number, slot, until));
            fx.note(Note::Told(Seen::Calls(number, slot)));
        }
        let Some((_, slot, until)) = client.call else { return };
        let remaining = until.saturating_sub(fx.now());
        if remaining == 0 {
            return client.ended(Code::TIMEDOUT, Effect::No, fx);
        }
        let id = self.calls.next_id();
        client.doing = Doing::Opening(id);
        let request = Request::OpenLane { dc: MAIN.0, from: from.raw(), to: slot, remaining };
        self.feed(Event::Request { session, id, request }, fx);
    }

    /// The server of a service takes what has come, and answers what it has taken.
    fn serve(&mut self, slot: i32, kind: Kind, fx: &mut Effects<'_, Note>) {
        let (takes, answers_may) = self.may_serve(slot, kind, fx.now());
        if !takes && !answers_may {
            return;
        }
        let to = Endpoint::new(0, slot).raw();
        let mut answers = Vec::new();
        for (key, call) in &mut self.calls.lanes {
            let lane = self.kern.lane_of(LinkKey(key.0), key.1);
            if call.carried || !lane.is_some_and(|l| l.open && l.to == to) || fx.random().odds(300) {
                continue;
            }
            // Between the two it may be killed, moved, cut off.
            if call.taken && answers_may {
                answers.push((*key, call.clone()));
            }
            call.taken |= takes;
        }
        for (key, call) in answers {
            let leave =
                self.radar.serving((MAIN, slot), fx.now()) == Serving::Full || self.leaves(slot, fx.now());
            let epoch = find(self, slot).map_or(0, |s| s.epoch.0);
            let value = match kind {
                Kind::Single => self.add_kept(slot, fx),
                _ => self.store.borrow_mut().add(slot, call.number, true),
            };
            fx.note(Note::Told(Seen::Did(call.number, slot, epoch, leave, value)));
            self.calls.lanes.remove(&key);
            match call.origin {
                Some((node, key)) => {
                    let value = Said::Value(value);
                    self.say(node, Word::Reply { key, number: call.number, value }, fx);
                }
                None => self.answer(key, call.client, value, fx),
            }
        }
    }

    /// Whether a server here may take requests up, and answer what it has taken up.
    fn may_serve(&self, slot: i32, kind: Kind, now: u64) -> (bool, bool) {
        let takes = self.people.server(slot).is_some();
        if kind != Kind::Single {
            return (takes, takes);
        }
        let Some(host) = self.people.single(slot).and_then(|s| self.hosts.get(&s)) else {
            return (false, false);
        };
        let may = host.kept.is_some() && host.may == Duty::Full && self.radar.holds_lease(now);
        (takes && !host.parked, may)
    }

    /// Whether a service moves away from here: what was taken up is answered, and travels.
    fn leaves(&self, slot: i32, now: u64) -> bool {
        let place = find(self, slot).map(|s| s.place);
        let from_here = matches!(place, Some(Place::Moving { from, .. }) if from == self.me);
        from_here && self.radar.holds_lease(now)
    }

    /// Whether a server of this node has taken something up and not answered it.
    pub(super) fn in_hands(&self, slot: i32) -> bool {
        let to = Endpoint::new(0, slot).raw();
        let leads =
            |key: &Key| self.kern.lane_of(LinkKey(key.0), key.1).is_some_and(|l| l.open && l.to == to);
        self.calls.lanes.iter().any(|(key, call)| call.taken && !call.carried && leads(key))
    }

    /// One is added to what the one instance keeps.
    fn add_kept(&mut self, slot: i32, fx: &mut Effects<'_, Note>) -> i64 {
        let host = self.people.single(slot).and_then(|s| self.hosts.get_mut(&s));
        let Some(kept) = host.and_then(|h| h.kept.as_mut()) else { return 0 };
        kept.writes += 1;
        fx.note(Note::Wrote(slot, kept.born, kept.writes));
        kept.writes as i64
    }

    fn answer(&mut self, key: Key, client: SessionId, value: i64, fx: &mut Effects<'_, Note>) {
        if let Some(client) = self.people.client(client).filter(|c| c.doing == Doing::Calling(key)) {
            client.answered(value, fx);
        }
    }

    /// The rules answer a request.
    pub(super) fn replied(
        &mut self,
        session: SessionId,
        id: u64,
        result: Result<Answer, WireError>,
        fx: &mut Effects<'_, Note>,
    ) {
        let result = result.map_err(|e| (Code::from_i32(e.code).unwrap_or(Code::INVAL), effect(e.effect)));
        if self.host_replied(session, id, &result, fx) {
            return;
        }
        match (session, result) {
            (PROXY, result) => self.proxy_replied(id, result, fx),
            (_, Ok(Answer::Bound { endpoint, .. })) => drop(self.bound(session, id, Ok(endpoint), fx)),
            (_, Ok(Answer::Lane { link, lane, .. })) => self.lane_is_there(session, id, (link, lane), fx),
            (_, Err((code, effect))) => {
                if !self.bound(session, id, Err(code), fx)
                    && let Some(client) = self.people.client(session)
                    && client.doing == Doing::Opening(id)
                {
                    client.ended(code, effect, fx);
                }
            }
            _ => {}
        }
    }

    fn proxy_replied(&mut self, id: u64, result: Result<Answer, (Code, Effect)>, fx: &mut Effects<'_, Note>) {
        let Some((node, caller, number, letter)) = self.calls.opens.remove(&id) else { return };
        match result {
            Ok(Answer::Lane { link, lane, .. }) => {
                let Some(key) = self.calls.key(PROXY, link, lane) else { return };
                let origin = Some((node, caller));
                let written = letter.is_some();
                let call = InLane { number, taken: false, origin, carried: false, client: PROXY, letter };
                self.calls.lanes.insert(key, call);
                if written {
                    self.read_letters(fx);
                }
            }
            Ok(_) => {}
            Err((code, effect)) => {
                let (code, effect) = (code as i32, effect as u8);
                self.say(node, Word::Failed { key: caller, number, code, effect }, fx);
            }
        }
    }

    /// A client has its lane: its call goes into it.
    fn lane_is_there(
        &mut self,
        session: SessionId,
        id: u64,
        (link, lane): (u16, u8),
        fx: &mut Effects<'_, Note>,
    ) {
        let Some(key) = self.calls.key(session, link, lane) else { return };
        let node = self.kern.lane_of(LinkKey(key.0), key.1).map(|l| l.node);
        let from = self.people.processes.get(&session).and_then(|p| p.endpoint);
        let (Some(node), Some(from)) = (node, from) else { return };
        let Some(client) = self.people.client(session).filter(|c| c.doing == Doing::Opening(id)) else {
            return;
        };
        let Some((number, slot, _)) = client.call else { return };
        client.doing = Doing::Calling(key);
        let carried = node != self.me;
        let call = InLane { number, taken: false, origin: None, carried, client: session, letter: None };
        self.calls.lanes.insert(key, call);
        if carried {
            self.say_call(node, key, (from.raw(), Endpoint::new(0, slot).raw()), number, None, fx);
        }
    }

    pub(super) fn say_call(
        &mut self,
        node: NodeId,
        key: Key,
        ends: (i32, i32),
        number: u64,
        letter: Option<Letter>,
        fx: &mut Effects<'_, Note>,
    ) {
        self.say(node, Word::Call { key, ends, number, letter }, fx);
    }

    /// The rules tell a session something.
    pub(super) fn told(
        &mut self,
        session: SessionId,
        event: Told,
        attach: Option<Attach>,
        fx: &mut Effects<'_, Note>,
    ) {
        let request = |request| Event::Request { session, id: 0, request };
        match event {
            Told::Link { link, .. } => {
                if let Some(attach) = attach {
                    self.calls.links.insert((session, link), attach.link);
                }
            }
            Told::LaneClosed { link, lane, code } => {
                let Some(key) = self.calls.key(session, link, lane) else { return };
                self.lane_closed(session, key, Code::from_i32(code).unwrap_or(Code::INVAL), fx);
                self.feed(request(Request::FreeLane { link, lane }), fx);
            }
            Told::LaneRetired { link, lane } => {
                let busy =
                    self.calls.key(session, link, lane).is_some_and(|k| self.calls.lanes.contains_key(&k));
                if !busy {
                    self.feed(request(Request::FreeLane { link, lane }), fx);
                }
            }
            Told::Mark { mark } => self.feed(request(Request::Heard { mark }), fx),
            Told::Instance { may, .. } => {
                if let Some(host) = self.hosts.get_mut(&session) {
                    host.may = may;
                }
            }
            Told::Moved { endpoint, .. } if self.host_moved(session, endpoint) => {}
            Told::Freeze { .. } | Told::Thaw { .. } => {
                if let Some(p) = self.people.processes.get_mut(&session) {
                    p.frozen = matches!(event, Told::Freeze { .. });
                }
            }
            Told::Moved { .. } | Told::Unbind { .. } | Told::Withdrawn { .. } | Told::DcEnded { .. } => {
                self.people.end(session);
            }
            _ => {}
        }
    }

    fn lane_closed(&mut self, session: SessionId, key: Key, code: Code, fx: &mut Effects<'_, Note>) {
        let Some(call) = self.calls.lanes.get(&key).cloned() else { return };
        let effect = if call.taken || call.carried { Effect::Unknown } else { Effect::No };
        match call.origin {
            Some((node, caller)) if session == PROXY => {
                self.calls.lanes.remove(&key);
                let (number, code, effect) = (call.number, code as i32, effect as u8);
                self.say(node, Word::Failed { key: caller, number, code, effect }, fx);
            }
            None if session == call.client => {
                self.calls.lanes.remove(&key);
                self.letter_answered(session, key, call.number, None, fx);
                if let Some(client) = self.people.client(session).filter(|c| c.doing == Doing::Calling(key)) {
                    client.ended(code, effect, fx);
                }
            }
            _ => {}
        }
    }

    /// A word about a call from the proxy of another node.
    pub(super) fn carried(&mut self, node: NodeId, word: Word, fx: &mut Effects<'_, Note>) {
        match word {
            Word::Call { key, ends: (from, to), number, letter } => {
                let id = self.calls.next_id();
                self.calls.opens.insert(id, (node, key, number, letter));
                let open = Event::ProxyOpen { id, node: node.0, dc: MAIN.0, from, to, remaining: u64::MAX };
                self.feed(open, fx);
            }
            Word::Reply { key, number, value } => {
                if let Some(client) = self.comes_back(key, number) {
                    match value {
                        Said::Value(value) => self.answer(key, client, value, fx),
                        Said::Letter(letter) => self.letter_answered(client, key, number, Some(letter), fx),
                    }
                    self.free_retired(key, fx);
                }
            }
            Word::Failed { key, number, code, effect: done } => {
                if let Some(client) = self.comes_back(key, number) {
                    let code = Code::from_i32(code).unwrap_or(Code::INVAL);
                    if let Some(c) = self.people.client(client).filter(|c| c.doing == Doing::Calling(key)) {
                        c.ended(code, effect(done), fx);
                    }
                    self.letter_answered(client, key, number, None, fx);
                    self.free_retired(key, fx);
                }
            }
            _ => {}
        }
    }

    fn comes_back(&mut self, key: Key, number: u64) -> Option<SessionId> {
        let call = self.calls.lanes.get(&key).filter(|c| c.number == number && c.carried)?;
        let client = call.client;
        self.calls.lanes.remove(&key);
        Some(client)
    }

    /// The proxy has nothing more to wait for in a lane that leads to where the callee is no more.
    fn free_retired(&mut self, key: Key, fx: &mut Effects<'_, Note>) {
        let (link, lane) = (LinkKey(key.0), key.1);
        let retired = self.kern.lane_of(link, lane).is_some_and(|l| l.open && l.retired.is_some());
        let number = self.calls.links.iter().find(|((s, _), k)| *s == PROXY && **k == link);
        if let Some(((_, link), _)) = number.filter(|_| retired) {
            let request = Request::FreeLane { link: *link, lane };
            self.feed(Event::Request { session: PROXY, id: 0, request }, fx);
        }
    }
}
