//! A daemon of the whole cluster: what it does about the log, its lease and the other nodes. As in
//! `app/dvsd/src/cluster`, file by file (`follow`, `link`, `services`, `beat`, `ask`).

use super::calls::Calls;
use super::clerk::{Clerk, Order, not_begun};
use super::hosts::Host;
use super::line::FromLine;
use super::lines::Lines;
use super::moves::Moves;
use super::people::People;
use super::store::Shared;
use super::wire::Word;
use crate::actor::Effects;
use crate::control::wire::{Note, Packet, digest};
use crate::control::{DAEMONS, MS, ORDER, card, terms};
use crate::node::Follower;
use dvs_abi::{Code, DcId, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry, Refusal, Reply};
use dvs_control::epoch::Epoch;
use dvs_control::member::Member;
use dvs_control::state::{Answer, State};
use dvs_kern::control;
use dvs_kern::control::Request;
use dvs_kern::node::Node;
use dvs_kern::node::config::{NodeConfig, NodeEntry};
use dvs_kern::node::event::{Event, PROXY, SessionId};
use dvs_kern::node::record::Record;
use dvs_radar::links::{Links, Said};
use dvs_radar::{Event as News, Radar};
use std::collections::{BTreeMap, VecDeque};

pub(super) const TICK_NS: u64 = 50 * MS;
const BEAT_NS: u64 = 200 * MS;

/// The daemon.
pub struct Daemon {
    pub(super) me: NodeId,
    pub(super) state: State,
    pub(super) kern: Node,
    pub(super) radar: Radar,
    pub(super) people: People,
    pub(super) calls: Calls,
    pub(super) hosts: BTreeMap<SessionId, Host>,
    pub(super) moves: Moves,
    pub(super) store: Shared,
    /// Events for the rules, and whether they are at one.
    pub(super) pending: VecDeque<Event>,
    pub(super) feeding: bool,
    applied: u64,
    incarnation: Option<Epoch>,
    beginning: Option<(u64, u64)>,
    clerk: Clerk,
    tickets: u64,
    /// Tickets of the rules, by ticket of the clerk.
    asked: BTreeMap<u64, u64>,
    held: Vec<Order>,
    links: Links<Record>,
    pub(super) lines: Lines,
    /// What came for this node's part in deciding the order.
    mail: Vec<(NodeId, Packet)>,
    beat: u64,
    fenced: bool,
    /// It is up once it has all there is.
    heard_head: bool,
    pub(super) quiet: bool,
    /// Something has happened to it that is more than bytes on a connection.
    stirred: bool,
}

impl Follower for Daemon {
    fn wakes(&mut self) {
        self.stirred = false;
    }

    fn look_at_clock(&mut self, fx: &mut Effects<'_, Note>) {
        self.pass_time(fx);
    }

    fn holds(&self, now: u64) -> Option<Epoch> {
        self.incarnation.filter(|_| self.radar.holds_lease(now))
    }

    fn state(&self) -> (u64, &State) {
        Daemon::state(self)
    }

    fn lose(&mut self, node: NodeId, incarnation: Epoch, fx: &mut Effects<'_, Note>) -> bool {
        let of = self.incarnation;
        if of.is_some() {
            self.tickets += 1;
            let command = Command::Lost { node, incarnation };
            self.clerk.order(Order { ticket: self.tickets, follows: None, of, command });
            self.settle(fx);
        }
        of.is_some()
    }

    fn leads(&mut self, fx: &mut Effects<'_, Note>) {
        if self.incarnation.is_some() {
            self.undo_late_moves(fx.now());
            self.settle(fx);
        }
    }

    fn refused(&mut self, number: u64, fx: &mut Effects<'_, Note>) {
        self.clerk.refused(number);
        self.settle(fx);
    }

    fn start(&mut self, fx: &mut Effects<'_, Note>) {
        // As a daemon that takes the seconds of its clock.
        let nodes = (0..=DAEMONS).map(|n| entry(NodeId(n))).collect();
        let first_generation = generation(fx.now());
        self.kern = Node::new(NodeConfig { me: self.me, pid: 1, nodes, first_generation });
        self.lines.start(self.me, fx);
        fx.send(ORDER, Packet::Fetch(0).encode());
        fx.after(TICK_NS, 0);
    }

    fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        self.pass_time(fx);
        // Most segments carry heartbeats and acknowledgements.
        self.stirred |= !matches!(packet, Packet::Wire(_));
        match packet {
            Packet::Entries(first, entries, head) => self.entries(first, &entries, head, fx),
            Packet::Renewed(incarnation, sent, upto) if self.incarnation == Some(incarnation) => {
                self.steer(News::Granted { sent, upto }, fx);
            }
            Packet::Wire(segment) => {
                self.lines.hear(from, segment, fx);
                self.hear_lines(fx);
            }
            _ => {}
        }
        self.settle(fx);
    }

    fn timer(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(TICK_NS, 0);
        self.stirred = true;
        self.pass_time(fx);
        let beats = fx.now() >= self.beat + BEAT_NS;
        if beats {
            self.beat = fx.now();
            if let Some(incarnation) = self.incarnation {
                fx.send(ORDER, Packet::Renew(incarnation, fx.now()).encode());
                let word = Word::Applied(self.state.last());
                self.links.all_up().into_iter().for_each(|node| self.say(node, word.clone(), fx));
            }
            if self.applied == 0 {
                fx.send(ORDER, Packet::Fetch(0).encode());
            }
        }
        self.lines.tick(fx);
        self.hear_lines(fx);
        self.live(fx);
        self.settle(fx);
    }

    fn quiet(&mut self) {
        self.quiet = true;
    }

    fn first_limit(&self) -> Option<u64> {
        self.people.first_limit()
    }

    fn broken(&mut self, other: NodeId, fx: &mut Effects<'_, Note>) {
        self.lines.broken(other, fx);
    }

    fn carry(&mut self, to: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        let word = match packet {
            Packet::Log(_, bytes) => Word::Log(bytes),
            Packet::Renew(_, sent) => Word::Lease(sent),
            Packet::Renewed(_, sent, upto) => Word::Granted(sent, upto),
            // Sessions say that.
            _ => return,
        };
        self.say(to, word, fx);
    }

    fn carried(&mut self) -> Vec<(NodeId, Packet)> {
        std::mem::take(&mut self.mail)
    }
}

fn entry(node: NodeId) -> NodeEntry {
    let card = card(node.0);
    NodeEntry { id: node, name: card.name, address: card.address }
}

impl Daemon {
    /// One that knows nothing but who the others are.
    pub fn new(me: NodeId, store: Shared) -> Self {
        let nodes = (0..=DAEMONS).map(|n| entry(NodeId(n))).collect();
        Daemon {
            me,
            state: State::found(card(0)),
            kern: Node::new(NodeConfig { me, pid: 1, nodes, first_generation: 0 }),
            radar: Radar::new(me, terms()),
            people: People::default(),
            calls: Calls::default(),
            hosts: BTreeMap::new(),
            moves: Moves::default(),
            store,
            pending: VecDeque::new(),
            feeding: false,
            applied: 0,
            incarnation: None,
            beginning: None,
            clerk: Clerk::default(),
            tickets: 0,
            asked: BTreeMap::new(),
            held: Vec::new(),
            links: Links::default(),
            lines: Lines::new(me),
            mail: Vec::new(),
            beat: 0,
            fenced: false,
            heard_head: false,
            quiet: false,
            stirred: true,
        }
    }

    /// How many entries it has applied, and what follows from them.
    pub fn state(&self) -> (u64, &State) {
        (self.applied, &self.state)
    }

    /// Its incarnation, if it has begun.
    pub fn incarnation(&self) -> Option<Epoch> {
        self.incarnation
    }

    /// Whether what has just happened to its node could change anything but its connections.
    pub fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// The rules of its node.
    pub fn kern(&self) -> &Node {
        &self.kern
    }

    /// What RADAR says on its node.
    pub fn radar(&self) -> &Radar {
        &self.radar
    }

    /// Nodes that are up, as it knows them.
    pub fn reaches(&self) -> Vec<NodeId> {
        self.links.all_up()
    }

    /// Programs that want something and have it not, in words.
    pub fn unsettled(&self) -> Option<String> {
        if self.clerk.len() > 3 {
            return Some(format!("{} commands", self.clerk.len()));
        }
        let moves = self.hosts.iter().find(|(_, h)| h.moves());
        self.people.unsettled().or_else(|| moves.map(|(s, h)| format!("session {s}: {h:?}")))
    }

    /// The services whose instance here serves, each with the epoch of that.
    pub fn serving(&self) -> Vec<(i32, u64)> {
        self.people.serving(&self.kern)
    }

    /// What is due by the clock, before anything else is heard: the daemon's loop looks at it each time.
    fn pass_time(&mut self, fx: &mut Effects<'_, Note>) {
        if self.radar.wake_at().is_some_and(|at| at <= fx.now()) {
            self.stirred = true;
            self.steer(News::Tick, fx);
        }
        if self.kern.next_deadline().is_some_and(|at| at <= fx.now()) {
            self.stirred = true;
            self.feed(Event::Tick, fx);
        }
    }

    /// What is wanted goes to the order.
    fn settle(&mut self, fx: &mut Effects<'_, Note>) {
        self.hear_lines(fx);
        self.look_at_calls(fx);
        self.read_letters(fx);
        self.hear_lines(fx);
        let mut refused = Vec::new();
        if let Some(packet) = self.clerk.next(self.me, fx.now(), &mut refused) {
            fx.send(ORDER, packet.encode());
        }
        for ticket in refused {
            self.answered(ticket, &not_begun(), fx);
        }
        let holds = self.radar.holds_lease(fx.now());
        if holds && std::mem::take(&mut self.fenced) {
            self.incarnation.into_iter().for_each(|i| fx.note(Note::Begins(i)));
        }
        self.fenced |= !holds;
    }

    // ---- the log

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
        }
        self.heard_head |= self.applied >= head;
        self.begin(fx);
    }

    fn apply(&mut self, entry: &Entry, fx: &mut Effects<'_, Note>) {
        let mut changes = Vec::new();
        self.applied += 1;
        let place = Epoch(self.applied);
        let answer = self.state.apply(place, entry, &mut changes);
        fx.note(Note::Applied(self.applied, digest(0, format!("{answer:?}{changes:?}").as_bytes())));
        let began = self.incarnation;
        for change in &changes {
            self.follow(change, fx);
        }
        if began.is_some() && began == self.incarnation {
            self.steer_applied(place, &changes, fx);
        }
        if let Some(ticket) = self.clerk.done(entry, &answer) {
            self.answered(ticket, &answer, fx);
        }
        self.begin(fx);
    }

    fn follow(&mut self, change: &Change, fx: &mut Effects<'_, Note>) {
        match change {
            Change::Admitted { node } => self.feed(Event::Admitted { entry: entry(*node) }, fx),
            Change::Up { node, incarnation } if *node == self.me => {
                let by = self.state.member(self.me).and_then(|m| m.begun_by);
                if self.beginning.is_some_and(|(_, nonce)| by == Some(nonce)) {
                    self.begun(*incarnation, fx);
                } else if self.incarnation.is_some() {
                    // Its folder was copied, the real one says, and ends. Here there is one daemon a node.
                    fx.note(Note::Fenced("another daemon has begun"));
                }
            }
            Change::Up { node, .. } => {
                self.feed(Event::Admitted { entry: entry(*node) }, fx);
                self.review(*node, fx);
            }
            Change::Down { node, incarnation }
                if *node == self.me && self.incarnation == Some(*incarnation) =>
            {
                fx.note(Note::Fenced("it was taken for lost"));
                self.incarnation = None;
                self.feed(Event::Reborn { first_generation: generation(fx.now()) }, fx);
                self.links.begins_anew().into_iter().for_each(|other| self.node_down(other, fx));
                self.begin(fx);
            }
            Change::Down { node, .. } if *node == self.me => {}
            Change::Down { node, .. } => self.node_over(*node, fx),
            _ if self.incarnation.is_none() => {}
            Change::Created { dc, .. } | Change::Ended { dc } | Change::Allowed { dc, .. } => {
                self.tell_container(*dc, fx);
            }
            Change::Slots { dc, change } => {
                self.feed(Event::Slots { dc: dc.0, change: change.clone() }, fx);
            }
            Change::Declared { dc, slot } | Change::Withdrawn { dc, slot } => {
                self.tell_service(*dc, *slot, fx);
            }
            _ => {}
        }
    }

    fn tell_container(&mut self, dc: DcId, fx: &mut Effects<'_, Note>) {
        let value = self.state.container(dc).map(|c| c.spec.clone());
        self.feed(Event::Container { dc: dc.0, value }, fx);
    }

    fn tell_service(&mut self, dc: DcId, slot: i32, fx: &mut Effects<'_, Note>) {
        let service = self.state.container(dc).and_then(|c| c.services.get(&slot));
        let service = service.filter(|s| !s.withdrawn);
        let name = service.map_or(String::new(), |s| s.spec.name.clone());
        let kind = service.map(|s| s.spec.kind);
        self.feed(Event::Service { dc: dc.0, slot, name, kind }, fx);
    }

    fn begin(&mut self, fx: &mut Effects<'_, Note>) {
        let Some(member) = self.state.member(self.me).filter(|_| self.heard_head) else { return };
        if self.incarnation.is_some() || self.beginning.is_some() {
            return;
        }
        let (nonce, follows) = (fx.random().next(), Some(member.last_incarnation()));
        self.tickets += 1;
        self.beginning = Some((self.tickets, nonce));
        let command = Command::Begin { address: card(self.me.0).address, nonce };
        self.clerk.order(Order { ticket: self.tickets, follows, of: None, command });
    }

    fn begun(&mut self, incarnation: Epoch, fx: &mut Effects<'_, Note>) {
        self.incarnation = Some(incarnation);
        self.beginning = None;
        // First: what is told now may be followed by a new wish.
        for order in std::mem::take(&mut self.held) {
            // What the rules want is for this incarnation, and no later one.
            let of = Some(incarnation).filter(|_| self.asked.contains_key(&order.ticket));
            self.clerk.order(Order { of, ..order });
        }
        let dcs: Vec<DcId> = self.state.containers().map(|(dc, _)| dc).collect();
        dcs.into_iter().for_each(|dc| self.tell_container(dc, fx));
        self.radar = Radar::new(self.me, terms());
        let all = self.state.containers().flat_map(|(dc, c)| c.services.keys().map(move |s| (dc, *s)));
        let all: Vec<_> = all.collect();
        for (dc, slot) in &all {
            self.tell_service(*dc, *slot, fx);
        }
        self.steer(News::Restored, fx);
        self.steer(News::Began { incarnation }, fx);
        for node in self.links.all_up() {
            self.steer(News::Link { node, up: true }, fx);
        }
        for (dc, slot) in all {
            self.tell_place(dc, slot, fx);
        }
        for node in self.links.all_linked() {
            self.say(node, Word::Hello(incarnation), fx);
        }
        for node in self.links.all_linked() {
            self.review(node, fx);
        }
    }

    /// What the rules want decided.
    pub(super) fn decide(&mut self, ticket: Option<u64>, command: Command) {
        self.tickets += 1;
        if let Some(ticket) = ticket {
            self.asked.insert(self.tickets, ticket);
        }
        let of = self.incarnation.filter(|_| ticket.is_some());
        let order = Order { ticket: self.tickets, follows: None, of, command };
        match self.incarnation {
            Some(_) => self.clerk.order(order),
            None => self.held.push(order),
        }
    }

    fn answered(&mut self, ticket: u64, answer: &Answer, fx: &mut Effects<'_, Note>) {
        if self.beginning.is_some_and(|(t, _)| t == ticket) {
            self.beginning = None;
            return self.begin(fx);
        }
        let Some(ticket) = self.asked.remove(&ticket) else { return };
        let refused = |e: Refusal| Code::from_i32(e.code).unwrap_or(Code::INVAL);
        if let Ok(Reply::Begun(number)) = answer {
            return self.feed(Event::MoveBegun { ticket, number: number.0 }, fx);
        }
        let result = answer.clone().map(|_| ()).map_err(refused);
        self.feed(Event::Decided { ticket, result }, fx);
    }

    pub(super) fn idle_clerk(&self) -> bool {
        self.clerk.len() == 0
    }

    // ---- the other nodes

    pub(super) fn say(&mut self, node: NodeId, word: Word, fx: &mut Effects<'_, Note>) {
        self.lines.say(node, &word, fx);
    }

    /// What sessions have brought.
    fn hear_lines(&mut self, fx: &mut Effects<'_, Note>) {
        while let Some(news) = self.lines.next() {
            self.stirred = true;
            match news {
                FromLine::Up(node) => {
                    self.links.linked(node);
                    if let Some(incarnation) = self.incarnation {
                        self.say(node, Word::Hello(incarnation), fx);
                    }
                }
                FromLine::Down(node) => {
                    if self.links.unlinked(node) {
                        self.node_down(node, fx);
                    }
                }
                FromLine::Record(node, bytes) => {
                    if let Ok(word) = control::decode(&bytes) {
                        self.word(node, word, fx);
                    }
                }
                FromLine::Open(id, node, dc, (from, to), remaining) => {
                    self.feed(Event::ProxyOpen { id, node: node.0, dc, from, to, remaining }, fx);
                }
                FromLine::Notice(dc, (source, endpoint), value) => {
                    self.feed(Event::ProxyNotice { dc, source, endpoint, value }, fx);
                }
                FromLine::Free(link, lane) => {
                    let request = Request::FreeLane { link, lane };
                    self.feed(Event::Request { session: PROXY, id: 0, request }, fx);
                }
            }
        }
    }

    fn word(&mut self, from: NodeId, word: Word, fx: &mut Effects<'_, Note>) {
        match word {
            Word::Hello(incarnation) => {
                if self.links.greets(from, incarnation) {
                    self.node_down(from, fx);
                }
                self.review(from, fx);
            }
            Word::Rules(record) => match self.links.says(from, record) {
                Said::Counts(record) => self.feed(Event::Record { node: from.0, record }, fx),
                Said::Waits | Said::Nothing => {}
                Said::TooMuch => self.lines.give_up(from, fx.now()),
            },
            Word::Applied(applied) => self.steer(News::Heard { node: from, applied }, fx),
            Word::Log(bytes) => self.mail.push((from, Packet::Said(bytes))),
            Word::Lease(sent) => {
                let of = self.links.greeted(from);
                self.mail.extend(of.map(|incarnation| (from, Packet::Renew(incarnation, sent))));
            }
            Word::Granted(sent, upto) => {
                let of = self.incarnation;
                self.mail.extend(of.map(|incarnation| (from, Packet::Renewed(incarnation, sent, upto))));
            }
            Word::Move(record) => self.move_record(from, record, fx),
        }
    }

    fn review(&mut self, node: NodeId, fx: &mut Effects<'_, Note>) {
        let lives = self.state.member(node).and_then(Member::incarnation);
        if self.incarnation.is_none() {
            return;
        }
        let Some(early) = self.links.review(node, lives) else { return };
        self.feed(Event::NodeUp { node: node.0 }, fx);
        self.steer(News::Link { node, up: true }, fx);
        for record in early {
            self.feed(Event::Record { node: node.0, record }, fx);
        }
    }

    fn node_down(&mut self, node: NodeId, fx: &mut Effects<'_, Note>) {
        self.steer(News::Link { node, up: false }, fx);
        self.feed(Event::NodeDown { node: node.0 }, fx);
        self.moves_node_down(node);
    }

    fn node_over(&mut self, node: NodeId, fx: &mut Effects<'_, Note>) {
        if self.links.lost(node) {
            self.node_down(node, fx);
        }
        self.lines.give_up(node, fx.now());
    }
}

/// Where generations of user slots begin.
fn generation(now: u64) -> u32 {
    (now / (1_000 * MS) % 1000) as u32
}
