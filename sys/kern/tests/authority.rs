//! Who may ask for what: operators, servers, user processes and strangers.

mod council;

use council::Council;
use dvs_abi::{Call, CallSet, Code, Endpoint};
use dvs_kern::control::{Answer, BindKind, Event as Told, Request, WirePrivileges};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeConfig;
use dvs_kern::node::event::{Command, Event};
use std::collections::VecDeque;

const DC: u16 = 1;
/// The first user slot of the container made here.
const USER: i32 = 29;

struct World {
    node: Node,
    council: Council,
    sessions: u32,
}

impl World {
    fn new() -> World {
        let mut w = World { node: Node::new(NodeConfig::single(1)), council: Council::new(1), sessions: 0 };
        let operator = w.session(10, true);
        let (warn, name) = (Endpoint::NONE.raw(), "c".into());
        let container = Request::DcInit {
            dc: DC,
            name,
            procs: 221,
            tasks: 35,
            sysprocs: 64,
            warn,
            warn_type: 0,
            nodes: vec![],
        };
        w.ask(operator, container).unwrap();
        w
    }

    fn session(&mut self, pid: u32, operator: bool) -> u32 {
        self.sessions += 1;
        let session = self.sessions;
        self.node.handle(Event::Connected { session, id: 1, pid, operator, name: "p".into() }, 0);
        session
    }

    fn handle(&mut self, event: Event) -> Vec<Command> {
        let commands = self.node.handle(event, 0);
        self.council.at_once(&mut self.node, commands, 0)
    }

    /// Asks; every session takes in its news at once, as some answers wait for that.
    fn ask(&mut self, session: u32, request: Request) -> Result<Answer, Code> {
        let mut commands = VecDeque::from(self.handle(Event::Request { session, id: 9, request }));
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Reply { session: s, id: 9, result } if s == session => {
                    return result.map_err(|e| Code::from_i32(e.code).unwrap());
                }
                Command::Tell { session, event: Told::Mark { mark }, .. } => {
                    let request = Request::Heard { mark };
                    commands.extend(self.handle(Event::Request { session, id: 0, request }));
                }
                _ => {}
            }
        }
        panic!("every request here is answered at once");
    }

    fn bind(&mut self, session: u32, endpoint: i32) -> Result<Answer, Code> {
        self.ask(session, bind(BindKind::Own, endpoint, 0))
    }
}

fn bind(kind: BindKind, endpoint: i32, pid: u32) -> Request {
    Request::Bind { kind, dc: DC, endpoint, pid, node: 0, name: String::new(), board: 0 }
}

fn rights(endpoint: i32, calls: CallSet) -> Request {
    let privileges =
        WirePrivileges { id: 0, warn: Endpoint::NONE.raw(), level: 0, ipc_to: u128::MAX, calls: calls.0 };
    Request::SetPriv { dc: DC, endpoint, privileges }
}

/// Requests that concern others, but for bindings.
fn managing() -> Vec<Request> {
    let endpoint = 3;
    vec![
        rights(endpoint, CallSet::ALL),
        Request::MigrateStart { dc: DC, endpoint },
        Request::MigrateRollback { dc: DC, endpoint },
        Request::MigrateCommit { dc: DC, endpoint, node: 0, pid: 0 },
        Request::Wakeup { dc: DC, endpoint },
        Request::HardwareNotify { dc: DC, endpoint },
        Request::Unbind { dc: DC, endpoint, remaining: 0 },
        Request::AddNode { dc: DC, node: 1 },
        Request::DelNode { dc: DC, node: 0 },
        bind(BindKind::Local, 5, 77),
        bind(BindKind::Remote, 5, 0),
        Request::DcEnd { dc: DC },
    ]
}

fn refused(code: Code) -> bool {
    matches!(code, Code::PRIVILEGES | Code::BADCALL)
}

#[test]
fn a_user_process_manages_nobody_and_gives_itself_nothing() {
    let mut w = World::new();
    let (server, user) = (w.session(20, true), w.session(30, true));
    w.bind(server, 3).unwrap();
    w.bind(user, USER).unwrap();
    for request in managing() {
        assert_eq!(w.ask(user, request.clone()).unwrap_err(), Code::BADCALL, "{request:?}");
    }
    assert_eq!(w.ask(user, rights(USER, CallSet::ALL)).unwrap_err(), Code::BADCALL);
    // Another session of the same process has no more.
    let again = w.session(30, true);
    assert_eq!(w.ask(again, rights(USER, CallSet::ALL)).unwrap_err(), Code::BADCALL);
    // What it needs it has: a second endpoint, and its own end.
    w.bind(user, USER + 1).unwrap();
    w.ask(user, Request::Unbind { dc: DC, endpoint: USER, remaining: 0 }).unwrap();
}

#[test]
fn a_server_and_an_operator_may_what_a_user_process_was_given_is_enough() {
    let mut w = World::new();
    let (server, user, operator) = (w.session(20, true), w.session(30, true), w.session(40, true));
    w.bind(server, 3).unwrap();
    w.bind(user, USER).unwrap();
    w.ask(server, rights(USER, CallSet::USER.with(Call::SetPriv))).unwrap();
    w.ask(user, rights(USER, CallSet::USER)).unwrap();
    assert_eq!(w.ask(user, rights(USER, CallSet::ALL)).unwrap_err(), Code::BADCALL);
    for request in managing() {
        if let Err(code) = w.ask(operator, request.clone()) {
            assert!(!refused(code), "{request:?}: {code:?}");
        }
    }
}

#[test]
fn a_stranger_calls_servers_but_is_none_and_manages_none() {
    let mut w = World::new();
    let (server, stranger) = (w.session(20, true), w.session(50, false));
    w.bind(server, 3).unwrap();
    for request in managing() {
        assert_eq!(w.ask(stranger, request.clone()).unwrap_err(), Code::PRIVILEGES, "{request:?}");
    }
    assert_eq!(w.bind(stranger, 4).unwrap_err(), Code::PRIVILEGES);
    w.bind(stranger, USER).unwrap();
    let open = Request::OpenLane { dc: DC, from: USER, to: 3, remaining: 0 };
    assert!(matches!(w.ask(stranger, open), Ok(Answer::Lane { .. })));
}
