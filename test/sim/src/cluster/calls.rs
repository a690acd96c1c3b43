//! Calls: the clients and servers of one node, in the real lanes of its links. Lanes to other nodes end at
//! the real router ([`dvs_proxy::route`]), which carries what is in them.
//!
//! ```text
//!   client ── post ──► lane ──► server                            on one node
//!   client ── post ──► lane ──► Route ── frames ──► Route ──► lane ──► server
//! ```
//! What `sys/ipc/src/outside/calls.rs` does when a call ends is done here without waiting.

use super::daemon::Daemon;
use super::lanes::Lanes;
use super::people::{Role, find};
use super::wire::{Key, Said, Told as Seen, effect};
use crate::actor::Effects;
use crate::control::moves::Word as Letter;
use crate::control::wire::Note;
use crate::control::{MAIN, MS, SERVICES};
use dvs_abi::limits::RECALL_GRACE_NS;
use dvs_abi::{Code, Deadline, Effect, Endpoint, Kind as Call, Message};
use dvs_control::service::{Kind, Place};
use dvs_ipc::lane::{Cancel, GrantList, Outcome, Refused, Taken};
use dvs_kern::control::{Answer, Duty, Event as Told, Request, WireError};
use dvs_kern::node::event::{Attach, Event, PROXY, SessionId};
use dvs_radar::Serving;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a client waits for a server at most.
const PATIENCE_NS: u64 = 3_000 * MS;

/// A call of a program.
#[derive(Clone, Debug)]
struct Out {
    session: SessionId,
    number: u64,
    /// Number of the call in its lane.
    seq: u64,
    /// It was asked back; by then its caller leaves.
    leaves: Option<u64>,
}

/// A lane to a program.
#[derive(Clone, Debug)]
struct In {
    session: SessionId,
    ends: (i32, i32),
    /// The request in its hands, by its number in the lane; and what came of it, once it is done.
    taken: Option<(u64, Text, Option<i64>)>,
}

/// What a request says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Text {
    /// Of the call.
    number: u64,
    /// If it is not to add to the number of a service.
    letter: Option<Letter>,
}

fn message(text: &impl Serialize) -> Option<Message> {
    let mut m = Message::new(1);
    m.set_bytes(&postcard::to_stdvec(text).ok()?).ok()?;
    Some(m)
}

/// How a call ended.
type End = Result<Said, (Code, Effect)>;

/// The calls of a node.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) lanes: Lanes,
    calls: BTreeMap<Key, Out>,
    callers: BTreeMap<Key, In>,
    ids: u64,
}

impl Calls {
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.lanes.forget(session);
        self.calls.retain(|_, call| call.session != session);
        self.callers.retain(|_, lane| lane.session != session);
    }

    /// Takes what was posted in a lane to one of this node's programs.
    fn take(&mut self, key: Key) -> Option<Text> {
        let lane = self.callers.get_mut(&key)?;
        if lane.taken.is_none() {
            let (seq, _) = self.lanes.with(key, |l| l.peek())??;
            let (mut m, mut grants) = (Message::default(), GrantList::default());
            let taken = self.lanes.with(key, |l| l.take(seq, &mut m, &mut grants))?;
            let text = postcard::from_bytes(m.bytes()).ok().filter(|_| taken == Taken::Yes)?;
            lane.taken = Some((seq, text, None));
        }
        lane.taken.as_ref().map(|(_, text, _)| text.clone())
    }

    /// Whether there is something for a program in a lane: new, or in its hands.
    fn has(&self, key: Key) -> bool {
        let posted = || self.lanes.with(key, |l| l.peek().is_some()) == Some(true);
        self.callers.get(&key).is_some_and(|l| l.taken.is_some() || posted())
    }

    fn lanes_to(&self, to: i32) -> Vec<Key> {
        self.callers.iter().filter(|(_, l)| l.ends.1 == to).map(|(k, _)| *k).collect()
    }

    /// Letters that came to an endpoint of this node from another one and were not read yet.
    pub(super) fn letters(&mut self, ends: (i32, i32)) -> Vec<(Key, u64, Letter)> {
        let new = self.callers.iter().filter(|(_, l)| l.ends == ends && l.taken.is_none());
        let lanes: Vec<Key> = new.map(|(k, _)| *k).collect();
        let letter = |key| {
            let Text { number, letter } = self.take(key)?;
            Some((key, number, letter?))
        };
        lanes.into_iter().filter_map(letter).collect()
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
        if let (Doing::Calling(key), Some((_, _, until))) = (client.doing, client.call)
            && until <= fx.now()
        {
            return self.cancel(key, fx);
        }
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

    // ---- servers

    /// The server of a service takes what has come, and answers what it has taken.
    fn serve(&mut self, slot: i32, kind: Kind, fx: &mut Effects<'_, Note>) {
        let (takes, answers_may) = self.may_serve(slot, kind, fx.now());
        if !takes && !answers_may {
            return;
        }
        for key in self.calls.lanes_to(Endpoint::new(0, slot).raw()) {
            if !self.calls.has(key) || fx.random().odds(300) {
                continue;
            }
            // Between the two it may be killed, moved, cut off.
            let taken = self.calls.callers.get(&key).and_then(|l| l.taken.clone());
            match taken {
                Some((_, text, Some(value))) if answers_may => {
                    self.answers(key, text.number, &Said::Value(value), fx);
                }
                Some((_, text, None)) if answers_may => self.does(key, (slot, kind), text.number, fx),
                None if takes => drop(self.calls.take(key)),
                _ => {}
            }
        }
    }

    fn does(&mut self, key: Key, (slot, kind): (i32, Kind), number: u64, fx: &mut Effects<'_, Note>) {
        let leave =
            self.radar.serving((MAIN, slot), fx.now()) == Serving::Full || self.leaves(slot, fx.now());
        let epoch = find(self, slot).map_or(0, |s| s.epoch.0);
        let value = match kind {
            Kind::Single => self.add_kept(slot, fx),
            _ => self.store.borrow_mut().add(slot, number, true),
        };
        fx.note(Note::Told(Seen::Did(number, slot, epoch, leave, value)));
        // Also between this and its answer.
        if fx.random().odds(300)
            && let Some(lane) = self.calls.callers.get_mut(&key)
        {
            return lane.taken.iter_mut().for_each(|(_, _, done)| *done = Some(value));
        }
        self.answers(key, number, &Said::Value(value), fx);
    }

    /// A program of this node answers the request in its hands with this number.
    pub(super) fn answers(&mut self, key: Key, number: u64, said: &Said, fx: &mut Effects<'_, Note>) {
        let Some(lane) = self.calls.callers.get_mut(&key) else { return };
        let session = lane.session;
        let taken = lane.taken.take_if(|(_, text, _)| text.number == number);
        if let (Some((seq, ..)), Some(m)) = (taken, message(said)) {
            // A caller that went away waits for nothing.
            let _ = self.calls.lanes.with(key, |l| l.reply(seq, &m));
            self.tell_peer(session, key, fx);
        }
    }

    /// Tells whoever is at the other side of a lane to look at it.
    fn tell_peer(&mut self, session: SessionId, key: Key, fx: &mut Effects<'_, Note>) {
        if let Some((PROXY, link)) = self.calls.lanes.tell_peer(session, key) {
            self.lines.route(fx, |route, step| route.link_news(link, step));
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
        self.calls.callers.values().any(|l| l.ends.1 == to && l.taken.is_some())
    }

    /// One is added to what the one instance keeps.
    fn add_kept(&mut self, slot: i32, fx: &mut Effects<'_, Note>) -> i64 {
        let host = self.people.single(slot).and_then(|s| self.hosts.get_mut(&s));
        let Some(kept) = host.and_then(|h| h.kept.as_mut()) else { return 0 };
        kept.writes += 1;
        fx.note(Note::Wrote(slot, kept.born, kept.writes));
        kept.writes as i64
    }

    // ---- callers

    /// The rules answer a request.
    pub(super) fn replied(
        &mut self,
        session: SessionId,
        id: u64,
        result: Result<Answer, WireError>,
        fx: &mut Effects<'_, Note>,
    ) {
        if session == PROXY {
            return self.lines.route(fx, |route, step| route.opened(id, result, step));
        }
        let result = result.map_err(|e| (Code::from_i32(e.code).unwrap_or(Code::INVAL), effect(e.effect)));
        if self.host_replied(session, id, &result, fx) {
            return;
        }
        match result {
            Ok(Answer::Bound { endpoint, .. }) => drop(self.bound(session, id, Ok(endpoint), fx)),
            Ok(Answer::Lane { link, lane, .. }) => self.lane_is_there(session, id, (link, lane), fx),
            Err((code, effect)) => {
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

    /// A client has its lane: its call goes into it.
    fn lane_is_there(
        &mut self,
        session: SessionId,
        id: u64,
        (link, lane): (u16, u8),
        fx: &mut Effects<'_, Note>,
    ) {
        let Some(key) = self.calls.lanes.key(session, link, lane) else { return };
        let Some(client) = self.people.client(session).filter(|c| c.doing == Doing::Opening(id)) else {
            return;
        };
        let Some((number, _, until)) = client.call else { return };
        client.doing = Doing::Calling(key);
        if let Err(refused) = self.post(session, key, (number, until), None, fx)
            && let Some(client) = self.people.client(session)
        {
            match refused {
                // Nothing was done: the daemon says what became of the server.
                Refused::Closed => client.ended(Code::MIGRATE, Effect::No, fx),
                refused => client.ended(refused.code(), Effect::No, fx),
            }
        }
    }

    /// A program puts a call into its lane.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn post(
        &mut self,
        session: SessionId,
        key: Key,
        (number, until): (u64, u64),
        letter: Option<Letter>,
        fx: &mut Effects<'_, Note>,
    ) -> Result<(), Refused> {
        let mut m = message(&Text { number, letter }).ok_or(Refused::Broken)?;
        m.set_deadline(Deadline::from_ns(until));
        let posted = self.calls.lanes.with(key, |l| l.post(Call::Request, &m, &[]));
        let seq = posted.unwrap_or(Err(Refused::Closed))?;
        self.calls.calls.insert(key, Out { session, number, seq, leaves: None });
        self.tell_peer(session, key, fx);
        Ok(())
    }

    /// Looks how the calls of this node are.
    pub(super) fn look_at_calls(&mut self, fx: &mut Effects<'_, Note>) {
        for key in self.calls.calls.keys().copied().collect::<Vec<_>>() {
            self.look_at_call(key, fx);
        }
    }

    fn look_at_call(&mut self, key: Key, fx: &mut Effects<'_, Note>) {
        let Some(call) = self.calls.calls.get(&key).cloned() else { return };
        if call.leaves.is_some() && self.left(key, &call, fx) {
            return;
        }
        let mut m = Message::default();
        let end = match self.calls.lanes.with(key, |l| l.collect(call.seq, &mut m)) {
            // Of a closed lane the daemon says why.
            Some(Outcome::Pending | Outcome::Closed(_)) => return,
            Some(Outcome::Replied) => {
                postcard::from_bytes(m.bytes()).map_err(|_| (Code::IO, Effect::Unknown))
            }
            Some(Outcome::Failed(code, effect)) => Err((code, effect)),
            _ => Err((Code::IO, Effect::Unknown)),
        };
        self.call_ended(key, end, fx);
    }

    /// Whoever made a call waits no more.
    pub(super) fn cancel(&mut self, key: Key, fx: &mut Effects<'_, Note>) {
        let Some(call) = self.calls.calls.get_mut(&key) else { return };
        if call.leaves.is_none() {
            call.leaves = Some(fx.now() + RECALL_GRACE_NS);
            let session = call.session;
            let call = call.clone();
            if !self.left(key, &call, fx) {
                self.tell_peer(session, key, fx);
            }
        }
        self.look_at_call(key, fx);
    }

    /// A caller that wants to leave: whether it has left.
    fn left(&mut self, key: Key, call: &Out, fx: &mut Effects<'_, Note>) -> bool {
        let late = call.leaves.is_some_and(|until| until <= fx.now());
        let effect = match self.calls.lanes.with(key, |l| l.cancel(call.seq)) {
            Some(Cancel::NotTaken) => Effect::No,
            Some(Cancel::Taken) | None => Effect::Unknown,
            // What it had not done in time, nobody knows.
            Some(Cancel::Recalled | Cancel::Copying) if late => {
                self.calls.lanes.with(key, |l| l.abandon(call.seq));
                Effect::Unknown
            }
            Some(Cancel::Recalled | Cancel::Copying | Cancel::Done(_)) => return false,
        };
        self.tell_peer(call.session, key, fx);
        self.call_ended(key, Err((Code::TIMEDOUT, effect)), fx);
        true
    }

    fn call_ended(&mut self, key: Key, end: End, fx: &mut Effects<'_, Note>) {
        let Some(call) = self.calls.calls.remove(&key) else { return };
        let end = match end {
            // One that wants to leave does not call the next instance.
            Err((Code::MIGRATE | Code::STALE, effect)) if call.leaves.is_some() => {
                Err((Code::TIMEDOUT, effect))
            }
            end => end,
        };
        if let Some(client) = self.people.client(call.session).filter(|c| c.doing == Doing::Calling(key)) {
            match end {
                Ok(Said::Value(value)) => client.answered(value, fx),
                Ok(Said::Letter(_)) => client.ended(Code::IO, Effect::Unknown, fx),
                Err((code, effect)) => client.ended(code, effect, fx),
            }
            return;
        }
        let letter =
            end.ok().and_then(|said| if let Said::Letter(letter) = said { Some(letter) } else { None });
        self.letter_answered(call.session, key, call.number, letter, fx);
    }

    // ---- what the rules tell

    /// The rules tell a session something.
    pub(super) fn told(
        &mut self,
        session: SessionId,
        event: Told,
        attach: Option<Attach>,
        fx: &mut Effects<'_, Note>,
    ) {
        if let (Told::Link { link, side, bell_link, .. }, Some(attach)) = (&event, attach) {
            self.calls.lanes.attach((session, *link), attach.link, *side);
            if let Some(shore) = self.calls.lanes.shore(attach.link, *side, *bell_link)
                && session == PROXY
            {
                self.lines.route(fx, |route, _| route.add_shore(*link, shore));
            }
            return;
        }
        if let Told::LinkClosed { link } = event {
            self.calls.lanes.detach((session, link));
        }
        match session {
            PROXY => self.proxy_told(&event, fx),
            _ => self.program_told(session, event, fx),
        }
    }

    fn proxy_told(&mut self, event: &Told, fx: &mut Effects<'_, Note>) {
        if let Told::Mark { mark } = *event {
            let request = Request::Heard { mark };
            return self.feed(Event::Request { session: PROXY, id: 0, request }, fx);
        }
        // Where the callee of a lane that was opened is.
        let node = match event {
            Told::LaneOpened { dc, to, .. } => {
                let container = self.kern.containers().find(|(n, _)| n == dc).map(|(_, c)| c);
                container.and_then(|c| Some(c.find(Endpoint::from_raw(*to)).ok()?.node))
            }
            _ => None,
        };
        self.lines.route(fx, |route, step| route.told(event, node, step));
    }

    fn program_told(&mut self, session: SessionId, event: Told, fx: &mut Effects<'_, Note>) {
        let request = |request| Event::Request { session, id: 0, request };
        match event {
            Told::LaneOpened { link, lane, from, to, .. } => {
                if let Some(key) = self.calls.lanes.key(session, link, lane) {
                    self.calls.callers.insert(key, In { session, ends: (from, to), taken: None });
                }
            }
            Told::LaneClosed { link, lane, code } => {
                if let Some(key) = self.calls.lanes.key(session, link, lane) {
                    self.lane_closed(session, key, Code::from_i32(code).unwrap_or(Code::DSTDIED), fx);
                }
                self.feed(request(Request::FreeLane { link, lane }), fx);
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

    /// The other end of a lane is gone, or it may not be used any more.
    fn lane_closed(&mut self, session: SessionId, key: Key, code: Code, fx: &mut Effects<'_, Note>) {
        self.calls.lanes.with(key, |l| l.close());
        if self.calls.callers.get(&key).is_some_and(|l| l.session == session) {
            self.calls.callers.remove(&key);
        }
        let Some(call) = self.calls.calls.get(&key).filter(|c| c.session == session).cloned() else { return };
        let mut m = Message::default();
        let outcome = self.calls.lanes.with(key, |l| l.collect(call.seq, &mut m));
        let end = match (outcome, code) {
            (Some(Outcome::Replied), _) => {
                postcard::from_bytes(m.bytes()).map_err(|_| (Code::IO, Effect::Unknown))
            }
            (Some(Outcome::Failed(code, effect)), _) => Err((code, effect)),
            (Some(Outcome::Closed(Effect::No)), code) => Err((code, Effect::No)),
            (Some(Outcome::Closed(effect)), Code::DSTDIED) => Err((Code::SRCDIED, effect)),
            (Some(Outcome::Closed(effect)), code) => Err((code, effect)),
            _ => Err((Code::IO, Effect::Unknown)),
        };
        self.call_ended(key, end, fx);
    }
}
