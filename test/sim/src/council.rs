//! A node's part in deciding the order of all entries: by real consensus ([`dvs_log`]), as the daemon has it.
//!
//! ```text
//!            Propose, Renew                  ask                    Log
//!   daemon ─────────────────► Council ─────────────► member ◄──────────────► members of the other nodes
//!          ◄───────────────── (of its node) ◄─────────
//!            Entries, Renewed     ▲    applied, done
//!                                 └── Renew, Renewed ──► council of the node that leads
//! ```
//! It has what `app/dvsd/src/cluster` does beside the daemon's own thread, file by file: `ledger`, the
//! clerk's way into the log, `beat` (leases, who is lost) and `roster` (who has a vote). Entries after the
//! [`genesis`] are numbered on from it.

mod ledger;
pub(crate) mod strike;

pub use ledger::{Ledger, Truth};

use crate::actor::Effects;
use crate::control::wire::{Note, Packet};
use crate::control::{DAEMONS, MS, genesis, terms};
use crate::lives::{Header, Lives};
use crate::member::{Ask, LOOK_NS, Member, Out, next_step};
use crate::node::Follower;
use dvs_abi::NodeId;
use dvs_control::command::{Command, Entry};
use dvs_control::epoch::Epoch;
use dvs_log::{GroupId, LogError, Timing};
use dvs_radar::leases::Leases;
use ledger::News;
use std::collections::BTreeMap;
use std::time::Duration;

/// The timer at which it looks what is due; that of the daemon is 0.
pub(crate) const LOOK: u64 = 1;
/// How long one attempt takes at most, as the daemon's clerk has it.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How often it looks who should have a vote.
const ROSTER_NS: u64 = 300 * MS;
/// Before a program that ended is started again.
const AGAIN_NS: u64 = 500 * MS;
/// How long until it is said again that a node is lost.
const LOST_AGAIN_NS: u64 = 2_000 * MS;
/// Entries of one message to the daemon.
const ENTRIES_MAX: usize = 32;

/// What was asked of the member.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// An entry, by its number, that is for this node as the leader only.
    Here(u64),
    Confirm,
    Roster,
    Other,
}

/// A node's part in the council.
#[derive(Debug)]
pub struct Council {
    me: NodeId,
    member: Option<Member<Ledger, News>>,
    lives: Lives,
    /// All that was decided, as far as is known here.
    log: Vec<Entry>,
    truth: Truth,
    leases: Leases,
    /// Who has asked for its lease, in which incarnation.
    asks: BTreeMap<NodeId, Epoch>,
    /// Taken for lost, in this incarnation; when that was said last. Not in the log yet, perhaps: a daemon
    /// that begins anew forgets it.
    lost: BTreeMap<NodeId, (Epoch, u64)>,
    numbers: u64,
    doing: BTreeMap<u64, Doing>,
    reviewed: u64,
    /// Who should have a vote, as this node would have it.
    goal: Vec<NodeId>,
    quiet: bool,
    /// The daemon has asked how long the log is.
    asked: bool,
}

impl Council {
    /// The part of a node that knows nothing.
    pub fn new(me: NodeId, truth: Truth) -> Self {
        Council {
            me,
            member: None,
            lives: Lives::default(),
            log: genesis(),
            truth,
            leases: Leases::new(me, terms(), 0),
            asks: BTreeMap::new(),
            lost: BTreeMap::new(),
            numbers: 0,
            doing: BTreeMap::new(),
            reviewed: 0,
            goal: everybody(),
            quiet: false,
            asked: false,
        }
    }

    /// Nobody changes the members any more.
    pub(crate) fn quiet(&mut self) {
        (self.quiet, self.goal) = (true, everybody());
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.member.as_ref().and_then(Member::leader)
    }

    /// Whether it has said of a node, in its present incarnation, that it is lost.
    pub fn judges(&self, node: NodeId) -> bool {
        self.lost.contains_key(&node)
    }

    /// How many entries of the log the snapshot here covers.
    pub fn snapshot(&self) -> u64 {
        self.member.as_ref().map_or(0, Member::snapshot)
    }

    /// What was decided first, whoever knows it.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) fn start(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(LOOK_NS, LOOK);
        self.leases = Leases::new(self.me, terms(), fx.now());
        self.lives = Lives::new(fx.now());
        // Snapshots are rare in a real cluster; here a run is short.
        let timing = Timing { snapshot_after: 150, kept: 50, ..Timing::default() };
        match Member::start(0, GroupId(0), timing, fx, Ledger::new) {
            Ok(member) => self.member = Some(member),
            Err(error) => return self.ends(&error, fx),
        }
        if self.me == NodeId(0) {
            self.ask(Doing::Other, Ask::Found);
        }
    }

    /// What it says to all others when it starts.
    pub(crate) fn greetings(&self) -> Vec<(NodeId, Packet)> {
        let others = everybody().into_iter().filter(|n| *n != self.me);
        others.map(|node| (node, Packet::Greet(self.lives.header(node)))).collect()
    }

    /// The program cannot go on, and is started anew.
    fn ends(&mut self, error: &LogError, fx: &mut Effects<'_, Note>) {
        self.member = None;
        let full = Member::<Ledger, News>::is_full(error);
        fx.note(Note::Stops(full, error.to_string()));
        fx.end(AGAIN_NS);
    }

    fn ask(&mut self, doing: Doing, ask: Ask) {
        if let Some(member) = &mut self.member {
            self.numbers += 1;
            self.doing.insert(self.numbers, doing);
            member.ask(self.numbers, ask);
        }
    }

    /// The daemon sends something to the order.
    pub(crate) fn order(&mut self, packet: Packet, daemon: &mut impl Follower, fx: &mut Effects<'_, Note>) {
        match packet {
            Packet::Propose(entry) => {
                let bytes = ledger::encode(&entry);
                match entry.command {
                    // What a leader alone has seen it decides as the leader it was.
                    Command::Lost { .. } => {
                        self.ask(Doing::Here(entry.number), Ask::ProposeHere(bytes, ATTEMPT));
                    }
                    _ => self.ask(Doing::Other, Ask::Propose(bytes, ATTEMPT)),
                }
            }
            Packet::Fetch(_) => self.asked = true,
            Packet::Renew(..) => {
                // The leader's own is asked at its beat.
                let leader = self.member.as_ref().and_then(Member::leader).filter(|n| *n != self.me);
                if let Some(node) = leader {
                    daemon.carry(node, packet, fx);
                }
            }
            _ => {}
        }
    }

    /// A message from another node; whether it was for the council. What the daemon is to hear instead is
    /// returned.
    pub(crate) fn message(
        &mut self,
        from: NodeId,
        packet: Packet,
        daemon: &impl Follower,
        fx: &mut Effects<'_, Note>,
    ) -> Option<Packet> {
        match packet {
            Packet::Log(header, ref bytes) => {
                if self.hears(from, header, fx)
                    && let Some(member) = &mut self.member
                {
                    member.hear(from, bytes.clone());
                }
                None
            }
            Packet::Said(bytes) => {
                if let Some(member) = &mut self.member {
                    member.hear(from, bytes);
                }
                None
            }
            Packet::Greet(header) => {
                self.hears(from, header, fx);
                None
            }
            Packet::Renew(incarnation, at) => {
                let up = daemon.state().1.member(from).and_then(|m| m.incarnation());
                if up == Some(incarnation) {
                    self.asks.insert(from, incarnation);
                    self.leases.asked((from, at), fx.now());
                }
                None
            }
            // From whoever leads, as far as is known here; others may have been succeeded.
            Packet::Renewed(..) => {
                let leader = self.leader();
                Some(packet).filter(|_| leader == Some(from))
            }
            other => Some(other),
        }
    }

    /// Whether a message of the log is for this life.
    fn hears(&mut self, from: NodeId, header: Header, fx: &mut Effects<'_, Note>) -> bool {
        let (ours, greet) = self.lives.hear(from, header);
        if greet {
            fx.send(from, Packet::Greet(self.lives.header(from)).encode());
        }
        ours
    }

    /// A sync of this node is over.
    pub(crate) fn synced(&mut self, id: u64) {
        if let Some(member) = &mut self.member {
            member.synced(id);
        }
    }

    /// Lets the member do what is to be done; what the daemon is to hear of it.
    pub(crate) fn turn(&mut self, daemon: &mut impl Follower, fx: &mut Effects<'_, Note>) -> Vec<Packet> {
        let mut tell = Vec::new();
        let outs = self.member.as_mut().map(|m| m.turn(fx)).unwrap_or_default();
        for out in outs {
            match out {
                Out::Send(to, bytes) => {
                    let packet = Packet::Log(self.lives.header(to), bytes);
                    daemon.carry(to, packet, fx);
                }
                Out::Tell(News::Applied(place, entry)) => self.applied(place, entry),
                Out::Tell(News::Restored(entries)) => {
                    (1..).zip(entries).for_each(|(place, entry)| self.applied(place, entry));
                }
                Out::Done(number, result) => tell.extend(self.done(number, result, daemon, fx)),
            }
        }
        if let Some(error) = self.member.as_ref().and_then(Member::failure) {
            self.ends(&error, fx);
        }
        tell
    }

    /// Whether something waits for a turn.
    pub(crate) fn waits(&self) -> bool {
        self.member.as_ref().is_some_and(Member::waits)
    }

    fn applied(&mut self, place: u64, entry: Entry) {
        let first = genesis().len() as u64;
        if first + place == self.log.len() as u64 + 1 {
            self.truth.borrow_mut().decide(first + place, &entry);
            self.log.push(entry);
        }
    }

    /// Entries after the first so many, for the daemon; nothing if it has all and has not asked.
    pub(crate) fn entries(&mut self, applied: u64) -> Option<Packet> {
        let asked = std::mem::take(&mut self.asked);
        let rest = self.log.get(applied as usize..).filter(|rest| asked || !rest.is_empty())?;
        let entries = rest.iter().take(ENTRIES_MAX).cloned().collect();
        Some(Packet::Entries(applied, entries, self.log.len() as u64))
    }

    fn done(
        &mut self,
        number: u64,
        result: Result<Vec<u8>, LogError>,
        daemon: &mut impl Follower,
        fx: &mut Effects<'_, Note>,
    ) -> Option<Packet> {
        match self.doing.remove(&number)? {
            Doing::Here(entry) if result == Err(LogError::NoLeader) => {
                self.lost.clear();
                daemon.refused(entry, fx);
                None
            }
            Doing::Confirm => {
                let granted = self.leases.confirmed(result.is_ok(), fx.now());
                let upto = Epoch(self.log.len() as u64);
                let mut own = None;
                for (node, sent) in granted {
                    if node == self.me {
                        let mine = daemon.state().1.member(node).and_then(|m| m.incarnation());
                        own = mine.map(|incarnation| Packet::Renewed(incarnation, sent, upto));
                    } else if let Some(incarnation) = self.asks.get(&node) {
                        daemon.carry(node, Packet::Renewed(*incarnation, sent, upto), fx);
                    }
                }
                own
            }
            Doing::Here(_) | Doing::Roster | Doing::Other => None,
        }
    }

    /// Does what is due, if it is.
    pub(crate) fn look(&mut self, daemon: &mut impl Follower, fx: &mut Effects<'_, Note>) {
        fx.after(LOOK_NS, LOOK);
        let now = fx.now();
        let Some(leader) = self.member.as_ref().map(Member::leader) else { return };
        if self.leases.next_beat() <= now {
            self.beat(leader, daemon, fx);
        }
        if leader == Some(self.me) && now >= self.reviewed + ROSTER_NS {
            self.reviewed = now;
            self.review(fx);
        }
    }

    fn beat(&mut self, leader: Option<NodeId>, daemon: &mut impl Follower, fx: &mut Effects<'_, Note>) {
        let state = daemon.state().1;
        let up: BTreeMap<_, _> = state.members().filter_map(|(n, m)| Some((n, m.incarnation()?))).collect();
        let others: Vec<_> = up.iter().map(|(n, i)| (*n, *i)).filter(|(n, _)| *n != self.me).collect();
        let beat = self.leases.beat(leader, &others, fx.now());
        if leader == Some(self.me) {
            daemon.leads(fx);
        }
        if beat.confirm {
            self.ask(Doing::Confirm, Ask::Confirm(ATTEMPT));
        }
        for node in beat.lost {
            let Some(incarnation) = up.get(&node).copied() else { continue };
            let said = self.lost.get(&node).filter(|(of, _)| *of == incarnation).map(|(_, at)| *at);
            let again = said.is_none_or(|at| fx.now() >= at + LOST_AGAIN_NS);
            if again && daemon.lose(node, incarnation, fx) {
                self.lost.insert(node, (incarnation, fx.now()));
                fx.note(Note::Loses(node, incarnation));
            }
        }
    }

    /// Takes a step towards the members there should be.
    fn review(&mut self, fx: &mut Effects<'_, Note>) {
        if self.doing.values().any(|d| matches!(d, Doing::Roster)) {
            return;
        }
        if !self.quiet && fx.random().odds(100) {
            let out = (fx.random().below(u64::from(DAEMONS)), fx.random().below(u64::from(DAEMONS)));
            self.goal = everybody();
            self.goal.retain(|n| u64::from(n.0) != out.0 && u64::from(n.0) != out.1);
        } else if fx.random().odds(50) {
            self.goal = everybody();
        }
        let members = self.member.as_ref().map(Member::members).unwrap_or_default();
        if let Some(step) = next_step(&members, &everybody(), &self.goal) {
            self.ask(Doing::Roster, step);
        }
    }
}

fn everybody() -> Vec<NodeId> {
    (0..DAEMONS).map(NodeId).collect()
}
