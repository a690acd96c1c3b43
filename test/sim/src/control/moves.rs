//! Moves of single services from this node and to it: the real machines ([`dvs_migrate`]), with the state of
//! an instance, which is lost with its node and has to be whole wherever the service goes.
//!
//! ```text
//!   people ─► Source ◄── link ──► Target     on another node
//!               │  ▲                │  ▲
//!        Propose▼  │PlacedAt, Begun ▼  │
//!              the log: Move, Undo, Arrive
//! ```

pub mod link;

pub use link::{State, Word};

use super::wire::{Note, Packet};
use super::{MAIN, MS};
use crate::actor::Effects;
use dvs_abi::NodeId;
use dvs_control::command::{Command, Reply};
use dvs_control::epoch::Epoch;
use dvs_control::service::Place;
use dvs_control::state::{Answer, State as Agreed};
use dvs_migrate::source::{self, Phase, Plan, Source};
use dvs_migrate::target::{self, Target};
use link::Link;
use std::collections::BTreeMap;

const NOBODY: State = State { born: 0, writes: 0 };

#[derive(Debug)]
struct Outgoing {
    to: NodeId,
    link: Link,
    machine: Source,
    /// As it was when the last round was collected.
    collected: State,
    /// The last place it was told.
    told: Epoch,
}

#[derive(Debug)]
struct Incoming {
    from: NodeId,
    link: Link,
    machine: Target,
    /// What it was given.
    taken: State,
    /// What comes with the note it hears now.
    coming: State,
    told: Epoch,
}

/// The instances of single services here, and their moves.
#[derive(Debug, Default)]
pub(super) struct Moves {
    instances: BTreeMap<i32, State>,
    sources: BTreeMap<i32, Outgoing>,
    targets: BTreeMap<i32, Incoming>,
    /// To be put into the log.
    pub(super) wanted: Vec<Command>,
}

impl Moves {
    /// An instance begins that nobody was before.
    pub(super) fn born(&mut self, slot: i32, fx: &mut Effects<'_, Note>) {
        let born = fx.random().next();
        self.instances.entry(slot).or_insert(State { born, writes: 0 });
    }

    /// An instance ends.
    pub(super) fn ends(&mut self, slot: i32) {
        self.instances.remove(&slot);
        self.sources.remove(&slot);
    }

    pub(super) fn has(&self, slot: i32) -> bool {
        self.instances.contains_key(&slot)
    }

    /// Whether a move to here is under way.
    pub(super) fn comes(&self, slot: i32) -> bool {
        self.targets.contains_key(&slot)
    }

    /// A write is acknowledged, if the instance here may take one.
    pub(super) fn write(&mut self, slot: i32, fx: &mut Effects<'_, Note>) {
        let serves = self.sources.get(&slot).is_none_or(|s| s.machine.serves());
        if let Some(state) = self.instances.get_mut(&slot).filter(|_| serves) {
            state.writes += 1;
            fx.note(Note::Wrote(slot, state.born, state.writes));
        }
    }

    /// People want a service that serves here to be elsewhere.
    pub(super) fn begin(&mut self, slot: i32, to: NodeId, fx: &mut Effects<'_, Note>) {
        if self.sources.contains_key(&slot) || !self.has(slot) || to == fx.me() {
            return;
        }
        let hold_max = 100 * MS + fx.random().below(2_000 * MS);
        let (from, begin_by) = (fx.me(), fx.now() + 2_000 * MS);
        let plan = Plan { dc: MAIN, slot, from, to, begin_by, hold_max, small: 2, rounds_max: 4 };
        let mut orders = Vec::new();
        let machine = Source::begin(plan, &mut orders);
        let link = Link::new(fx.random().next(), fx.now());
        let source = Outgoing { to, link, machine, collected: NOBODY, told: Epoch::default() };
        self.sources.insert(slot, source);
        self.carry_out(slot, orders, fx);
    }

    fn step(&mut self, slot: i32, event: source::Event, fx: &mut Effects<'_, Note>) {
        let Some(source) = self.sources.get_mut(&slot) else { return };
        let mut orders = Vec::new();
        source.machine.step(event, fx.now(), &mut orders);
        self.carry_out(slot, orders, fx);
    }

    fn carry_out(&mut self, slot: i32, orders: Vec<source::Order>, fx: &mut Effects<'_, Note>) {
        for order in orders {
            let Some(s) = self.sources.get_mut(&slot) else { return };
            match order {
                source::Order::Tell(note) => {
                    let packet = s.link.say(slot, Word::of(note, s.collected));
                    fx.send(s.to, packet.encode());
                }
                source::Order::Collect => {
                    s.collected = self.instances.get(&slot).copied().unwrap_or(NOBODY);
                    let changed = fx.random().below(5);
                    self.step(slot, source::Event::Changed(changed), fx);
                }
                source::Order::Propose(command) => self.wanted.push(command),
                // The log says so too, and that is what counts here.
                source::Order::Serve => {}
                source::Order::End => drop(self.instances.remove(&slot)),
            }
        }
        if let Some(Phase::Ended(ending)) = self.sources.get(&slot).map(|s| s.machine.phase()) {
            fx.note(Note::Moved(slot, format!("{ending:?}")));
            self.sources.remove(&slot);
        }
    }

    fn step_target(&mut self, slot: i32, event: target::Event, fx: &mut Effects<'_, Note>) {
        let Some(t) = self.targets.get_mut(&slot) else { return };
        let mut orders = Vec::new();
        t.machine.step(event, fx.now(), &mut orders);
        self.carry_out_target(slot, orders, fx);
    }

    fn carry_out_target(&mut self, slot: i32, orders: Vec<target::Order>, fx: &mut Effects<'_, Note>) {
        for order in orders {
            let Some(t) = self.targets.get_mut(&slot) else { return };
            match order {
                target::Order::Tell(note) => {
                    let packet = t.link.say(slot, Word::of(note, NOBODY));
                    fx.send(t.from, packet.encode());
                }
                target::Order::Start => {
                    let fine = !fx.random().odds(50);
                    let started = if fine { Ok(()) } else { Err("no memory".to_owned()) };
                    self.step_target(slot, target::Event::Started(started), fx);
                }
                target::Order::Take { .. } => t.taken = t.coming,
                target::Order::Propose(command) => self.wanted.push(command),
                target::Order::Serve => drop(self.instances.insert(slot, t.taken)),
                target::Order::End => {}
            }
        }
        if self
            .targets
            .get(&slot)
            .is_some_and(|t| matches!(t.machine.phase(), target::Phase::Over | target::Phase::Serves))
        {
            self.targets.remove(&slot);
        }
    }

    /// A word of the other side.
    pub(super) fn hear(
        &mut self,
        (from, slot): (NodeId, i32),
        (session, number, word): (u64, u64, Word),
        state: &Agreed,
        fx: &mut Effects<'_, Note>,
    ) {
        if let Some(s) = self.sources.get_mut(&slot).filter(|s| s.link.session == session) {
            let counts = s.link.hear(number, &word, fx.now());
            match (counts, s.link.cut) {
                (true, _) => {
                    word.note().into_iter().for_each(|n| self.step(slot, source::Event::Note(n), fx));
                }
                (false, true) => self.step(slot, source::Event::Cut, fx),
                _ => {}
            }
        } else if let Some(t) = self.targets.get_mut(&slot).filter(|t| t.link.session == session) {
            if let Word::State(.., state) = &word {
                t.coming = *state;
            }
            let counts = t.link.hear(number, &word, fx.now());
            match (counts, t.link.cut) {
                (true, _) => {
                    word.note().into_iter().for_each(|n| self.step_target(slot, target::Event::Note(n), fx));
                }
                (false, true) => self.step_target(slot, target::Event::Cut, fx),
                _ => {}
            }
        } else if word == Word::Prepare && number == 1 {
            self.prepare((from, slot), session, state, fx);
        } else if word != Word::Cut {
            fx.send(from, Packet::Move { session, slot, number: u64::MAX, word: Word::Cut }.encode());
        }
    }

    fn prepare(
        &mut self,
        (from, slot): (NodeId, i32),
        session: u64,
        state: &Agreed,
        fx: &mut Effects<'_, Note>,
    ) {
        // One that is not full yet may be given up; one that is may be the only one that has the state.
        self.step_target(slot, target::Event::Cut, fx);
        let service = state.container(MAIN).and_then(|c| c.services.get(&slot));
        let (Some(service), false) = (service, self.comes(slot) || self.has(slot)) else {
            return fx.send(from, Packet::Move { session, slot, number: 2, word: Word::Cut }.encode());
        };
        let (told, mut orders) = (service.epoch, Vec::new());
        let machine = Target::begin(fx.me(), (MAIN, slot), told, &mut orders);
        let mut link = Link::new(session, fx.now());
        link.hear(1, &Word::Prepare, fx.now());
        let target = Incoming { from, link, machine, taken: NOBODY, coming: NOBODY, told };
        self.targets.insert(slot, target);
        self.carry_out_target(slot, orders, fx);
    }

    /// An entry was done: where services are now.
    pub(super) fn follow(&mut self, state: &Agreed, fx: &mut Effects<'_, Note>) {
        let slots: Vec<i32> = self.sources.keys().chain(self.targets.keys()).copied().collect();
        for slot in slots {
            let service = state.container(MAIN).and_then(|c| c.services.get(&slot));
            let Some((place, epoch)) = service.map(|s| (s.place, s.epoch)) else { continue };
            if let Some(s) = self.sources.get_mut(&slot).filter(|s| s.told != epoch) {
                s.told = epoch;
                match place {
                    Place::At(node) => self.step(slot, source::Event::PlacedAt(node, epoch), fx),
                    Place::Vacant => self.step(slot, source::Event::Vacant(epoch), fx),
                    Place::Moving { .. } => {}
                }
            }
            if let Some(t) = self.targets.get_mut(&slot).filter(|t| t.told != epoch) {
                t.told = epoch;
                if let Place::At(node) = place {
                    self.step_target(slot, target::Event::PlacedAt(node, epoch), fx);
                }
            }
        }
    }

    /// What became of a command that was wanted here.
    pub(super) fn answered(&mut self, command: &Command, answer: &Answer, fx: &mut Effects<'_, Note>) {
        match (command, answer) {
            (Command::Move { slot, .. }, Ok(Reply::Begun(number))) => {
                self.step(*slot, source::Event::Begun(*number), fx);
            }
            (Command::Move { slot, .. }, Err(e)) => {
                self.step(*slot, source::Event::NotBegun(e.text.clone()), fx);
            }
            (Command::Arrive { slot, .. }, Err(_)) => self.step_target(*slot, target::Event::NotOffered, fx),
            _ => {}
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, fx: &mut Effects<'_, Note>) {
        for slot in self.sources.keys().copied().collect::<Vec<_>>() {
            let Some(s) = self.sources.get_mut(&slot) else { continue };
            let cut = s.link.tick(fx.now());
            if !s.link.cut {
                let packet = s.link.say(slot, Word::Alive);
                fx.send(s.to, packet.encode());
            }
            if cut {
                self.step(slot, source::Event::Cut, fx);
            }
            self.step(slot, source::Event::Tick, fx);
        }
        for slot in self.targets.keys().copied().collect::<Vec<_>>() {
            let Some(t) = self.targets.get_mut(&slot) else { continue };
            let cut = t.link.tick(fx.now());
            if !t.link.cut {
                let packet = t.link.say(slot, Word::Alive);
                fx.send(t.from, packet.encode());
            }
            if cut {
                self.step_target(slot, target::Event::Cut, fx);
            }
            self.step_target(slot, target::Event::Tick, fx);
        }
    }
}
