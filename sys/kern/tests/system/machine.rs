//! One node: kernel, radar, its copy of the agreed state, its lanes, a client that calls a service again and
//! again, and a server that answers.

use super::{DC, Done, Frame, Item, SERVICE};
use dvs_abi::{Code, Effect, Endpoint, NodeId};
use dvs_control::change::Change;
use dvs_control::epoch::Epoch;
use dvs_control::state::State;
use dvs_kern::control::{Answer, BindKind, Event as Told, Request, WireError};
use dvs_kern::node::Node;
use dvs_kern::node::config::{NodeConfig, NodeEntry};
use dvs_kern::node::event::{Command, Event, PROXY, SessionId, Want};
use dvs_kern::node::link::LinkKey;
use dvs_kern::node::record::Record;
use dvs_kern::node::service::Action;
use dvs_radar::{Radar, Serving, Terms};
use std::collections::{BTreeMap, VecDeque};

pub const CLIENT: SessionId = 1;
/// Of the client; of a server, with its session added.
const PID: u32 = 100;

/// A lane as its kernel knows it.
pub type Key = (LinkKey, u8);

/// A call in a lane.
#[derive(Clone, Copy, Debug)]
struct InLane {
    number: u64,
    taken: bool,
    /// Of another node's client: its node and lane.
    origin: Option<(u16, Key)>,
    /// A proxy carries it.
    carried: bool,
}

/// What the client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Nothing,
    Opening(u64),
    Calling(Key),
}

/// What the client saw.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    pub answered: u64,
    pub unknown: u64,
    pub failed: u64,
}

pub struct Machine {
    pub me: u16,
    pub alive: bool,
    pub node: Node,
    pub radar: Radar,
    pub state: State,
    pub incarnation: Epoch,
    /// What was decided and not heard.
    pub items: VecDeque<Item>,
    pub wants: VecDeque<(u64, Want)>,
    pub records: Vec<(u16, Record)>,
    pub frames: Vec<(u16, Frame)>,
    pub peers: [bool; 3],
    links: BTreeMap<(SessionId, u16), LinkKey>,
    calls: BTreeMap<Key, InLane>,
    opens: BTreeMap<u64, (u16, Key, u64)>,
    ids: u64,
    sessions: u32,
    endpoint: Option<Endpoint>,
    doing: Doing,
    number: u64,
    /// The present call was sent before, and may have been done.
    again: bool,
    pub seen: Seen,
    pub server: Option<SessionId>,
    frozen: bool,
    /// What the client may call.
    calling: bool,
    pub trace: Vec<Action>,
    /// Its bind failed.
    refused: bool,
    events: VecDeque<Event>,
    busy: bool,
}

fn entry(n: u16) -> NodeEntry {
    NodeEntry { id: NodeId(n), name: format!("n{n}"), address: "a".into() }
}

fn effect(e: &WireError) -> Effect {
    [Effect::No, Effect::Yes, Effect::Unknown][e.effect as usize]
}

impl Machine {
    pub fn new(me: u16, state: State, life: u32) -> Machine {
        let nodes = (0..3).map(entry).collect();
        let node = Node::new(NodeConfig { me: NodeId(me), pid: 1, nodes, first_generation: life });
        Machine {
            me,
            alive: true,
            node,
            radar: Radar::new(NodeId(me), Terms::default()),
            state,
            incarnation: Epoch::default(),
            items: VecDeque::new(),
            wants: VecDeque::new(),
            records: Vec::new(),
            frames: Vec::new(),
            peers: [false; 3],
            links: BTreeMap::new(),
            calls: BTreeMap::new(),
            opens: BTreeMap::new(),
            ids: 1,
            sessions: CLIENT,
            endpoint: None,
            doing: Doing::Nothing,
            number: u64::from(life) << 32,
            again: false,
            seen: Seen::default(),
            server: None,
            frozen: false,
            calling: true,
            trace: Vec::new(),
            refused: false,
            events: VecDeque::new(),
            busy: false,
        }
    }

    /// What its daemon does when it starts with a copy of the state.
    pub fn start(&mut self, now: u64) {
        let pid = PID;
        self.feed(Event::Connected { session: CLIENT, id: 0, pid, operator: true, name: "c".into() }, now);
        let containers: Vec<_> = self.state.containers().map(|(dc, c)| (dc.0, c.spec.clone())).collect();
        for (dc, spec) in containers {
            self.feed(Event::Container { dc, value: Some(spec) }, now);
        }
        if self.state.container(DC).is_some_and(|c| c.services.contains_key(&SERVICE)) {
            self.declare(now);
        }
        self.steer(dvs_radar::Event::Restored, now);
        self.join(now);
    }

    /// The client binds.
    fn join(&mut self, now: u64) {
        let (kind, name) = (BindKind::Own, "c".into());
        let endpoint = Endpoint::NONE.raw();
        let bind = Request::Bind { kind, dc: DC.0, endpoint, pid: 0, node: 0, name, board: 0 };
        if self.node.containers().next().is_some() {
            self.ask(CLIENT, bind, now);
        }
    }

    fn declare(&mut self, now: u64) {
        let service = self.state.container(DC).and_then(|c| c.services.get(&SERVICE));
        let kind = service.map(|s| s.spec.kind);
        self.feed(Event::Service { dc: DC.0, slot: SERVICE, name: "s".into(), kind }, now);
    }

    pub fn ask(&mut self, session: SessionId, request: Request, now: u64) -> u64 {
        self.ids += 1;
        let id = self.ids;
        self.feed(Event::Request { session, id, request }, now);
        id
    }

    /// The radar hears something; its commands are carried out.
    pub fn steer(&mut self, event: dvs_radar::Event<'_>, now: u64) {
        let mut out = Vec::new();
        self.radar.event(&self.state, event, now, &mut out);
        for c in out {
            let action = Action::from(c.action);
            self.trace.push(action);
            self.feed(Event::Route { dc: c.dc.0, slot: c.slot, epoch: c.epoch.0, action }, now);
        }
    }

    /// A decision is heard: tables first, then where callers go, then whoever asked for it.
    pub fn hear(&mut self, item: Item, now: u64) {
        self.state = item.state;
        for change in &item.changes {
            match change {
                Change::Created { dc, .. } | Change::Ended { dc } | Change::Allowed { dc, .. } => {
                    let value = self.state.container(*dc).map(|c| c.spec.clone());
                    self.feed(Event::Container { dc: dc.0, value }, now);
                    self.join(now);
                }
                Change::Slots { dc, change } => {
                    self.feed(Event::Slots { dc: dc.0, change: change.clone() }, now);
                }
                Change::Declared { .. } => self.declare(now),
                Change::Up { node, incarnation } if node.0 == self.me => {
                    if self.incarnation != Epoch::default() {
                        self.wants.clear();
                        self.feed(Event::Reborn { first_generation: 9 }, now);
                    }
                    self.incarnation = *incarnation;
                    self.steer(dvs_radar::Event::Began { incarnation: *incarnation }, now);
                }
                Change::Down { node, .. } if node.0 != self.me => {
                    self.peers[node.0 as usize] = false;
                    self.feed(Event::NodeDown { node: node.0 }, now);
                }
                _ => {}
            }
        }
        self.steer(dvs_radar::Event::Applied { place: item.place, changes: &item.changes }, now);
        if let Some((node, incarnation, ticket, result)) = item.answer
            && (node, incarnation) == (self.me, self.incarnation)
        {
            self.feed(Event::Decided { ticket, result }, now);
        }
    }

    /// An event, and what follows from what it does: one after the other.
    pub fn feed(&mut self, event: Event, now: u64) {
        self.events.push_back(event);
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        while let Some(event) = self.events.pop_front() {
            let commands = self.node.handle(event.clone(), now);
            if let Err(e) = self.node.validate() {
                panic!("n{} after {event:?}: {e}", self.me);
            }
            commands.into_iter().for_each(|c| self.carry_out(c, now));
        }
        self.busy = false;
    }

    fn carry_out(&mut self, command: Command, now: u64) {
        match command {
            Command::Reply { session, id, result } => self.replied(session, id, result),
            Command::Tell { session, event, attach } => {
                if let (Told::Link { link, .. }, Some(attach)) = (&event, attach) {
                    self.links.insert((session, *link), attach.link);
                }
                self.told(session, event, now);
            }
            Command::Decide { ticket, want } => self.wants.push_back((ticket, want)),
            Command::Control { node, record } => self.records.push((node, record)),
            Command::Signal { pid } if self.server.is_some_and(|s| pid == PID + s) => self.kill(now),
            _ => {}
        }
    }

    fn replied(&mut self, session: SessionId, id: u64, result: Result<Answer, WireError>) {
        match (session, result) {
            (PROXY, Ok(Answer::Lane { link, lane, .. })) => {
                let Some((node, from, number)) = self.opens.remove(&id) else { return };
                let key = (self.links[&(PROXY, link)], lane);
                let call = InLane { number, taken: false, origin: Some((node, from)), carried: false };
                self.calls.insert(key, call);
            }
            (PROXY, Err(e)) => {
                let Some((node, from, number)) = self.opens.remove(&id) else { return };
                let code = Code::from_i32(e.code).unwrap();
                self.frames.push((node, Frame::Failed(from, number, code, effect(&e))));
            }
            (CLIENT, Ok(Answer::Bound { endpoint, .. })) => {
                self.endpoint = Some(Endpoint::from_raw(endpoint))
            }
            (CLIENT, Ok(Answer::Lane { link, lane, .. })) if self.doing == Doing::Opening(id) => {
                let key = (self.links[&(CLIENT, link)], lane);
                let (from, to) = (self.endpoint.unwrap(), Endpoint::new(0, SERVICE));
                let place = self.node.lane_of(key.0, key.1).unwrap().node;
                let carried = place.0 != self.me;
                if carried {
                    let frame = Frame::Call { from, to, key, number: self.number };
                    self.frames.push((place.0, frame));
                }
                self.calls.insert(key, InLane { number: self.number, taken: false, origin: None, carried });
                self.doing = Doing::Calling(key);
            }
            // No slot came in time.
            (CLIENT, Err(_)) if self.endpoint.is_none() => self.refused = true,
            // It is about to hear that its endpoint has ended.
            (CLIENT, Err(e)) if e.code == Code::NOTBIND as i32 => {}
            (CLIENT, Err(e)) if self.doing == Doing::Opening(id) => {
                let code = Code::from_i32(e.code).unwrap();
                self.ended(code, effect(&e));
            }
            _ => {}
        }
    }

    /// A call of the client was not answered: as the library has it.
    fn ended(&mut self, code: Code, effect: Effect) {
        self.doing = Doing::Nothing;
        match (code, effect) {
            (Code::MIGRATE | Code::STALE, Effect::No) => {}
            (Code::STALE, _) => self.again = true,
            (_, effect) => {
                if effect == Effect::No && !self.again {
                    self.seen.failed += 1;
                } else {
                    self.seen.unknown += 1;
                }
                (self.number, self.again) = (self.number + 1, false);
            }
        }
    }

    fn told(&mut self, session: SessionId, event: Told, now: u64) {
        let key = |m: &Machine, link: u16, lane: u8| m.links.get(&(session, link)).map(|k| (*k, lane));
        match event {
            Told::LaneClosed { link, lane, code } => {
                let Some(key) = key(self, link, lane) else { return };
                self.lane_closed(session, key, Code::from_i32(code).unwrap());
                self.feed(Event::Request { session, id: 0, request: Request::FreeLane { link, lane } }, now);
            }
            Told::LaneRetired { link, lane } => {
                let Some(key) = key(self, link, lane) else { return };
                if !self.calls.contains_key(&key) {
                    let request = Request::FreeLane { link, lane };
                    self.feed(Event::Request { session, id: 0, request }, now);
                }
            }
            Told::Mark { mark } => {
                self.feed(Event::Request { session, id: 0, request: Request::Heard { mark } }, now);
            }
            Told::Freeze { .. } if Some(session) == self.server => self.frozen = true,
            Told::Thaw { .. } if Some(session) == self.server => self.frozen = false,
            Told::Moved { .. } | Told::Unbind { .. } | Told::Withdrawn { .. }
                if Some(session) == self.server =>
            {
                self.kill(now);
            }
            Told::Unbind { .. } | Told::Withdrawn { .. } if session == CLIENT => {
                // It is started anew.
                self.feed(Event::Died { session: CLIENT, code: None }, now);
                self.calling = false;
            }
            _ => {}
        }
    }

    fn lane_closed(&mut self, session: SessionId, key: Key, code: Code) {
        let Some(call) = self.calls.get(&key).copied() else { return };
        let effect = if call.taken || call.carried { Effect::Unknown } else { Effect::No };
        match call.origin {
            Some((node, from)) if session == PROXY => {
                self.calls.remove(&key);
                self.frames.push((node, Frame::Failed(from, call.number, code, effect)));
            }
            None if session == CLIENT => {
                self.calls.remove(&key);
                self.ended(code, effect);
            }
            _ => {}
        }
    }

    /// A message from another node.
    pub fn frame(&mut self, node: u16, frame: Frame, now: u64) {
        match frame {
            Frame::Call { from, to, key, number } => {
                self.ids += 1;
                self.opens.insert(self.ids, (node, key, number));
                let (id, remaining) = (self.ids, u64::MAX);
                let (from, to) = (from.raw(), to.raw());
                self.feed(Event::ProxyOpen { id, node, dc: DC.0, from, to, remaining }, now);
            }
            Frame::Reply(key, number) => {
                if self.calls.get(&key).is_some_and(|c| c.number == number && c.carried) {
                    self.calls.remove(&key);
                    self.answered(key);
                    self.free_retired(key, now);
                }
            }
            Frame::Failed(key, number, code, effect) => {
                if self.calls.get(&key).is_some_and(|c| c.number == number && c.carried) {
                    self.calls.remove(&key);
                    self.ended(code, effect);
                    self.free_retired(key, now);
                }
            }
        }
    }

    fn free_retired(&mut self, key: Key, now: u64) {
        let retired = self.node.lane_of(key.0, key.1).is_some_and(|l| l.open && l.retired.is_some());
        let number = self.links.iter().find(|((s, _), k)| *s == PROXY && **k == key.0).map(|((_, n), _)| *n);
        if let Some(link) = number.filter(|_| retired) {
            let request = Request::FreeLane { link, lane: key.1 };
            self.feed(Event::Request { session: PROXY, id: 0, request }, now);
        }
    }

    fn answered(&mut self, key: Key) {
        if self.doing == Doing::Calling(key) {
            self.doing = Doing::Nothing;
            self.seen.answered += 1;
            (self.number, self.again) = (self.number + 1, false);
        }
    }

    /// The instance's process begins, when the last one is over for all.
    pub fn serve(&mut self, now: u64) {
        self.sessions += 1;
        let session = self.sessions;
        (self.server, self.frozen) = (Some(session), true);
        let pid = PID + session;
        self.feed(Event::Connected { session, id: 0, pid, operator: true, name: "s".into() }, now);
        let (kind, name) = (BindKind::Own, "s".into());
        self.ask(
            session,
            Request::Bind { kind, dc: DC.0, endpoint: SERVICE, pid: 0, node: 0, name, board: 0 },
            now,
        );
    }

    /// It ends.
    pub fn kill(&mut self, now: u64) {
        if let Some(session) = self.server.take() {
            self.frozen = true;
            self.feed(Event::Died { session, code: None }, now);
        }
    }

    /// Client and server do a step; what the server has done is entered.
    pub fn work(&mut self, done: &mut Done, now: u64) {
        if !self.calling {
            self.calling = true;
            (self.endpoint, self.doing) = (None, Doing::Nothing);
            // What was under way when the node was lost is unknown to its client.
            (self.number, self.again) = (self.number + 1, false);
            self.feed(
                Event::Connected { session: CLIENT, id: 0, pid: PID, operator: true, name: "c".into() },
                now,
            );
            self.join(now);
        }
        if std::mem::take(&mut self.refused) {
            self.join(now);
        }
        if self.doing == Doing::Nothing
            && let Some(from) = self.endpoint
        {
            self.doing = Doing::Opening(self.ids + 1);
            let request = Request::OpenLane { dc: DC.0, from: from.raw(), to: SERVICE, remaining: u64::MAX };
            self.ask(CLIENT, request, now);
        }
        if self.server.is_none() || self.frozen {
            return;
        }
        let mut answers = Vec::new();
        for (key, call) in &mut self.calls {
            let open = self.node.lane_of(key.0, key.1).is_some_and(|l| l.open && l.to == SERVICE);
            if call.carried || !open {
                continue;
            }
            if std::mem::replace(&mut call.taken, true) {
                answers.push((*key, *call));
            }
        }
        for (key, call) in answers {
            let name = (self.me, now);
            let serving = self.radar.serving((DC, SERVICE), now);
            assert_eq!(serving, Serving::Full, "{name:?} answers and may not");
            let caller = call.origin.map_or(self.me, |o| o.0);
            done.enter(caller, call.number);
            self.calls.remove(&key);
            match call.origin {
                Some((node, from)) => self.frames.push((node, Frame::Reply(from, call.number))),
                None => self.answered(key),
            }
        }
    }
}
