//! A program that hands its service over: carries out what [`Source`] orders, one order after the other. As
//! `dvs_migrate`'s `leave` does.

use super::daemon::Daemon;
use super::hosts::{Answered, Ask, At, Host, Port};
use super::wire::Key;
use super::wire::Told as Seen;
use crate::actor::Effects;
use crate::control::moves::{State, Word as Letter};
use crate::control::wire::Note;
use crate::control::{MAIN, MS};
use dvs_abi::{Code, Effect, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_kern::control::{Answer, Request};
use dvs_kern::mover::{MoverAnswer, MoverAsk, MoverReport};
use dvs_kern::node::event::SessionId;
use dvs_kern::node::link::LinkKey;
use dvs_migrate::Note as Said;
use dvs_migrate::source::{Ending, Event, Order, Phase, Plan, Source};
use std::collections::VecDeque;

/// How often it looks whether there is something else to do.
const LOOK_NS: u64 = 200 * MS;

#[derive(Clone, PartialEq, Debug)]
enum Doing {
    Nothing,
    /// A lane for a letter is asked for.
    Opens(u64, Letter, u64),
    /// The letter with this number is on its way.
    Waits(Key, u64, u64),
    /// Its hands are to be empty.
    Parks(u64),
    /// The rules are asked.
    Asks,
    Pauses(u64),
}

/// One move away.
#[derive(Debug)]
pub(super) struct Leave {
    id: u64,
    peer: i32,
    prepare_ns: u64,
    hold_ns: u64,
    machine: Source,
    orders: VecDeque<Order>,
    doing: Doing,
    /// Since when callers are held, and the number of the move.
    held: Option<(u64, u64)>,
}

impl Leave {
    pub(super) fn new(
        from: NodeId,
        slot: i32,
        (id, to, peer): (u64, u16, i32),
        (prepare_ns, hold_ns): (u64, u64),
        fx: &Effects<'_, Note>,
    ) -> Self {
        let (to, begin_by) = (NodeId(to), fx.now() + prepare_ns);
        let plan = Plan { dc: MAIN, slot, from, to, begin_by, hold_max: hold_ns, small: 2, rounds_max: 4 };
        let mut orders = Vec::new();
        let machine = Source::begin(plan, &mut orders);
        let (orders, doing) = (orders.into(), Doing::Nothing);
        Leave { id, peer, prepare_ns, hold_ns, machine, orders, doing, held: None }
    }

    /// Until when a letter may take.
    fn until(&self, now: u64) -> u64 {
        let held = self.held.map(|(since, _)| since + self.hold_ns);
        held.unwrap_or(u64::MAX).min(now + self.prepare_ns).max(now + 1)
    }
}

fn leave(host: &mut Host) -> Option<&mut Leave> {
    match &mut host.at {
        At::Leaves(leave) => Some(leave),
        _ => None,
    }
}

impl Daemon {
    fn leave_of(&mut self, session: SessionId) -> Option<&mut Leave> {
        self.hosts.get_mut(&session).and_then(leave)
    }

    /// Something happened to it.
    fn leave_step(&mut self, session: SessionId, event: Event, fx: &mut Effects<'_, Note>) {
        let Some(leave) = self.leave_of(session) else { return };
        let mut orders = Vec::new();
        leave.machine.step(event, fx.now(), &mut orders);
        leave.orders.extend(orders);
        leave.doing = Doing::Nothing;
        self.leave_goes_on(session, fx);
    }

    /// It does what is ordered, until it has to wait.
    pub(super) fn leave_goes_on(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        loop {
            let Some(leave) = self.leave_of(session).filter(|l| l.doing == Doing::Nothing) else { return };
            if let Some(order) = leave.orders.pop_front() {
                self.leave_does(session, order, fx);
                continue;
            }
            if let Phase::Ended(ending) = leave.machine.phase().clone() {
                return self.leave_ended(session, &ending, fx);
            }
            let number = leave.held.map(|(_, number)| number);
            let moves =
                matches!(leave.machine.phase(), Phase::Sending(_) | Phase::Waiting(_) | Phase::Undoing(_));
            match number.filter(|_| moves) {
                Some(after) => {
                    leave.doing = Doing::Asks;
                    let place = MoverAsk::Place { after, remaining: LOOK_NS };
                    self.host_ask(session, Ask::Place, place, fx);
                }
                None => leave.doing = Doing::Pauses(fx.now() + LOOK_NS),
            }
        }
    }

    fn leave_does(&mut self, session: SessionId, order: Order, fx: &mut Effects<'_, Note>) {
        if !self.quiet && fx.random().odds(12) {
            self.people.end(session);
        }
        let Some(host) = self.hosts.get_mut(&session) else { return };
        let (kept, port) = (host.kept, host.port);
        let Some(l) = leave(host) else { return };
        match order {
            Order::Tell(note @ (Said::Prepare | Said::State { .. } | Said::Forget)) => {
                let Port::Has(port) = port else { return self.leave_step(session, Event::Cut, fx) };
                let letter = Letter::of(note, kept.unwrap_or(State { born: 0, writes: 0 }));
                let forgets = letter == Letter::Forget;
                let until = if forgets { fx.now() + LOOK_NS } else { l.until(fx.now()) };
                let (to, remaining) = (l.peer, until - fx.now());
                l.doing = Doing::Opens(0, letter.clone(), until);
                let open = Request::OpenLane { dc: MAIN.0, from: port.raw(), to, remaining };
                self.host_request(session, Ask::Lane, open, fx);
            }
            Order::Collect => {
                if let Phase::Sending(_) = l.machine.phase() {
                    l.doing = Doing::Parks(l.until(fx.now()));
                    host.parked = true;
                    return self.leave_tick(session, fx);
                }
                let changed = fx.random().below(5);
                self.leave_step(session, Event::Changed(changed), fx);
            }
            Order::Propose(Command::Move { to, .. }) => {
                if fx.random().odds(30) {
                    let why = "it was cancelled".to_owned();
                    return self.leave_step(session, Event::NotBegun(why), fx);
                }
                l.doing = Doing::Asks;
                let begin = MoverAsk::Begin { to: to.0, hold_ns: l.hold_ns };
                self.host_ask(session, Ask::Begin, begin, fx);
            }
            Order::Propose(Command::Undo { number, .. }) => {
                l.doing = Doing::Asks;
                self.host_ask(session, Ask::Undo, MoverAsk::Undo { number: number.0 }, fx);
            }
            Order::Serve => host.parked = false,
            Order::Tell(_) | Order::Propose(_) | Order::End => {}
        }
    }

    /// The rules have answered it.
    pub(super) fn leave_answered(
        &mut self,
        session: SessionId,
        what: Ask,
        result: &Answered,
        fx: &mut Effects<'_, Note>,
    ) {
        let now = fx.now();
        let Some(l) = self.leave_of(session) else { return };
        let event = match (what, result) {
            (Ask::Begin, Ok(Answer::Mover(MoverAnswer::Begun { number }))) => {
                l.held = Some((now, *number));
                Event::Begun(Epoch(*number))
            }
            (Ask::Begin, Err((code, Effect::No))) => Event::NotBegun(format!("{code}")),
            // It may be in the log: then that undoes it in time.
            (Ask::Begin, _) => return l.doing = Doing::Pauses(now + LOOK_NS),
            (Ask::Undo, _) => {
                l.doing = Doing::Nothing;
                return self.leave_goes_on(session, fx);
            }
            (Ask::Place, Ok(Answer::Mover(MoverAnswer::At { node, epoch }))) => match node {
                Some(node) => Event::PlacedAt(NodeId(*node), Epoch(*epoch)),
                None => Event::Vacant(Epoch(*epoch)),
            },
            (Ask::Place, Err((Code::TIMEDOUT, _))) => {
                if fx.random().odds(30) {
                    Event::Cancel
                } else {
                    Event::Tick
                }
            }
            (Ask::Place, _) => Event::Vacant(Epoch(u64::MAX)),
            (Ask::Lane, Ok(Answer::Lane { link, lane, .. })) => {
                return self.letter_goes(session, (*link, *lane), fx);
            }
            (Ask::Lane, _) if matches!(l.doing, Doing::Opens(..)) => Event::Cut,
            _ => return,
        };
        self.leave_step(session, event, fx);
    }

    /// There is a lane for its letter.
    fn letter_goes(&mut self, session: SessionId, (link, lane): (u16, u8), fx: &mut Effects<'_, Note>) {
        let Some(key) = self.calls.lanes.key(session, link, lane) else { return };
        let node = self.kern.lane_of(LinkKey(key.0), key.1).map(|l| l.node);
        let number = fx.random().next();
        let me = self.me;
        let Some(l) = self.leave_of(session) else { return };
        let Doing::Opens(_, letter, until) = l.doing.clone() else { return };
        l.doing = Doing::Waits(key, number, until);
        let elsewhere = node.is_some_and(|node| node != me);
        if !elsewhere || self.post(session, key, (number, until), Some(letter), fx).is_err() {
            self.leave_step(session, Event::Cut, fx);
        }
    }

    /// Its letter was answered, or not.
    pub(super) fn letter_answered(
        &mut self,
        session: SessionId,
        key: Key,
        number: u64,
        answer: Option<Letter>,
        fx: &mut Effects<'_, Note>,
    ) {
        let Some(l) = self.leave_of(session) else { return };
        if !matches!(l.doing, Doing::Waits(k, n, _) if (k, n) == (key, number)) {
            return;
        }
        let event = answer.and_then(Letter::note).map_or(Event::Cut, Event::Note);
        self.leave_step(session, event, fx);
    }

    pub(super) fn leave_tick(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        let now = fx.now();
        let Some(slot) = self.hosts.get(&session).map(|h| h.slot) else { return };
        let busy = self.in_hands(slot);
        let Some(l) = self.leave_of(session) else { return };
        match l.doing {
            Doing::Opens(_, _, until) if until <= now => self.leave_step(session, Event::Cut, fx),
            Doing::Waits(key, _, until) if until <= now => self.cancel(key, fx),
            Doing::Parks(_) if !busy => {
                let changed = fx.random().below(5);
                self.leave_step(session, Event::Changed(changed), fx);
            }
            Doing::Parks(until) if until <= now => {
                let why = "the server was at one request for too long".to_owned();
                self.leave_step(session, Event::Note(Said::Refused(why)), fx);
            }
            Doing::Pauses(until) if until <= now => self.leave_step(session, Event::Tick, fx),
            _ => {}
        }
    }

    /// It is over.
    fn leave_ended(&mut self, session: SessionId, ending: &Ending, fx: &mut Effects<'_, Note>) {
        let Some(host) = self.hosts.get_mut(&session) else { return };
        let Some(id) = leave(host).map(|l| l.id) else { return };
        host.at = At::Instance;
        fx.note(Note::Moved(host.slot, format!("{ending:?}")));
        match ending {
            Ending::Stayed(_) => host.parked = false,
            Ending::Moved => {
                host.stands_by();
                if let Some(p) = self.people.processes.get_mut(&session) {
                    p.endpoint = None;
                    p.ends |= fx.random().odds(500);
                }
                self.host_lets_go(session, fx);
            }
            Ending::Elsewhere => {
                fx.note(Note::Told(Seen::Lost(host.slot)));
                self.people.end(session);
            }
        }
        let moved = *ending == Ending::Moved;
        let report = MoverReport::Ended { moved, why: String::new(), rounds: 0, bytes: 0, held_ns: 0 };
        self.host_ask(session, Ask::Report, MoverAsk::Report { id, report }, fx);
    }
}
