//! The thread of an instance that moves it away: carries out what [`Source`] orders.
//!
//! ```text
//!   daemon ── Go ──► Source ──► orders:  Tell     a letter to the target, answered
//!                      ▲                 Collect  a round of the server; before the last one it is parked
//!                      └── events ─────  Propose  to the log
//!                                        Serve, End
//! ```

use crate::Note;
use crate::gate::Gate;
use crate::host::{Desk, Host, News, lock};
use crate::letter::{Letter, Receipt, fits};
use crate::server::HandOver;
use crate::source::{Ending, Event, Order, Phase, Plan, Source};
use dvs_abi::limits::{MOVE_PART_BYTES, MOVER_WAIT_NS};
use dvs_abi::{Code, Deadline, Effect, Endpoint, Error, NodeId, Result, Timeout};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_ipc::mover::{MovePhase, Mover, MoverAnswer, MoverAsk, MoverReport};
use dvs_ipc::wait::ThreadWait;
use dvs_ipc::{Lend, Port};
use std::collections::VecDeque;
use std::time::Duration;

/// How often it is looked whether there is something else to do, while the log is silent.
const LOOK: Duration = Duration::from_millis(200);
/// How long a target that is not needed any more has to hear so.
const FORGET: Duration = Duration::from_millis(200);

/// How a move ended that took the service away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// To there.
    Moved(NodeId),
    /// Somebody else serves.
    Elsewhere,
}

/// What the daemon ordered.
struct Going {
    id: u64,
    to: NodeId,
    peer: Endpoint,
    prepare_ns: u64,
    hold_ns: u64,
}

/// Waits for orders to move away, and does so, until the service is not here any more.
pub(crate) fn watch<S: HandOver>(host: &Host<'_>, desk: &Desk<'_, S>) {
    let pause = Duration::from_nanos(MOVER_WAIT_NS);
    let port = loop {
        match host.process.bind(host.dc, Endpoint::NONE) {
            Ok(port) => break port,
            // Without an endpoint of its own it cannot move, and serves all the same.
            Err(_) if desk.gate.wait_over(pause) => return,
            Err(_) => {}
        }
    };
    let mover = port.mover(host.service.slot());
    while !desk.gate.is_over() {
        let (version, bytes) = desk.look(|server| (server.version(), server.bytes()));
        match mover.ask(MoverAsk::Await { mover: port.endpoint().raw(), version, bytes }) {
            Ok(MoverAnswer::Go { id, to, peer, prepare_ns, hold_ns }) => {
                let peer = Endpoint::from_raw(peer);
                let going = Going { id, to: NodeId(to), peer, prepare_ns, hold_ns };
                host.tell(News::Leaves(going.to));
                match Leave::new(host, desk, &port, going).run() {
                    Some(left) => {
                        if let Left::Moved(node) = left {
                            host.tell(News::Moved(node));
                        }
                        *lock(&desk.left) = Some(left);
                        return desk.gate.over();
                    }
                    None => host.tell(News::Stays),
                }
            }
            Err(e) if e.code == Code::TIMEDOUT => {}
            // It is no service (yet), or no instance any more; or the daemon is gone. The thread that serves
            // is told as well: if it has stopped by itself, no move being under way, the service is not here.
            Ok(_) | Err(_) => {
                if desk.gate.wait_stopped(pause) {
                    *lock(&desk.left) = Some(Left::Elsewhere);
                    return desk.gate.over();
                }
            }
        }
    }
}

/// One move under way.
struct Leave<'a, S> {
    host: &'a Host<'a>,
    desk: &'a Desk<'a, S>,
    port: &'a Port,
    mover: Mover<'a, ThreadWait>,
    going: Going,
    source: Source,
    orders: VecDeque<Order>,
    /// Rounds and bytes sent.
    sent: (u32, u64),
    /// When callers began to be held, and the number of the move.
    held: Option<(u64, u64)>,
    part: Vec<u8>,
    /// What was reported last.
    said: Option<MovePhase>,
}

impl<'a, S: HandOver> Leave<'a, S> {
    fn new(host: &'a Host<'a>, desk: &'a Desk<'a, S>, port: &'a Port, going: Going) -> Self {
        let (dc, slot, from) = (host.dc, host.service.slot(), host.process.node());
        let plan = Plan {
            dc,
            slot,
            from,
            to: going.to,
            begin_by: port.now().saturating_add(going.prepare_ns),
            hold_max: going.hold_ns,
            small: host.manner.small,
            rounds_max: host.manner.rounds_max,
        };
        let mut orders = Vec::new();
        let source = Source::begin(plan, &mut orders);
        let (orders, mover) = (orders.into(), port.mover(slot));
        Leave {
            host,
            desk,
            port,
            mover,
            going,
            source,
            orders,
            sent: (0, 0),
            held: None,
            part: Vec::with_capacity(MOVE_PART_BYTES),
            said: None,
        }
    }

    /// Carries it out; how it left, if it did.
    fn run(mut self) -> Option<Left> {
        loop {
            while let Some(order) = self.orders.pop_front() {
                self.carry_out(order);
            }
            if let Phase::Ended(ending) = self.source.phase().clone() {
                return self.ended(&ending);
            }
            self.listen();
        }
    }

    fn feed(&mut self, event: Event) {
        let mut orders = Vec::new();
        self.source.step(event, self.port.now(), &mut orders);
        self.orders.extend(orders);
    }

    /// Nothing is to be done: the log will say.
    fn listen(&mut self) {
        let after = match (self.source.phase(), self.held) {
            (Phase::Sending(_) | Phase::Waiting(_) | Phase::Undoing(_), Some((_, number))) => number,
            // It is not known whether the move is in the log.
            _ => {
                self.desk.gate.wait_over(LOOK);
                return self.feed(Event::Tick);
            }
        };
        self.report_phase(0);
        match self.mover.place(after, Timeout::After(LOOK)) {
            Ok((Some(node), epoch)) => self.feed(Event::PlacedAt(node, Epoch(epoch))),
            Ok((None, epoch)) => self.feed(Event::Vacant(Epoch(epoch))),
            Err(e) if e.code == Code::TIMEDOUT => {
                // It takes long; who ordered it may want that no more.
                let stop = self.cause_to_stop();
                self.feed(if stop { Event::Cancel } else { Event::Tick });
            }
            // Withdrawn, or the daemon is gone: nobody is served here any more.
            Err(_) => self.feed(Event::Vacant(Epoch(u64::MAX))),
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Tell(Note::Prepare) => {
                self.report_phase(0);
                let version = self.desk.look(|server| server.version());
                let left = self.until(self.going.prepare_ns);
                let told = self.exchange(&Letter::Prepare { version }, left);
                self.hear(told, |receipt| matches!(receipt, Receipt::Ready).then_some(Note::Ready));
            }
            Order::Tell(Note::State { round, last, .. }) => self.send(round, last.map(|n| n.0)),
            Order::Tell(Note::Forget) => drop(self.exchange(&Letter::Forget, Timeout::After(FORGET))),
            // These are the target's.
            Order::Tell(Note::Ready | Note::Refused(_) | Note::Has { .. }) => {}
            Order::Collect => self.collect(),
            Order::Propose(Command::Move { .. }) => self.begin(),
            Order::Propose(Command::Undo { number, .. }) => {
                self.report_phase(0);
                // Whatever is answered: the log says where the service is.
                let _ = self.mover.ask(MoverAsk::Undo { number: number.0 });
            }
            Order::Propose(_) => {}
            Order::Serve => {
                self.desk.look(HandOver::stays);
                self.desk.gate.open();
            }
            Order::End => {}
        }
    }

    /// How long a letter may take: what is left of the time to prepare, or of that for which callers may be
    /// held.
    fn until(&self, longest_ns: u64) -> Timeout {
        let held = self.held.map(|(since, _)| since.saturating_add(self.going.hold_ns));
        let left = held.map_or(longest_ns, |until| Deadline::from_ns(until).remaining(self.port.now()));
        Timeout::After(Duration::from_nanos(left.clamp(1, longest_ns)))
    }

    fn exchange(&self, letter: &Letter, within: Timeout) -> Result<Receipt> {
        let mut m = letter.encode();
        match letter {
            Letter::Part { length, .. } if *length > 0 => {
                let mut lends = [Lend::Read(&self.part[..*length])];
                self.port.sendrec_with(self.going.peer, &mut m, &mut lends, within)?;
            }
            _ => self.port.sendrec(self.going.peer, &mut m, within)?,
        }
        Receipt::decode(&m).ok_or(Error::new(Code::BADREQUEST, Effect::Yes).at(self.going.peer))
    }

    /// What a letter came to; whether it was what it should be.
    fn hear(&mut self, told: Result<Receipt>, good: impl FnOnce(&Receipt) -> Option<Note>) -> bool {
        let event = match told {
            Ok(Receipt::Refused(why)) => Event::Note(Note::Refused(why)),
            Ok(receipt) => match good(&receipt) {
                Some(note) => {
                    self.feed(Event::Note(note));
                    return true;
                }
                None => Event::Note(Note::Refused("the target answered out of turn".into())),
            },
            Err(_) => Event::Cut,
        };
        self.feed(event);
        false
    }

    fn collect(&mut self) {
        if let Phase::Sending(_) = self.source.phase() {
            let (process, dc, service) = (self.host.process, self.host.dc, self.host.service);
            let gate: &Gate = &self.desk.gate;
            // PROCRUN only says that it is at a request, and comes by after it.
            gate.ask(|| drop(process.system().wakeup(dc, service)));
            let Timeout::After(within) = self.until(self.going.hold_ns) else { return };
            if !gate.wait_parked(within) {
                let why = "the server was at one request for too long".to_owned();
                return self.feed(Event::Note(Note::Refused(why)));
            }
        }
        let first = self.sent.0 == 0;
        let bytes = self.desk.look(|server| server.round(first));
        self.feed(Event::Changed(bytes));
    }

    /// Sends a round, part by part, with requests served between them.
    fn send(&mut self, round: u32, last: Option<u64>) {
        self.sent.0 = round;
        let mut bytes = 0;
        loop {
            self.part.clear();
            let part = &mut self.part;
            let more = self.desk.look(|server| server.part(part, MOVE_PART_BYTES));
            if !fits(&self.part) {
                let why = "the server gave a part that is too large".to_owned();
                return self.feed(Event::Note(Note::Refused(why)));
            }
            let (length, ends) = (self.part.len(), !more);
            let letter = Letter::Part { round, length, ends, last: last.filter(|_| ends) };
            let told = self.exchange(&letter, self.until(self.going.prepare_ns));
            bytes += length as u64;
            self.sent.1 += length as u64;
            let has = Receipt::Has { round };
            if ends {
                self.hear(told, |receipt| (*receipt == has).then_some(Note::Has { round }));
                return;
            }
            if !matches!(&told, Ok(receipt) if *receipt == has) {
                self.hear(told, |_| None);
                return;
            }
            // Callers that are held need not wait for reports.
            if last.is_none() && !self.report(MovePhase::Copying, round, bytes) {
                return self.feed(Event::Cancel);
            }
        }
    }

    fn begin(&mut self) {
        if !self.report_phase(0) {
            // It would only be undone again.
            return self.feed(Event::NotBegun("it was cancelled".into()));
        }
        let (to, hold_ns) = (self.going.to.0, self.going.hold_ns);
        match self.mover.ask(MoverAsk::Begin { to, hold_ns }) {
            Ok(MoverAnswer::Begun { number }) => {
                self.held = Some((self.port.now(), number));
                self.feed(Event::Begun(Epoch(number)));
            }
            Ok(_) => self.feed(Event::NotBegun("the daemon did not understand it".into())),
            Err(e) if e.effect == Effect::No => self.feed(Event::NotBegun(e.to_string())),
            // It may be in the log: then that undoes it in time.
            Err(_) => {
                self.desk.gate.wait_over(LOOK);
            }
        }
    }

    /// Says once in which phase it is; whether it is to go on.
    fn report_phase(&mut self, bytes: u64) -> bool {
        let phase = match self.source.phase() {
            Phase::Preparing => MovePhase::Preparing,
            Phase::Copying { .. } => MovePhase::Copying,
            Phase::Freezing => MovePhase::Freezing,
            Phase::Sending(_) => MovePhase::Sending,
            Phase::Waiting(_) => MovePhase::Waiting,
            Phase::Undoing(_) => MovePhase::Undoing,
            Phase::Ended(_) => return true,
        };
        if self.said == Some(phase) {
            return true;
        }
        self.report(phase, self.sent.0, bytes)
    }

    /// Whether whoever ordered it wants it no more.
    fn cause_to_stop(&mut self) -> bool {
        self.said.is_some_and(|phase| !self.report(phase, self.sent.0, 0))
    }

    fn report(&mut self, phase: MovePhase, round: u32, bytes: u64) -> bool {
        self.said = Some(phase);
        let report = MoverReport::Phase { phase, round, bytes };
        let answer = self.mover.ask(MoverAsk::Report { id: self.going.id, report });
        !matches!(answer, Ok(MoverAnswer::Stop))
    }

    /// It is over: tells the daemon.
    fn ended(&mut self, ending: &Ending) -> Option<Left> {
        let held_ns = self.held.map_or(0, |(since, _)| self.port.now().saturating_sub(since));
        let (moved, why, left) = match ending {
            Ending::Moved => (true, String::new(), Some(Left::Moved(self.going.to))),
            Ending::Stayed(why) => (false, why.clone(), None),
            Ending::Elsewhere => (false, "it is neither here nor there".into(), Some(Left::Elsewhere)),
        };
        let (rounds, bytes) = self.sent;
        let report = MoverReport::Ended { moved, why, rounds, bytes, held_ns };
        // A daemon that is gone needs none.
        let _ = self.mover.ask(MoverAsk::Report { id: self.going.id, report });
        left
    }
}
