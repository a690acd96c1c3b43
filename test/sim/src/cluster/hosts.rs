//! The programs of services of which there is one. Each keeps a number, which is lost with it, serves or
//! stands by, and hands the number over when it is told to: as `dvs_migrate::Host` does with threads, here
//! one step after the other.
//!
//! ```text
//!   bind ──► Instance ◄──── Go, back ────► Leaves ──► its program ends, or stands by
//!     │ it is elsewhere ▲
//!     └────► Standby ───┴── Take ──► Takes ──► Instance, or stands by again
//! ```

use super::comes::Come;
use super::daemon::Daemon;
use super::leaves::Leave;
use super::wire::Told as Seen;
use crate::actor::Effects;
use crate::control::moves::State;
use crate::control::wire::Note;
use crate::control::{MAIN, MS};
use dvs_abi::{Code, Effect, Endpoint};
use dvs_kern::control::{Answer, BindKind, Duty, Request};
use dvs_kern::mover::{MoverAnswer, MoverAsk};
use dvs_kern::node::event::{Event, SessionId};
use std::collections::BTreeMap;

/// The first of the server slots that are no services: endpoints of those that stand by, a node and service
/// each its own.
const PORTS: i32 = 4;
const AGAIN_NS: u64 = 1_000 * MS;

/// Its own endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    No,
    Asked,
    Has(Endpoint),
}

/// What the rules were asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Port,
    Unbind,
    Await,
    Stand,
    Begin,
    Undo,
    Place,
    Arrive,
    Report,
    Lane,
}

/// Where it is.
#[derive(Debug)]
pub(super) enum At {
    Binds,
    Instance,
    Leaves(Box<Leave>),
    Standby,
    Takes(Box<Come>),
}

/// Such a program.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) slot: i32,
    /// What it keeps, while it is the instance.
    pub(super) kept: Option<State>,
    /// What the rules let it answer.
    pub(super) may: Duty,
    /// It takes nothing up: the rest of its state is about to go.
    pub(super) parked: bool,
    pub(super) port: Port,
    pub(super) asks: BTreeMap<u64, Ask>,
    pub(super) at: At,
    /// It does not try again before.
    again: u64,
}

/// What the rules answered.
pub(super) type Answered = Result<Answer, (Code, Effect)>;

impl Host {
    pub(super) fn new(slot: i32) -> Self {
        Host {
            slot,
            kept: None,
            may: Duty::Stopped,
            parked: false,
            port: Port::No,
            asks: BTreeMap::new(),
            at: At::Binds,
            again: 0,
        }
    }

    /// Whether a move is under way here.
    pub(super) fn moves(&self) -> bool {
        matches!(self.at, At::Leaves(_) | At::Takes(_))
    }

    /// Whether it stands by.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.at, At::Standby)
    }

    fn asked(&self, what: Ask) -> bool {
        self.asks.values().any(|a| *a == what)
    }

    /// All that it had is gone with it, or is elsewhere.
    pub(super) fn stands_by(&mut self) {
        (self.at, self.kept, self.parked, self.may) = (At::Standby, None, false, Duty::Stopped);
    }
}

impl Daemon {
    /// The bind of its service was answered; whether it goes on.
    pub(super) fn host_bound(
        &mut self,
        session: SessionId,
        result: Result<(), Code>,
        fx: &mut Effects<'_, Note>,
    ) -> bool {
        let Some(host) = self.hosts.get_mut(&session) else { return false };
        match result {
            Ok(()) => {
                let born = fx.random().next();
                (host.at, host.kept) = (At::Instance, Some(State { born, writes: 0 }));
                fx.note(Note::Told(Seen::Born(host.slot, born)));
                true
            }
            Err(Code::SLOTUSED) => {
                host.stands_by();
                true
            }
            Err(_) => false,
        }
    }

    /// Its program is over, with what it kept.
    pub(super) fn host_dies(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        if let Some(host) = self.hosts.remove(&session)
            && (host.kept.is_some() || host.moves())
        {
            fx.note(Note::Told(Seen::Lost(host.slot)));
        }
    }

    /// Asks the rules something about its service.
    pub(super) fn host_ask(
        &mut self,
        session: SessionId,
        what: Ask,
        ask: MoverAsk,
        fx: &mut Effects<'_, Note>,
    ) {
        let Some(slot) = self.hosts.get(&session).map(|h| h.slot) else { return };
        self.host_request(session, what, Request::Mover { dc: MAIN.0, slot, ask }, fx);
    }

    pub(super) fn host_request(
        &mut self,
        session: SessionId,
        what: Ask,
        request: Request,
        fx: &mut Effects<'_, Note>,
    ) -> u64 {
        let id = self.calls.next_id();
        if let Some(host) = self.hosts.get_mut(&session) {
            host.asks.insert(id, what);
            self.feed(Event::Request { session, id, request }, fx);
        }
        id
    }

    /// The rules have answered; whether it was such a program that had asked.
    pub(super) fn host_replied(
        &mut self,
        session: SessionId,
        id: u64,
        result: &Answered,
        fx: &mut Effects<'_, Note>,
    ) -> bool {
        let again = fx.now() + AGAIN_NS;
        let Some(host) = self.hosts.get_mut(&session) else { return false };
        let Some(what) = host.asks.remove(&id) else { return false };
        match (what, result) {
            (Ask::Port, Ok(Answer::Bound { endpoint, .. })) => {
                host.port = Port::Has(Endpoint::from_raw(*endpoint));
            }
            (Ask::Port, _) => (host.port, host.again) = (Port::No, again),
            (Ask::Unbind, _) => host.port = Port::No,
            (Ask::Await, Ok(Answer::Mover(MoverAnswer::Go { id, to, peer, prepare_ns, hold_ns }))) => {
                let leave = Leave::new(self.me, host.slot, (*id, *to, *peer), (*prepare_ns, *hold_ns), fx);
                if matches!(host.at, At::Instance) {
                    host.at = At::Leaves(Box::new(leave));
                    self.leave_goes_on(session, fx);
                }
            }
            (Ask::Stand, Ok(Answer::Mover(MoverAnswer::Take { peer, .. }))) => {
                if matches!(host.at, At::Standby) {
                    host.at = At::Takes(Box::new(Come::new(self.me, host.slot, *peer, fx)));
                }
            }
            (Ask::Await | Ask::Stand, Err((Code::TIMEDOUT, _))) => {}
            (Ask::Stand, _) => self.people.end(session),
            (Ask::Await, _) => host.again = again,
            (Ask::Arrive, result) => self.arrived(session, result.is_ok(), fx),
            (Ask::Report, _) => {}
            (what, result) => self.leave_answered(session, what, result, fx),
        }
        true
    }

    /// Time passes for those of this node.
    pub(super) fn hosts_tick(&mut self, fx: &mut Effects<'_, Note>) {
        for session in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.host_tick(session, fx);
        }
        self.read_letters(fx);
    }

    fn host_tick(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        let Some(host) = self.hosts.get(&session) else { return };
        let idle = fx.now() >= host.again;
        let stands = matches!(host.at, At::Standby);
        match (&host.at, host.port) {
            (At::Binds, _) => {}
            (At::Leaves(_), _) => self.leave_tick(session, fx),
            (At::Takes(_), _) => self.come_tick(session, fx),
            (At::Instance | At::Standby, Port::No) if idle => {
                let endpoint = match stands {
                    true => Endpoint::new(0, PORTS + 2 * i32::from(self.me.0) + host.slot),
                    false => Endpoint::NONE,
                };
                self.host_port(session, endpoint, fx);
            }
            (At::Instance, Port::Has(port)) if idle && !host.asked(Ask::Await) => {
                let ask = MoverAsk::Await { mover: port.raw(), version: 1, bytes: 1 };
                self.host_ask(session, Ask::Await, ask, fx);
            }
            (At::Standby, Port::Has(port)) if !host.asked(Ask::Stand) => {
                let ask = MoverAsk::Stand { mover: port.raw(), versions: (1, 1) };
                self.host_ask(session, Ask::Stand, ask, fx);
            }
            _ => {}
        }
    }

    fn host_port(&mut self, session: SessionId, endpoint: Endpoint, fx: &mut Effects<'_, Note>) {
        if let Some(host) = self.hosts.get_mut(&session) {
            host.port = Port::Asked;
        }
        let (dc, endpoint) = (MAIN.0, endpoint.raw());
        let (kind, name) = (BindKind::Own, format!("m{session}"));
        let bind = Request::Bind { kind, dc, endpoint, pid: 0, node: 0, name, board: 0 };
        self.host_request(session, Ask::Port, bind, fx);
    }

    /// It needs its endpoint no more.
    pub(super) fn host_lets_go(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        let Some(host) = self.hosts.get_mut(&session) else { return };
        if let Port::Has(port) = std::mem::replace(&mut host.port, Port::Asked) {
            let unbind = Request::Unbind { dc: MAIN.0, endpoint: port.raw(), remaining: 0 };
            self.host_request(session, Ask::Unbind, unbind, fx);
        }
    }

    /// Its service is elsewhere, by the log; whether its program has still to do with that.
    pub(super) fn host_moved(&mut self, session: SessionId, endpoint: i32) -> bool {
        let Some(host) = self.hosts.get(&session).filter(|h| matches!(h.at, At::Leaves(_))) else {
            return false;
        };
        let own = Endpoint::new(0, host.slot).raw() == endpoint;
        if own && let Some(p) = self.people.processes.get_mut(&session) {
            p.endpoint = None;
        }
        own
    }
}
