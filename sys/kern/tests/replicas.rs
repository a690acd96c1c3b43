//! A replicated endpoint: each node calls its own instance, and another one's when its own is gone.

use dvs_abi::{Endpoint, NodeId};
use dvs_kern::control::{Answer, BindKind, Request, WireError};
use dvs_kern::node::Node;
use dvs_kern::node::config::{DcConfig, NodeConfig, NodeEntry};
use dvs_kern::node::event::{Command, Event, SessionId};
use dvs_kern::node::record::Record;

const SERVICE: i32 = 5;

struct World {
    node: Node,
    now: u64,
    replies: Vec<Result<Answer, WireError>>,
    sent: Vec<(u16, Record)>,
}

impl World {
    /// Node 0 of three, the others connected, with a container on all of them.
    fn new() -> World {
        let entry = |n: u16| NodeEntry { id: NodeId(n), name: format!("n{n}"), address: String::new() };
        let nodes = (0..3).map(entry).collect();
        let node = Node::new(NodeConfig { me: NodeId(0), pid: 1, nodes, first_generation: 0 });
        let mut w = World { node, now: 0, replies: Vec::new(), sent: Vec::new() };
        w.connect(1);
        [1, 2].into_iter().for_each(|node| w.feed(Event::NodeUp { node }));
        let (name, warn) = (String::from("d"), Endpoint::NONE.raw());
        let (procs, tasks, sysprocs) = (200, 35, 64);
        let config = DcConfig { name, tasks, procs, sysprocs, warn, warn_type: 0, nodes: 0b111, born: 1 };
        w.feed(Event::Container { dc: 0, value: Some(config) });
        w
    }

    fn connect(&mut self, session: SessionId) {
        let pid = 100 + session;
        self.feed(Event::Connected { session, id: 1, pid, operator: true, name: "p".into() });
    }

    fn feed(&mut self, event: Event) {
        self.now += 10;
        for command in self.node.handle(event, self.now) {
            match command {
                Command::Reply { result, .. } => self.replies.push(result),
                Command::Control { node, record } => self.sent.push((node, record)),
                _ => {}
            }
        }
        self.node.validate().unwrap();
    }

    fn ask(&mut self, session: SessionId, request: Request) {
        self.replies.clear();
        self.feed(Event::Request { session, id: self.now, request });
        assert!(self.replies.iter().all(Result::is_ok), "{:?}", self.replies);
    }

    fn bind_here(&mut self, session: SessionId) {
        self.connect(session);
        let (kind, name) = (BindKind::Replica, String::new());
        self.ask(session, Request::Bind { kind, dc: 0, endpoint: SERVICE, pid: 0, node: 0, name, board: 0 });
    }

    fn bound_on(&mut self, node: u16) {
        let (kind, name) = (BindKind::Replica, String::from("r"));
        let record = Record::Bound { dc: 0, endpoint: SERVICE, kind, name, calls: u64::MAX, pid: 9 };
        self.feed(Event::Record { node, record });
    }

    /// Where calls of this node go.
    fn goes_to(&self) -> Option<i32> {
        self.node.proc_info(0, SERVICE).ok().filter(|p| p.node >= 0).map(|p| p.node)
    }
}

#[test]
fn an_instance_that_ends_has_the_others_asked_whether_it_came_before_them_or_after() {
    for here_first in [true, false] {
        let mut w = World::new();
        if here_first {
            w.bind_here(2);
            w.bound_on(1);
        } else {
            w.bound_on(1);
            assert_eq!(w.goes_to(), Some(1));
            w.bind_here(2);
        }
        assert_eq!(w.goes_to(), Some(0), "its own first");
        w.sent.clear();
        w.feed(Event::Died { session: 2, code: Some(0) });
        assert!(w.sent.contains(&(1, Record::Resync { dc: 0 })), "here first: {here_first}: {:?}", w.sent);
        w.bound_on(1);
        w.bound_on(2);
        assert_eq!(w.goes_to(), Some(1));
        w.feed(Event::Record { node: 1, record: Record::Unbound { dc: 0, endpoint: SERVICE } });
        assert_eq!(w.goes_to(), Some(2));
    }
}
