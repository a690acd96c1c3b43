//! A node's daemon as the control plane needs it: follows the log, keeps its lease, and asks for things.
//!
//! ```text
//!             has all there is        its own Begin comes          first Renewed
//!  Catching ───────────────────► Beginning ───────────────► Up ───────────────► (serves)
//!     ▲                                                      │
//!     └──── lease over, or Down, or Up of another incarnation: everything here ends
//! ```
//! It has one command under way, and repeats it until that is in the log.

use super::instances::Instances;
use super::programs::Programs;
use super::wire::{Note, Packet, digest};
use super::{LEASE_NS, MAIN, MS, ORDER, card, container, everywhere};
use crate::actor::Effects;
use crate::node::Follower;
use dvs_abi::{Code, DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry};
use dvs_control::epoch::Epoch;
use dvs_control::slots::SlotRequest;
use dvs_control::state::{Answer, State};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const TICK_NS: u64 = 50 * MS;
const RENEW_NS: u64 = 300 * MS;
const REPEAT_NS: u64 = 500 * MS;
/// Commands that wait; what people want besides is dropped.
const QUEUE_MAX: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Catching,
    Beginning { nonce: u64 },
    Up(Epoch),
}

/// A command, and whose call it is.
type Asked = (Command, Option<u64>);

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    me: NodeId,
    state: State,
    applied: u64,
    phase: Phase,
    /// Until when it may serve; nothing before it was told.
    lease: Option<u64>,
    /// Asked for when, and what has to be done here before it counts.
    granted: Option<(u64, Epoch)>,
    renewed: u64,
    queue: VecDeque<Asked>,
    /// Of the command under way, and when it was sent last.
    number: u64,
    sent: Option<u64>,
    programs: Programs,
    instances: Instances,
    quiet: bool,
}

impl Daemon {
    /// One that knows nothing.
    pub fn new(me: NodeId) -> Self {
        Daemon {
            me,
            state: State::found(card(0)),
            applied: 0,
            phase: Phase::Catching,
            lease: None,
            granted: None,
            renewed: 0,
            queue: VecDeque::new(),
            number: 0,
            sent: None,
            programs: Programs::new(me),
            instances: Instances::default(),
            quiet: false,
        }
    }

    /// How many entries it has applied, and what follows from them.
    pub fn state(&self) -> (u64, &State) {
        (self.applied, &self.state)
    }

    /// Its incarnation, if it may serve at a time of its clock.
    pub fn serves(&self, now: u64) -> Option<Epoch> {
        match self.phase {
            Phase::Up(incarnation) if self.lease.is_some_and(|end| now < end) => Some(incarnation),
            _ => None,
        }
    }

    /// Its incarnation, if it runs programs and instances, whether or not it may.
    pub fn runs(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Up(incarnation) => Some(incarnation),
            Phase::Catching | Phase::Beginning { .. } => None,
        }
    }

    /// The slots in which programs run.
    pub fn programs(&self) -> impl Iterator<Item = i32> {
        self.programs.running()
    }

    /// How many binds wait.
    pub fn waiting(&self) -> usize {
        self.programs.waiting()
    }

    /// The services it serves, since which epoch.
    pub fn serving(&self) -> &BTreeMap<i32, Epoch> {
        self.instances.serving()
    }

    /// Commands that are not done.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What was granted counts once all is done here that was decided by then.
    fn take_grant(&mut self, fx: &mut Effects<'_, Note>) {
        let done = |(_, upto): &mut (u64, Epoch)| *upto <= Epoch(self.applied);
        if let (Phase::Up(incarnation), Some((asked, _))) = (self.phase, self.granted.take_if(done)) {
            if self.lease.is_none() {
                fx.note(Note::Begins(incarnation));
            }
            self.lease = self.lease.max(Some(asked + LEASE_NS));
            self.look_at_clock(fx);
        }
    }

    /// Before anything else: does it still hold its lease? Has somebody waited long enough?
    fn look_at_clock(&mut self, fx: &mut Effects<'_, Note>) {
        if self.lease.is_some_and(|end| fx.now() >= end) {
            self.fence("its lease is over", fx);
        }
        self.programs.expire(fx);
    }

    fn fence(&mut self, why: &'static str, fx: &mut Effects<'_, Note>) {
        fx.note(Note::Fenced(why));
        self.programs.end(fx, self.me);
        self.instances = Instances::default();
        self.phase = Phase::Catching;
        (self.lease, self.granted, self.sent) = (None, None, None);
        self.queue.clear();
    }

    fn entries(&mut self, first: u64, entries: &[Entry], head: u64, fx: &mut Effects<'_, Note>) {
        let Some(skip) = self.applied.checked_sub(first) else {
            fx.send(ORDER, Packet::Fetch(self.applied).encode());
            return;
        };
        for entry in entries.iter().skip(skip as usize) {
            self.apply(entry, fx);
        }
        if self.applied < head {
            fx.send(ORDER, Packet::Fetch(self.applied).encode());
        } else if self.phase == Phase::Catching {
            self.phase = Phase::Beginning { nonce: fx.random().next() };
            self.propose(fx);
        }
        self.take_grant(fx);
        if let Some(me) = self.serves(fx.now()).map(|incarnation| (self.me, incarnation)) {
            let mut out = Vec::new();
            self.instances.follow(me, &self.state, fx, &mut out);
            self.want(out);
        }
        self.go_on(fx);
    }

    fn apply(&mut self, entry: &Entry, fx: &mut Effects<'_, Note>) {
        let mut changes = Vec::new();
        self.applied += 1;
        let answer = self.state.apply(Epoch(self.applied), entry, &mut changes);
        let said = digest(0, format!("{answer:?}{changes:?}").as_bytes());
        fx.note(Note::Applied(self.applied, said));
        for change in &changes {
            self.hear(change, fx);
        }
        let mine = entry.from == self.me && self.phase == Phase::Up(entry.incarnation);
        if mine
            && entry.number == self.number
            && self.sent.take().is_some()
            && let Some((command, call)) = self.queue.pop_front()
        {
            self.instances.moves.answered(&command, &answer, fx);
            call.into_iter().for_each(|call| answered(call, &answer, fx));
        }
        if self.runs().is_some() {
            self.instances.moves.follow(&self.state, fx);
            self.want_moves();
        }
    }

    fn hear(&mut self, change: &Change, fx: &mut Effects<'_, Note>) {
        match (change, self.phase) {
            (Change::Up { node, incarnation }, phase) if *node == self.me => match phase {
                // Else an earlier life of this node has, and its begin came late.
                Phase::Beginning { nonce } if self.begun_by() == Some(nonce) => {
                    self.phase = Phase::Up(*incarnation);
                    self.number = 0;
                    self.renew(fx);
                }
                Phase::Up(_) => self.fence("it began anew", fx),
                Phase::Beginning { .. } | Phase::Catching => {}
            },
            (Change::Down { node, incarnation }, Phase::Up(mine))
                if (*node, *incarnation) == (self.me, mine) =>
            {
                self.fence("it was taken for lost", fx);
            }
            (Change::Allowed { dc: DcId(0), node, on: false }, Phase::Up(_)) if *node == self.me => {
                let mut out = Vec::new();
                self.programs.close(fx, &mut out);
                self.want_slots(out);
            }
            (Change::Slots { dc: DcId(0), change }, Phase::Up(_)) => {
                let mut out = Vec::new();
                self.programs.hear(change, fx, &mut out);
                self.want_slots(out);
            }
            _ => {}
        }
    }

    fn begun_by(&self) -> Option<u64> {
        self.state.member(self.me).and_then(|m| m.begun_by)
    }

    fn want_moves(&mut self) {
        let wanted = std::mem::take(&mut self.instances.moves.wanted);
        self.want(wanted);
    }

    fn want_slots(&mut self, out: Vec<SlotRequest>) {
        self.queue.extend(out.into_iter().map(|request| (Command::Slots { dc: MAIN, request }, None)));
    }

    /// Unless it waits already, or there is no room.
    fn want(&mut self, commands: Vec<Command>) {
        for c in commands {
            if self.queue.len() < QUEUE_MAX && self.queue.iter().all(|(q, _)| *q != c) {
                self.queue.push_back((c, None));
            }
        }
    }

    /// The services whose instance here has ended, which is not in the log yet: another one must wait for
    /// that.
    fn retiring(&self) -> BTreeSet<i32> {
        let slot = |(c, _): &Asked| match c {
            Command::Retire { slot, .. } => Some(*slot),
            _ => None,
        };
        self.queue.iter().filter_map(slot).collect()
    }

    fn renew(&mut self, fx: &mut Effects<'_, Note>) {
        if let Phase::Up(incarnation) = self.phase {
            self.renewed = fx.now();
            fx.send(ORDER, Packet::Renew(incarnation, fx.now()).encode());
        }
    }

    /// The next command, if none is under way.
    fn go_on(&mut self, fx: &mut Effects<'_, Note>) {
        if let Phase::Up(_) = self.phase
            && self.sent.is_none()
            && let Some((command, call)) = self.queue.front()
        {
            self.number += 1;
            match (command, call) {
                (Command::Create { dc: Some(dc), .. }, Some(call)) => fx.note(Note::Asks(*call, dc.0, true)),
                (Command::End { dc }, Some(call)) => fx.note(Note::Asks(*call, dc.0, false)),
                _ => {}
            }
            self.propose(fx);
        }
    }

    /// Sends what is under way, for the first time or again.
    fn propose(&mut self, fx: &mut Effects<'_, Note>) {
        let (incarnation, number, command) = match (self.phase, self.queue.front()) {
            (Phase::Beginning { nonce }, _) => {
                let last = self.state.member(self.me).map(|m| m.last_incarnation()).unwrap_or_default();
                (last, 0, Command::Begin { address: format!("{}:2", self.me), nonce })
            }
            (Phase::Up(incarnation), Some((command, _))) => (incarnation, self.number, command.clone()),
            _ => return,
        };
        self.sent = Some(fx.now());
        let entry = Entry { from: self.me, incarnation, number, at: fx.now(), command };
        fx.send(ORDER, Packet::Propose(entry).encode());
    }

    fn allowed(&self) -> bool {
        self.state.container(MAIN).is_some_and(|c| c.spec.runs_on(self.me.0))
    }

    /// So that all can come to rest: nothing is drained, withdrawn or forbidden.
    fn undo_people(&mut self) {
        let mut wanted = Vec::new();
        if self.state.member(self.me).is_some_and(|m| m.draining) {
            wanted.push(Command::Drain { node: self.me, on: false });
        }
        if !self.allowed() {
            wanted.push(Command::Allow { dc: MAIN, node: self.me, on: true });
        }
        if self.state.container(MAIN).is_some_and(|c| c.spec.nodes == everywhere()) {
            wanted.extend(self.instances.missing(&self.state));
        }
        self.want(wanted);
    }

    /// What people ask for.
    fn people(&mut self, fx: &mut Effects<'_, Note>) {
        let wish = match fx.random().below(100) {
            0..4 => self.instances.people(&self.state, fx),
            4 if fx.random().odds(200) => {
                let (node, on) = (NodeId(fx.random().below(5) as u16), fx.random().odds(300));
                Some(Command::Drain { node, on })
            }
            5 if fx.random().odds(300) => {
                let node = NodeId(fx.random().below(5) as u16);
                let on = self.state.container(MAIN).is_some_and(|c| !c.spec.runs_on(node.0));
                Some(Command::Allow { dc: MAIN, node, on })
            }
            6..9 if self.queue.len() < QUEUE_MAX => {
                let (dc, create) = (DcId(8 + fx.random().below(3) as u16), fx.random().odds(500));
                let spec = container(format!("dc{}", dc.0));
                let command =
                    if create { Command::Create { dc: Some(dc), spec } } else { Command::End { dc } };
                let call = fx.random().next();
                self.queue.push_back((command, Some(call)));
                None
            }
            _ => None,
        };
        self.want(wish.into_iter().collect());
    }
}

impl Follower for Daemon {
    fn look_at_clock(&mut self, fx: &mut Effects<'_, Note>) {
        Daemon::look_at_clock(self, fx);
    }

    fn holds(&self, now: u64) -> Option<Epoch> {
        self.serves(now)
    }

    fn state(&self) -> (u64, &State) {
        Daemon::state(self)
    }

    fn lose(&mut self, node: NodeId, incarnation: Epoch, fx: &mut Effects<'_, Note>) -> bool {
        let able = self.runs().is_some();
        if able {
            self.queue.push_back((Command::Lost { node, incarnation }, None));
            self.go_on(fx);
        }
        able
    }

    fn refused(&mut self, number: u64, fx: &mut Effects<'_, Note>) {
        if self.sent.is_some() && number == self.number {
            self.sent = None;
            self.queue.pop_front();
            self.go_on(fx);
        }
    }

    fn start(&mut self, fx: &mut Effects<'_, Note>) {
        fx.send(ORDER, Packet::Fetch(0).encode());
        fx.after(TICK_NS, 0);
    }

    fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        self.look_at_clock(fx);
        match packet {
            Packet::Entries(first, entries, head) => self.entries(first, &entries, head, fx),
            Packet::Renewed(incarnation, asked, upto) if self.phase == Phase::Up(incarnation) => {
                self.granted = self.granted.max(Some((asked, upto)));
                self.take_grant(fx);
            }
            Packet::Move { session, slot, number, word } if self.runs().is_some() => {
                let said = (session, number, word);
                self.instances.moves.hear((from, slot), said, &self.state, fx);
                self.want_moves();
                self.go_on(fx);
            }
            Packet::HandOver(slot, number)
                if self.serves(fx.now()).is_some() && !self.retiring().contains(&slot) =>
            {
                let arrival = self.instances.handed_over(self.me, slot, number, &self.state);
                self.queue.extend(arrival.map(|c| (c, None)));
                self.go_on(fx);
            }
            _ => {}
        }
    }

    fn timer(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(TICK_NS, 0);
        self.look_at_clock(fx);
        let now = fx.now();
        if now >= self.renewed + RENEW_NS {
            self.renew(fx);
        }
        if self.sent.is_some_and(|at| now >= at + REPEAT_NS) {
            self.propose(fx);
        }
        if self.applied == 0 || self.phase == Phase::Catching {
            fx.send(ORDER, Packet::Fetch(self.applied).encode());
        }
        if self.serves(now).is_none() {
            return;
        }
        let mut requests = Vec::new();
        self.programs.tick(fx, &mut requests);
        if !self.quiet && self.allowed() {
            while fx.random().odds(350) {
                self.programs.another(fx, &mut requests);
            }
            self.people(fx);
        }
        self.want_slots(requests);
        self.instances.write(self.quiet, fx);
        self.instances.moves.tick(fx);
        self.want_moves();
        let wanted = self.instances.tick((self.me, &self.retiring()), &self.state, fx);
        self.want(wanted);
        if self.quiet {
            self.undo_people();
        }
        self.go_on(fx);
    }

    fn quiet(&mut self) {
        self.quiet = true;
    }

    fn first_limit(&self) -> Option<u64> {
        self.programs.first_limit()
    }
}

/// What came of a call about a container.
fn answered(call: u64, answer: &Answer, fx: &mut Effects<'_, Note>) {
    let not = [Code::DCRUN, Code::RSCBUSY, Code::BADDCID].map(|c| c as i32);
    match answer {
        Ok(_) => fx.note(Note::Answered(call, true)),
        Err(refusal) if not.contains(&refusal.code) => fx.note(Note::Answered(call, false)),
        // It may have been done before its incarnation was over.
        Err(_) => {}
    }
}
