//! A program that takes a service over: carries out what [`Target`] orders. As `dvs_migrate`'s `come` does.

use super::daemon::Daemon;
use super::hosts::{Ask, At, Host, Port};
use super::wire::{Key, Said};
use crate::actor::Effects;
use crate::control::moves::{State, Word as Letter};
use crate::control::wire::Note;
use crate::control::{MAIN, MS};
use dvs_abi::{Endpoint, NodeId};
use dvs_control::command::Command;
use dvs_control::epoch::Epoch;
use dvs_kern::mover::MoverAsk;
use dvs_kern::node::event::SessionId;
use dvs_migrate::target::{Event, Order, Phase, Target};

/// The source may be silent for so long.
const SILENT_NS: u64 = 2_000 * MS;

/// One move to here.
#[derive(Debug)]
pub(super) struct Come {
    peer: i32,
    machine: Target,
    /// What it was given.
    taken: State,
    heard: u64,
}

impl Come {
    pub(super) fn new(me: NodeId, slot: i32, peer: i32, fx: &Effects<'_, Note>) -> Self {
        let mut orders = Vec::new();
        let mut machine = Target::begin(me, (MAIN, slot), Epoch::default(), &mut orders);
        // What it says then, that it is ready, is the answer to the first letter.
        machine.step(Event::Started(Ok(())), fx.now(), &mut orders);
        let taken = State { born: 0, writes: 0 };
        Come { peer, machine, taken, heard: fx.now() }
    }
}

fn come(host: &mut Host) -> Option<&mut Come> {
    match &mut host.at {
        At::Takes(come) => Some(come),
        _ => None,
    }
}

impl Daemon {
    fn come_of(&mut self, session: SessionId) -> Option<&mut Come> {
        self.hosts.get_mut(&session).and_then(come)
    }

    /// Letters that have come are read.
    pub(super) fn read_letters(&mut self, fx: &mut Effects<'_, Note>) {
        let reads = |h: &Host| match (&h.at, h.port) {
            (At::Takes(come), Port::Has(port)) => Some((come.peer, port.raw())),
            _ => None,
        };
        let ends: Vec<_> = self.hosts.iter().filter_map(|(s, h)| Some((*s, reads(h)?))).collect();
        for (session, ends) in ends {
            for (key, number, letter) in self.calls.letters(ends) {
                self.letter(session, (key, number), letter, fx);
            }
        }
    }

    fn letter(&mut self, session: SessionId, call: (Key, u64), letter: Letter, fx: &mut Effects<'_, Note>) {
        let Some(c) = self.come_of(session) else { return };
        c.heard = fx.now();
        if let Letter::Prepare = letter {
            let refuses = fx.random().odds(50);
            let answer = if refuses { Letter::Refused("another version".into()) } else { Letter::Ready };
            return self.letter_answer(call, answer, fx);
        }
        if let Letter::State(.., state) = &letter {
            c.taken = *state;
        }
        if letter == Letter::Forget {
            self.letter_answer(call, Letter::Has(0), fx);
        }
        let Some(note) = letter.note() else { return };
        if !self.quiet && fx.random().odds(12) {
            self.people.end(session);
        }
        self.come_step(session, Event::Note(note), Some(call), fx);
    }

    fn letter_answer(&mut self, (key, number): (Key, u64), answer: Letter, fx: &mut Effects<'_, Note>) {
        self.answers(key, number, &Said::Letter(answer), fx);
    }

    fn come_step(
        &mut self,
        session: SessionId,
        event: Event,
        mut call: Option<(Key, u64)>,
        fx: &mut Effects<'_, Note>,
    ) {
        let Some(c) = self.come_of(session) else { return };
        let (mut orders, taken) = (Vec::new(), c.taken);
        c.machine.step(event, fx.now(), &mut orders);
        for order in orders {
            match order {
                Order::Tell(note) => {
                    if let Some(call) = call.take() {
                        self.letter_answer(call, Letter::of(note, taken), fx);
                    }
                }
                Order::Propose(Command::Arrive { number, .. }) => {
                    self.host_ask(session, Ask::Arrive, MoverAsk::Arrive { number: number.0, board: 0 }, fx);
                }
                Order::End => {
                    if let Some(host) = self.hosts.get_mut(&session) {
                        host.stands_by();
                    }
                }
                Order::Take { .. } | Order::Start | Order::Serve | Order::Propose(_) => {}
            }
        }
    }

    /// Its arrival is in the log, or was refused.
    pub(super) fn arrived(&mut self, session: SessionId, is: bool, fx: &mut Effects<'_, Note>) {
        if !is {
            return self.come_step(session, Event::NotOffered, None, fx);
        }
        let Some(host) = self.hosts.get_mut(&session) else { return };
        let Some(c) = come(host) else { return };
        (host.kept, host.parked) = (Some(c.taken), false);
        host.at = At::Instance;
        if let Some(p) = self.people.processes.get_mut(&session) {
            p.endpoint = Some(Endpoint::new(0, host.slot));
        }
        self.host_lets_go(session, fx);
    }

    pub(super) fn come_tick(&mut self, session: SessionId, fx: &mut Effects<'_, Note>) {
        let now = fx.now();
        if let Some(c) = self.come_of(session)
            && c.machine.phase() != Phase::Full
            && now >= c.heard + SILENT_NS
        {
            self.come_step(session, Event::Cut, None, fx);
        }
    }
}
