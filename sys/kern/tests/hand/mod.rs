//! One node by hand, one event at a time: what it wants is answered by the test.
#![allow(dead_code)] // not every test uses all of it

use dvs_abi::{Code, Effect, Endpoint, NodeId};
use dvs_kern::control::{Answer, BindKind, Event as Told, Request, WireError};
use dvs_kern::node::Node;
use dvs_kern::node::config::{DcConfig, NodeConfig, NodeEntry};
use dvs_kern::node::event::{Command, Event, SessionId, Want};
use dvs_kern::node::record::Record;
use dvs_kern::slots::SlotChange;

pub const ME: NodeId = NodeId(0);
pub const USER: i32 = 29;

pub struct World {
    pub node: Node,
    pub now: u64,
    pub id: u64,
    pub answers: Vec<(u64, Result<Answer, WireError>)>,
    pub told: Vec<(SessionId, Told)>,
    pub signals: Vec<u32>,
    pub wants: Vec<(u64, Want)>,
    pub records: Vec<(u16, Record)>,
}

pub fn dc(nodes: u32, born: u64) -> DcConfig {
    let (warn, warn_type) = (Endpoint::NONE.raw(), 0);
    DcConfig { name: "c".into(), tasks: 35, procs: 100, sysprocs: 64, warn, warn_type, nodes, born }
}

pub fn entry(n: u16) -> NodeEntry {
    NodeEntry { id: NodeId(n), name: format!("n{n}"), address: "a".into() }
}

pub fn init(name: &str) -> Request {
    let warn = Endpoint::NONE.raw();
    let name = name.into();
    Request::DcInit { dc: 1, name, procs: 100, tasks: 35, sysprocs: 64, warn, warn_type: 0, nodes: vec![1] }
}

pub fn bind(endpoint: i32) -> Request {
    let (kind, name) = (BindKind::Own, "p".into());
    Request::Bind { kind, dc: 1, endpoint, pid: 0, node: 0, name, board: 0 }
}

pub fn leased(ask: u64, slots: &[i32]) -> Event {
    Event::Slots { dc: 1, change: SlotChange::Leased { node: ME, ask, slots: slots.into() } }
}

impl World {
    /// Two nodes; sessions 1 to 3 are processes 101 to 103. Container 1 is there if it has nodes.
    pub fn new(nodes: u32) -> World {
        let config = NodeConfig { me: ME, pid: 1, nodes: vec![entry(0), entry(1)], first_generation: 7 };
        let mut w = World {
            node: Node::new(config),
            now: 0,
            id: 10,
            answers: Vec::new(),
            told: Vec::new(),
            signals: Vec::new(),
            wants: Vec::new(),
            records: Vec::new(),
        };
        for session in 1..4 {
            w.feed(Event::Connected { session, id: 1, pid: 100 + session, operator: true, name: "p".into() });
        }
        w.feed(Event::NodeUp { node: 1 });
        if nodes != 0 {
            w.feed(Event::Container { dc: 1, value: Some(dc(nodes, 5)) });
        }
        w
    }

    pub fn feed(&mut self, event: Event) {
        self.now += 10;
        for command in self.node.handle(event, self.now) {
            match command {
                Command::Reply { id, result, .. } => self.answers.push((id, result)),
                Command::Tell { session, event, .. } => self.told.push((session, event)),
                Command::Signal { pid } => self.signals.push(pid),
                Command::Decide { ticket, want } => self.wants.push((ticket, want)),
                Command::Control { node, record } => self.records.push((node, record)),
                _ => {}
            }
        }
        self.node.validate().unwrap();
    }

    pub fn ask(&mut self, session: SessionId, request: Request) -> u64 {
        self.id += 1;
        self.feed(Event::Request { session, id: self.id, request });
        self.id
    }

    /// The answer to a request, once.
    pub fn answer(&mut self, id: u64) -> Option<Result<Answer, (Code, Effect)>> {
        let at = self.answers.iter().position(|a| a.0 == id)?;
        let effect = |e: u8| [Effect::No, Effect::Yes, Effect::Unknown][e as usize];
        Some(self.answers.remove(at).1.map_err(|e| (Code::from_i32(e.code).unwrap(), effect(e.effect))))
    }

    /// Binds in a session; the endpoint.
    pub fn bound(&mut self, session: SessionId, endpoint: i32) -> Endpoint {
        let id = self.ask(session, bind(endpoint));
        match self.answer(id) {
            Some(Ok(Answer::Bound { endpoint, .. })) => Endpoint::from_raw(endpoint),
            other => panic!("{other:?}"),
        }
    }

    /// The one thing that is wanted.
    pub fn want(&mut self) -> (u64, Want) {
        let want = self.wants.remove(0);
        assert!(self.wants.is_empty(), "{:?}", self.wants);
        want
    }

    pub fn decided(&mut self, ticket: u64, result: Result<(), Code>) {
        self.feed(Event::Decided { ticket, result });
    }

    /// Every session takes in its news.
    pub fn all_hear(&mut self) {
        for (session, event) in std::mem::take(&mut self.told) {
            if let Told::Mark { mark } = event {
                self.feed(Event::Request { session, id: 0, request: Request::Heard { mark } });
            }
        }
    }

    pub fn tick(&mut self, after: u64) {
        self.now += after;
        self.feed(Event::Tick);
    }
}
