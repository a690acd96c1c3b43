//! What another session must see is answered when that session has taken it in.

mod council;

use council::{Council, entry};
use dvs_abi::{CallSet, Code, Endpoint, NodeId, limits::HEARD_MAX_NS};
use dvs_kern::control::{Answer, BindKind, Event as Told, Request, WireError, WirePrivileges};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeConfig;
use dvs_kern::node::event::{Command, Event, SessionId};

const ASKER: SessionId = 1;
const TARGET: SessionId = 2;
const OTHER: SessionId = 3;

struct World {
    node: Node,
    council: Council,
    now: u64,
    id: u64,
    /// What was answered: session, request.
    answers: Vec<(SessionId, u64, Result<Answer, WireError>)>,
    /// What was told and not read.
    news: Vec<(SessionId, Told)>,
}

impl World {
    /// A container with endpoint 1 of the asker, 2 of the target, 3 of another, each a session.
    fn new() -> World {
        let nodes = vec![entry(0)];
        let node = Node::new(NodeConfig { me: NodeId(0), pid: 1, nodes, first_generation: 0 });
        let mut w =
            World { node, council: Council::new(1), now: 0, id: 1, answers: Vec::new(), news: Vec::new() };
        for session in [ASKER, TARGET, OTHER] {
            w.feed(Event::Connected { session, id: 1, pid: 100 + session, operator: true, name: "p".into() });
        }
        let none = Endpoint::NONE.raw();
        let (name, nodes) = (String::from("d"), vec![0]);
        w.done(Request::DcInit {
            dc: 0,
            name,
            procs: 200,
            tasks: 35,
            sysprocs: 64,
            warn: none,
            warn_type: 0,
            nodes,
        });
        for session in [ASKER, TARGET, OTHER] {
            w.bind(session, session as i32);
        }
        w.news.clear();
        w
    }

    fn feed(&mut self, event: Event) {
        self.now += 10;
        let commands = self.node.handle(event, self.now);
        for command in self.council.at_once(&mut self.node, commands, self.now) {
            match command {
                Command::Reply { session, id, result } => self.answers.push((session, id, result)),
                Command::Tell { session, event, .. } => self.news.push((session, event)),
                _ => {}
            }
        }
        self.node.validate().unwrap();
    }

    fn ask(&mut self, session: SessionId, request: Request) -> u64 {
        self.id += 1;
        self.feed(Event::Request { session, id: self.id, request });
        self.id
    }

    fn bind(&mut self, session: SessionId, endpoint: i32) {
        let (kind, name) = (BindKind::Own, String::new());
        let id = self.ask(session, Request::Bind { kind, dc: 0, endpoint, pid: 0, node: 0, name, board: 0 });
        assert!(matches!(self.answer(id), Some(Ok(Answer::Bound { .. }))));
    }

    fn answer(&self, id: u64) -> Option<Result<Answer, WireError>> {
        self.answers.iter().find(|a| a.1 == id).map(|a| a.2.clone())
    }

    #[track_caller]
    fn done(&mut self, request: Request) {
        let id = self.ask(ASKER, request);
        assert_eq!(self.answer(id), Some(Ok(Answer::Done)));
    }

    /// A session reads all its news; what it was told.
    fn reads(&mut self, session: SessionId) -> Vec<Told> {
        let (mine, others) = std::mem::take(&mut self.news).into_iter().partition(|(s, _)| *s == session);
        self.news = others;
        let mine: Vec<(SessionId, Told)> = mine;
        for (_, event) in &mine {
            if let Told::Mark { mark } = event {
                self.feed(Event::Request { session, id: 0, request: Request::Heard { mark: *mark } });
            }
        }
        mine.into_iter().map(|(_, e)| e).collect()
    }

    /// Rights of endpoint 2 without most calls.
    fn set_rights(&mut self) -> u64 {
        let calls = CallSet::USER.0;
        let privileges =
            WirePrivileges { id: 0, warn: Endpoint::NONE.raw(), level: 0, ipc_to: u128::MAX, calls };
        self.ask(ASKER, Request::SetPriv { dc: 0, endpoint: 2, privileges })
    }
}

#[test]
fn rights_are_answered_when_their_owner_has_them() {
    let mut w = World::new();
    let id = w.set_rights();
    assert_eq!(w.answer(id), None);
    let news = w.reads(TARGET);
    assert!(matches!(news[..], [Told::Privileges { .. }, Told::Mark { .. }]), "{news:?}");
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

#[test]
fn a_peer_whose_lane_was_closed_hears_of_it_too() {
    let mut w = World::new();
    let open = w.ask(TARGET, Request::OpenLane { dc: 0, from: 2, to: 3, remaining: 0 });
    assert!(w.answer(open).is_some());
    let id = w.set_rights();
    w.reads(TARGET);
    assert_eq!(w.answer(id), None);
    w.reads(OTHER);
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

#[test]
fn whoever_never_reads_or_dies_is_not_waited_for_longer() {
    let mut w = World::new();
    let id = w.set_rights();
    assert!(w.node.next_deadline().is_some());
    w.now += HEARD_MAX_NS;
    w.feed(Event::Tick);
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
    let id = w.set_rights();
    assert_eq!(w.answer(id), None);
    w.feed(Event::Died { session: TARGET, code: None });
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

#[test]
fn a_mark_that_was_not_asked_for_proves_nothing() {
    let mut w = World::new();
    w.feed(Event::Request { session: TARGET, id: 0, request: Request::Heard { mark: u64::MAX } });
    let id = w.set_rights();
    assert_eq!(w.answer(id), None);
    w.feed(Event::Request { session: TARGET, id: 0, request: Request::Heard { mark: 1 } });
    assert_eq!(w.answer(id), None);
    w.reads(TARGET);
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

/// A notification of one that ended was still delivered after the wait for that end had returned.
#[test]
fn an_end_is_awaited_until_its_peers_know_it() {
    let mut w = World::new();
    let remaining = u64::MAX;
    w.ask(TARGET, Request::OpenLane { dc: 0, from: 2, to: 3, remaining: 0 });
    let early = w.ask(ASKER, Request::WaitUnbind { dc: 0, endpoint: 2, remaining });
    w.feed(Event::Request {
        session: TARGET,
        id: 0,
        request: Request::Unbind { dc: 0, endpoint: 2, remaining: 0 },
    });
    let late = w.ask(ASKER, Request::WaitUnbind { dc: 0, endpoint: 2, remaining });
    let now = w.ask(ASKER, Request::WaitUnbind { dc: 0, endpoint: 2, remaining: 0 });
    w.reads(TARGET);
    assert_eq!((w.answer(early), w.answer(late)), (None, None));
    assert_eq!(w.answer(now), Some(Ok(Answer::Done)), "who has no time is not made to wait");
    let news = w.reads(OTHER);
    assert!(news.iter().any(|e| matches!(e, Told::LaneClosed { .. })), "{news:?}");
    assert_eq!((w.answer(early), w.answer(late)), (Some(Ok(Answer::Done)), Some(Ok(Answer::Done))));
    let again = w.ask(ASKER, Request::WaitUnbind { dc: 0, endpoint: 2, remaining });
    assert_eq!(w.answer(again), Some(Ok(Answer::Done)), "everybody has heard");
}

#[test]
fn the_end_of_a_container_is_answered_when_everybody_in_it_knows() {
    let mut w = World::new();
    let id = w.ask(ASKER, Request::DcEnd { dc: 0 });
    w.reads(ASKER);
    w.reads(TARGET);
    assert_eq!(w.answer(id), None);
    let news = w.reads(OTHER);
    assert!(news.contains(&Told::DcEnded { dc: 0 }), "{news:?}");
    assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
}

#[test]
fn a_wakeup_and_a_move_are_answered_when_they_are_carried_in() {
    let mut w = World::new();
    let id = w.ask(ASKER, Request::Wakeup { dc: 0, endpoint: 2 });
    assert_eq!(w.answer(id), None);
    w.reads(TARGET);
    let error = w.answer(id).unwrap().unwrap_err();
    assert_eq!(error.code, Code::PROCRUN as i32);
    for request in
        [Request::MigrateStart { dc: 0, endpoint: 2 }, Request::MigrateRollback { dc: 0, endpoint: 2 }]
    {
        let id = w.ask(ASKER, request);
        assert_eq!(w.answer(id), None);
        w.reads(TARGET);
        assert_eq!(w.answer(id), Some(Ok(Answer::Done)));
    }
}

#[test]
fn an_answer_that_was_withdrawn_is_not_given() {
    let mut w = World::new();
    let id = w.set_rights();
    w.feed(Event::Request { session: ASKER, id: 0, request: Request::Withdraw { id } });
    w.reads(TARGET);
    assert_eq!(w.answer(id), None);
}
