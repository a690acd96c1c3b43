//! The programs of one simulated node: clients that call services again and again, servers, and programs that
//! only want a slot, run for a while and end.

use super::calls::Client;
use super::daemon::Daemon;
use super::hosts::Host;
use crate::actor::Effects;
use crate::control::wire::Note;
use crate::control::{MAIN, MS, SERVICES, everywhere, service};
use dvs_abi::limits::BIND_WAIT_NS;
use dvs_abi::{Code, Endpoint};
use dvs_control::command::Command as Decision;
use dvs_control::service::{Kind, Place, Service};
use dvs_kern::control::{BindKind, Duty, Request};
use dvs_kern::node::Node;
use dvs_kern::node::event::{Event, SessionId};
use std::collections::BTreeMap;

const CLIENTS: usize = 2;
const PROGRAMS_MAX: usize = 10;
/// A program lives at most so long.
const LIVES_NS: u64 = 2_500 * MS;
/// What a bind may take besides: the node looks at its clock so often.
const SLACK_NS: u64 = 200 * MS;

/// What a program is.
#[derive(Debug)]
pub(super) enum Role {
    Client(Client),
    /// Of the service in this slot.
    Server(i32),
    /// Until when it lives once it has its slot.
    Program(Option<u64>),
}

/// A program.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) endpoint: Option<Endpoint>,
    /// Its bind: the number of the request, and of the note.
    bind: Option<(u64, u64)>,
    limit: u64,
    /// It takes no request.
    pub(super) frozen: bool,
    /// It was asked to end, or ends by itself.
    pub(super) ends: bool,
}

/// The programs of a node. The number of a process is that of its session and 100.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) processes: BTreeMap<SessionId, Process>,
    sessions: SessionId,
}

impl People {
    pub(super) fn signal(&mut self, pid: u32) {
        if let Some(p) = self.processes.get_mut(&pid.wrapping_sub(100)) {
            p.ends = true;
        }
    }

    pub(super) fn end(&mut self, session: SessionId) {
        self.signal(session + 100);
    }

    pub(super) fn client(&mut self, session: SessionId) -> Option<&mut Client> {
        match &mut self.processes.get_mut(&session)?.role {
            Role::Client(client) => Some(client),
            Role::Server(_) | Role::Program(_) => None,
        }
    }

    pub(super) fn first_limit(&self) -> Option<u64> {
        self.processes.values().filter(|p| p.bind.is_some()).map(|p| p.limit).min()
    }

    /// The server of a service, if it may take requests.
    pub(super) fn server(&self, slot: i32) -> Option<SessionId> {
        let found = self.processes.iter().find(|(_, p)| matches!(p.role, Role::Server(s) if s == slot));
        found.filter(|(_, p)| p.endpoint.is_some() && !p.frozen && !p.ends).map(|(s, _)| *s)
    }

    /// The program of a service of which there is one, if it is the instance here.
    pub(super) fn single(&self, slot: i32) -> Option<SessionId> {
        let found = self.processes.iter().find(|(_, p)| matches!(p.role, Role::Server(s) if s == slot));
        found.filter(|(_, p)| p.endpoint.is_some() && !p.ends).map(|(s, _)| *s)
    }

    pub(super) fn serving(&self, kern: &Node) -> Vec<(i32, u64)> {
        let Some((_, dc)) = kern.containers().find(|(dc, _)| *dc == MAIN.0) else { return Vec::new() };
        let epoch = |slot: i32| dc.service(slot).filter(|s| s.serving == Duty::Full).map(|s| (slot, s.epoch));
        SERVICES.iter().filter(|(s, _)| self.server(*s).is_some()).filter_map(|(s, _)| epoch(*s)).collect()
    }

    pub(super) fn unsettled(&self) -> Option<String> {
        let busy = |p: &Process| match &p.role {
            Role::Client(client) => !client.idle(),
            Role::Program(_) => true,
            Role::Server(_) => false,
        };
        let found = self.processes.iter().find(|(_, p)| p.bind.is_some() || busy(p));
        found.map(|(s, p)| format!("session {s}: {p:?}"))
    }

    pub(super) fn count(&self, of: impl Fn(&Role) -> bool) -> usize {
        self.processes.values().filter(|p| of(&p.role)).count()
    }
}

pub(super) fn find(daemon: &Daemon, slot: i32) -> Option<&Service> {
    daemon.state.container(MAIN)?.services.get(&slot).filter(|s| !s.withdrawn)
}

impl Daemon {
    /// Time passes for the programs of this node.
    pub(super) fn live(&mut self, fx: &mut Effects<'_, Note>) {
        self.bury(fx);
        let runs = self.state.container(MAIN).is_some_and(|c| c.spec.runs_on(self.me.0));
        if self.incarnation().is_some() && runs {
            self.come(fx);
        }
        self.go(fx);
        self.hosts_tick(fx);
        self.moves_tick(fx);
        self.call_and_serve(fx);
        if self.quiet {
            self.undo_people();
        } else if self.incarnation().is_some() {
            self.operators(fx);
            self.order_moves(fx);
        }
    }

    /// Those that end are gone.
    fn bury(&mut self, fx: &mut Effects<'_, Note>) {
        let ended = self.people.processes.iter().filter(|(_, p)| p.ends).map(|(s, _)| *s);
        for session in ended.collect::<Vec<_>>() {
            let Some(p) = self.people.processes.remove(&session) else { continue };
            if let (Some((_, note)), Role::Program(_)) = (p.bind, &p.role) {
                fx.note(Note::Truth(note, "its program ended"));
            }
            if let Role::Client(client) = p.role {
                client.died(fx);
            }
            self.host_dies(session, fx);
            self.calls.forget(session);
            self.feed(Event::Died { session, code: Some(0) }, fx);
        }
    }

    /// New ones come.
    fn come(&mut self, fx: &mut Effects<'_, Note>) {
        let none = Endpoint::NONE.raw();
        if !self.quiet && self.people.count(|r| matches!(r, Role::Client(_))) < CLIENTS {
            self.connect(Role::Client(Client::default()), none, fx);
        }
        let programs = self.people.count(|r| matches!(r, Role::Program(_)));
        if !self.quiet && programs < PROGRAMS_MAX && fx.random().odds(150) {
            self.connect(Role::Program(None), none, fx);
        }
        for (slot, kind) in SERVICES {
            if self.people.count(|r| matches!(r, Role::Server(s) if *s == slot)) > 0 {
                continue;
            }
            let Some(place) = find(self, slot).filter(|s| s.spec.allows(self.me)).map(|s| s.place) else {
                continue;
            };
            let odds = match place {
                Place::Vacant => 100,
                _ if kind != Kind::Single => 30,
                // To stand by.
                _ if !self.quiet => 10,
                _ => 0,
            };
            if fx.random().odds(odds) {
                self.connect(Role::Server(slot), slot, fx);
            }
        }
    }

    pub(super) fn connect(&mut self, role: Role, endpoint: i32, fx: &mut Effects<'_, Note>) {
        self.people.sessions += 1;
        let (session, note) = (self.people.sessions, fx.random().next());
        if matches!(role, Role::Program(_)) {
            fx.note(Note::Wants(note));
        }
        let id = self.calls.next_id();
        let limit = fx.now() + BIND_WAIT_NS + SLACK_NS;
        let bind = Some((id, note));
        if let Role::Server(slot) = role
            && SERVICES.contains(&(slot, Kind::Single))
        {
            self.hosts.insert(session, Host::new(slot));
        }
        let process = Process { role, endpoint: None, bind, limit, frozen: true, ends: false };
        self.people.processes.insert(session, process);
        let (pid, name) = (100 + session, format!("p{session}"));
        self.feed(Event::Connected { session, id: 0, pid, operator: true, name: name.clone() }, fx);
        let (kind, dc) = (BindKind::Own, MAIN.0);
        let request = Request::Bind { kind, dc, endpoint, pid: 0, node: 0, name, board: 0 };
        self.feed(Event::Request { session, id, request }, fx);
    }

    /// A bind was answered; whether it was one.
    pub(super) fn bound(
        &mut self,
        session: SessionId,
        id: u64,
        result: Result<i32, Code>,
        fx: &mut Effects<'_, Note>,
    ) -> bool {
        let Some(p) = self.people.processes.get_mut(&session) else { return false };
        let Some((_, note)) = p.bind.take_if(|(asked, _)| *asked == id) else { return false };
        let stands_by = self.host_bound(session, result.map(|_| ()), fx) && result.is_err();
        let Some(p) = self.people.processes.get_mut(&session) else { return true };
        match result {
            Err(_) if stands_by => {}
            Ok(endpoint) => {
                p.endpoint = Some(Endpoint::from_raw(endpoint));
                if let Role::Program(until) = &mut p.role {
                    *until = Some(fx.now() + fx.random().below(LIVES_NS));
                    fx.note(Note::Bound(note, Endpoint::from_raw(endpoint).slot()));
                }
            }
            Err(code) => {
                p.ends = true;
                if matches!(p.role, Role::Program(_)) {
                    fx.note(Note::Truth(note, if code == Code::NOSPC { "full" } else { "refused" }));
                }
            }
        }
        true
    }

    /// Old ones end.
    fn go(&mut self, fx: &mut Effects<'_, Note>) {
        let (now, quiet) = (fx.now(), self.quiet);
        let vacant = |slot: i32| find(self, slot).is_none_or(|s| s.place == Place::Vacant);
        let vacant: Vec<i32> = SERVICES.iter().map(|(s, _)| *s).filter(|s| vacant(*s)).collect();
        for (session, p) in &mut self.people.processes {
            let host = self.hosts.get(session);
            p.ends |= match &p.role {
                Role::Program(until) => until.is_some_and(|t| t <= now),
                // Whoever stands by for nobody makes room for one that serves.
                Role::Server(slot) if host.is_some_and(Host::is_idle) && vacant.contains(slot) => {
                    fx.random().odds(100)
                }
                Role::Server(_) if host.is_some_and(Host::moves) => !quiet && fx.random().odds(12),
                Role::Server(_) => !quiet && p.endpoint.is_some() && fx.random().odds(4),
                Role::Client(_) => !quiet && fx.random().odds(2),
            };
        }
        self.bury(fx);
    }

    /// What operators do: withdraw and declare, forbid and allow, drain, switch.
    fn operators(&mut self, fx: &mut Effects<'_, Note>) {
        if fx.random().odds(8) {
            let to = dvs_abi::NodeId(fx.random().below(5) as u16);
            for (slot, _) in SERVICES.iter().filter(|(_, kind)| *kind == Kind::Passive) {
                self.decide(None, Decision::Switch { dc: MAIN, slot: *slot, to });
            }
        }
        if !fx.random().odds(3) {
            return;
        }
        let node = dvs_abi::NodeId(fx.random().below(5) as u16);
        let on = fx.random().odds(400);
        let (slot, kind) = SERVICES[fx.random().below(SERVICES.len() as u64) as usize];
        let command = match fx.random().below(4) {
            0 => Decision::Drain { node, on },
            1 => {
                let on = self.state.container(MAIN).is_some_and(|c| !c.spec.runs_on(node.0));
                Decision::Allow { dc: MAIN, node, on }
            }
            2 if find(self, slot).is_some() => Decision::Withdraw { dc: MAIN, slot },
            _ => Decision::Declare { dc: MAIN, slot, spec: service(slot, kind) },
        };
        self.decide(None, command);
    }

    /// So that all can come to rest: nothing is drained, withdrawn or forbidden.
    fn undo_people(&mut self) {
        let Some(main) = self.state.container(MAIN).filter(|_| self.incarnation().is_some()) else { return };
        let mut wanted = Vec::new();
        if self.state.member(self.me).is_some_and(|m| m.draining) {
            wanted.push(Decision::Drain { node: self.me, on: false });
        }
        if !main.spec.runs_on(self.me.0) {
            wanted.push(Decision::Allow { dc: MAIN, node: self.me, on: true });
        }
        if main.spec.nodes == everywhere() {
            let missing = SERVICES
                .iter()
                .filter(|(slot, _)| find(self, *slot).is_none_or(|s| s.spec.nodes != everywhere()));
            wanted.extend(missing.map(|(slot, kind)| Decision::Declare {
                dc: MAIN,
                slot: *slot,
                spec: service(*slot, *kind),
            }));
        }
        if self.idle_clerk() {
            wanted.into_iter().for_each(|c| self.decide(None, c));
        }
    }
}
