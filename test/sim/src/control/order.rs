//! The order of all entries: the stand-in for consensus, until the real one is driven by this simulator.
//!
//! One node decides the order, keeps it on its disk and tells it to the others once it is durable there. It
//! may lose its power, stand still, be cut off or have a full disk; then nobody gets on, which consensus
//! would spare them, but nothing that was told is ever taken back, which is what the nodes may rely on.
//!
//! It is a member too (one that runs nothing), and as such says who is lost: whoever has not renewed its
//! lease for longer than that lasts. Whoever it has taken for lost it renews no more.

use super::wire::{Note, Packet, digest, record, recover};
use super::{MS, ORDER, brief, card, genesis, terms};
use crate::actor::Effects;
use dvs_abi::NodeId;
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry};
use dvs_control::epoch::Epoch;
use dvs_control::state::State;
use dvs_radar::leases::Leases;
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are not durable yet; more are dropped, and repeated by those who sent them.
const UNSYNCED_MAX: usize = 256;
/// Entries of one message.
const ENTRIES_MAX: usize = 32;
/// How often it says how long the log is, and looks who is lost.
const LOOK_NS: u64 = 100 * MS;
const FILE: &str = "log";

/// The order.
#[derive(Debug)]
pub struct TotalOrder {
    log: Vec<Entry>,
    /// Entries that are durable and told.
    committed: usize,
    /// A sync is under way for so many entries.
    syncing: bool,
    state: State,
    incarnation: Option<Epoch>,
    /// Of its `Begin`.
    nonce: Option<u64>,
    number: u64,
    /// Who has asked for its lease, who is silent: as a leader has it.
    leases: Leases,
    /// Who asked, in which incarnation.
    asks: BTreeMap<NodeId, Epoch>,
    /// Taken for lost, in this incarnation.
    lost: BTreeMap<NodeId, Epoch>,
    /// Moves whose time is over, and that it has had undone.
    late: BTreeSet<Epoch>,
}

impl TotalOrder {
    /// One that knows nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        TotalOrder {
            log: genesis(),
            committed: 0,
            syncing: false,
            state: State::found(card(0)),
            incarnation: None,
            nonce: None,
            number: 0,
            leases: Leases::new(ORDER, terms(), 0),
            asks: BTreeMap::new(),
            lost: BTreeMap::new(),
            late: BTreeSet::new(),
        }
    }

    /// What follows from all that is durable.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many entries that are.
    pub fn committed(&self) -> u64 {
        self.committed as u64
    }

    pub(crate) fn start(&mut self, fx: &mut Effects<'_, Note>) {
        self.leases = Leases::new(ORDER, terms(), fx.now());
        let (entries, good) = recover(fx.disk().read(FILE));
        if fx.disk().read(FILE).len() > good {
            fx.disk().truncate(FILE, good);
        }
        self.log.extend(entries);
        self.commit(self.log.len(), fx);
        self.begin(fx);
        fx.after(LOOK_NS, 0);
    }

    fn begin(&mut self, fx: &mut Effects<'_, Note>) {
        let nonce = fx.random().next();
        self.nonce = Some(nonce);
        self.append_own(Command::Begin { address: "order:1".into(), nonce }, fx);
    }

    fn append_own(&mut self, command: Command, fx: &mut Effects<'_, Note>) -> bool {
        let last = || self.state.member(ORDER).map(|m| m.last_incarnation());
        let incarnation = self.incarnation.or_else(last).unwrap_or_default();
        let entry = Entry { from: ORDER, incarnation, number: self.number + 1, at: fx.now(), command };
        let done = self.append(entry, fx);
        self.number += u64::from(done);
        done
    }

    fn append(&mut self, entry: Entry, fx: &mut Effects<'_, Note>) -> bool {
        let room = self.log.len() - self.committed < UNSYNCED_MAX;
        if !room || fx.disk().append(FILE, &record(&entry)).is_err() {
            return false;
        }
        self.log.push(entry);
        self.sync(fx);
        true
    }

    fn sync(&mut self, fx: &mut Effects<'_, Note>) {
        if !self.syncing && self.log.len() > self.committed {
            self.syncing = true;
            fx.sync(self.log.len() as u64);
        }
    }

    pub(crate) fn synced(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        self.syncing = false;
        let first = self.committed;
        self.commit(id as usize, fx);
        for node in 0..ORDER.0 {
            self.tell(NodeId(node), first, fx);
        }
        self.sync(fx);
    }

    fn commit(&mut self, end: usize, fx: &mut Effects<'_, Note>) {
        for place in self.committed..end {
            let entry = &self.log[place];
            let mut changes = Vec::new();
            let place = place as u64 + 1;
            let answer = self.state.apply(Epoch(place), entry, &mut changes);
            fx.note(Note::Applied(place, digest(0, format!("{answer:?}{changes:?}").as_bytes())));
            for change in changes {
                match change {
                    Change::Up { node, incarnation } if node == ORDER => {
                        let begun_by = self.state.member(ORDER).and_then(|m| m.begun_by);
                        self.incarnation = Some(incarnation).filter(|_| begun_by == self.nonce);
                    }
                    _ => {}
                }
            }
        }
        self.committed = end;
    }

    fn tell(&self, node: NodeId, first: usize, fx: &mut Effects<'_, Note>) {
        let end = self.committed.min(first + ENTRIES_MAX);
        let entries = self.log.get(first..end).unwrap_or_default().to_vec();
        fx.send(node, Packet::Entries(first as u64, entries, self.committed as u64).encode());
    }

    pub(crate) fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        match packet {
            Packet::Propose(entry) => drop(self.append(entry, fx)),
            Packet::Fetch(first) => self.tell(from, first as usize, fx),
            Packet::Renew(incarnation, at) => {
                let up = self.state.member(from).and_then(|m| m.incarnation()) == Some(incarnation);
                if up && self.lost.get(&from) != Some(&incarnation) {
                    self.asks.insert(from, incarnation);
                    self.leases.asked((from, at), fx.now());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn timer(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(LOOK_NS, 0);
        for node in 0..ORDER.0 {
            self.tell(NodeId(node), self.committed, fx);
        }
        if self.incarnation.is_none() {
            if self.log.len() == self.committed {
                // There was no room for it.
                self.begin(fx);
            }
            return;
        }
        let now = fx.now();
        let up: BTreeMap<_, _> =
            self.state.members().filter_map(|(n, m)| Some((n, m.incarnation()?))).collect();
        let others: Vec<_> = up.iter().map(|(n, i)| (*n, *i)).filter(|(n, _)| *n != ORDER).collect();
        let beat = self.leases.beat(Some(ORDER), &others, now);
        for (node, sent) in self.leases.confirmed(beat.confirm, now) {
            let same = self.asks.get(&node).copied().filter(|i| up.get(&node) == Some(i));
            if let Some(incarnation) = same.filter(|i| self.lost.get(&node) != Some(i)) {
                fx.send(node, Packet::Renewed(incarnation, sent, Epoch(self.committed as u64)).encode());
            }
        }
        for (dc, slot, number) in self.state.late_moves(now).collect::<Vec<_>>() {
            if !self.late.contains(&number) && self.append_own(Command::Undo { dc, slot, number }, fx) {
                self.late.insert(number);
            }
        }
        for node in beat.lost {
            let Some(incarnation) = up.get(&node).copied() else { continue };
            if self.lost.get(&node) != Some(&incarnation)
                && self.append_own(Command::Lost { node, incarnation }, fx)
            {
                self.lost.insert(node, incarnation);
                fx.note(Note::Loses(node, incarnation));
            }
        }
    }

    /// The last entries, for messages of violations.
    pub fn tail(&self, entries: usize) -> String {
        let skip = self.log.len().saturating_sub(entries);
        let all = self.log.iter().enumerate().skip(skip);
        all.map(|(n, e)| format!("{} {}", n + 1, brief(e))).collect::<Vec<_>>().join("\n")
    }
}
