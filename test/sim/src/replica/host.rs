//! A node with a replica of each service.

use super::bank::Bank;
use super::group::Group;
use super::wire::{Note, Packet, Service};
use super::{MS, everybody};
use crate::actor::Effects;
use crate::lives::Lives;
use crate::member::{LOOK_NS, Member};
use dvs_abi::NodeId;
use dvs_kv::store::Store;
use dvs_log::LogError;
use dvs_replica::{Active, Passive};
use std::collections::BTreeSet;

/// Before a program that ended is started again.
const AGAIN_NS: u64 = 500 * MS;

/// A node with replicas.
#[derive(Default)]
pub struct Host {
    lives: Lives,
    pairs: Option<Group<Active<Store>>>,
    bank: Option<Group<Passive<Bank>>>,
    /// Attempts that came to this life: a session brings each once.
    seen: BTreeSet<(NodeId, u64)>,
    quiet: bool,
}

impl Host {
    /// The pairs as they are here.
    pub fn pairs(&self) -> Option<Store> {
        self.pairs.as_ref().map(|g| g.member().read(|m| m.server().clone()))
    }

    /// The sum as it is here.
    pub fn bank(&self) -> Option<Bank> {
        self.bank.as_ref().map(|g| g.member().read(|m| *m.server()))
    }

    /// Entries that the snapshots here cover.
    pub fn snapshots(&self) -> u64 {
        let pairs = self.pairs.as_ref().map_or(0, |g| g.member().snapshot());
        pairs.min(self.bank.as_ref().map_or(0, |g| g.member().snapshot()))
    }

    /// Nobody changes the members any more.
    pub(super) fn quiet(&mut self) {
        self.quiet = true;
    }

    pub(super) fn start(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(LOOK_NS, 0);
        self.lives = Lives::new(fx.now());
        if let Err(error) = self.open(fx) {
            return self.ends(&error, fx);
        }
        let me = fx.me();
        for node in everybody().into_iter().filter(|n| *n != me) {
            fx.send(node, Packet::Greet(self.lives.header(node)).encode());
        }
        self.settle(fx);
    }

    fn open(&mut self, fx: &mut Effects<'_, Note>) -> Result<(), LogError> {
        self.pairs = Some(Group::start(Service::Pairs, Active::new(Store::default()), fx)?);
        self.bank = Some(Group::start(Service::Bank, Passive::new(Bank::default()), fx)?);
        Ok(())
    }

    /// The program cannot go on, and is started anew.
    fn ends(&mut self, error: &LogError, fx: &mut Effects<'_, Note>) {
        (self.pairs, self.bank) = (None, None);
        let full = Member::<Active<Store>, ()>::is_full(error);
        fx.note(Note::Stops(full, error.to_string()));
        fx.end(AGAIN_NS);
    }

    pub(super) fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        let (Packet::Log(header, ..) | Packet::Greet(header) | Packet::Call(header, ..)) = packet else {
            return;
        };
        let (ours, greet) = self.lives.hear(from, header);
        if greet {
            fx.send(from, Packet::Greet(self.lives.header(from)).encode());
        }
        if !ours {
            return;
        }
        match packet {
            Packet::Log(_, Service::Pairs, bytes) => {
                self.pairs.iter_mut().for_each(|g| g.hear(from, bytes.clone()));
            }
            Packet::Log(_, Service::Bank, bytes) => {
                self.bank.iter_mut().for_each(|g| g.hear(from, bytes.clone()));
            }
            Packet::Call(_, attempt, service, within, message) if self.seen.insert((from, attempt)) => {
                match service {
                    Service::Pairs => {
                        self.pairs.iter_mut().for_each(|g| g.call(from, attempt, within, &message));
                    }
                    Service::Bank => {
                        self.bank.iter_mut().for_each(|g| g.call(from, attempt, within, &message));
                    }
                }
            }
            _ => {}
        }
        self.settle(fx);
    }

    pub(super) fn timer(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(LOOK_NS, 0);
        let quiet = self.quiet;
        self.pairs.iter_mut().for_each(|g| g.review(quiet, fx));
        self.bank.iter_mut().for_each(|g| g.review(quiet, fx));
        self.settle(fx);
    }

    pub(super) fn synced(&mut self, id: u64, fx: &mut Effects<'_, Note>) {
        self.pairs.iter_mut().for_each(|g| g.synced(id));
        self.bank.iter_mut().for_each(|g| g.synced(id));
        self.settle(fx);
    }

    fn settle(&mut self, fx: &mut Effects<'_, Note>) {
        let lives = &self.lives;
        let pairs = self.pairs.as_mut().map_or(Ok(()), |g| g.turn(lives, fx));
        let bank = self.bank.as_mut().map_or(Ok(()), |g| g.turn(lives, fx));
        if let Err(error) = pairs.and(bank) {
            self.ends(&error, fx);
        }
    }
}
