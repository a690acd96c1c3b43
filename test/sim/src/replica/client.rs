//! A node with clients. Each call is repeated at the next replica when its own is lost or cannot serve, by
//! the rules of [`dvs_replica::client`], which needs threads: this is the same without.

use super::group::endpoint;
use super::wire::{KEYS, Note, Op, Packet, told};
use super::{MS, REPLICAS, everybody};
use crate::actor::Effects;
use crate::lives::Lives;
use dvs_abi::{Endpoint, NodeId};
use dvs_replica::service::Outcome;
use dvs_replica::wire::{Call, Told, encode_call};

/// Clients of one node.
const COUNT: usize = 2;
const TICK_NS: u64 = 20 * MS;
/// A replica that does not answer for so long is taken for lost.
const LOST_NS: u64 = 1_500 * MS;
/// How long a call may take.
const PATIENCE_NS: (u64, u64) = (200 * MS, 6_000 * MS);
/// One client in so many thousand ticks ends and another one comes.
const ENDS: u32 = 3;

/// A call that is under way.
#[derive(Debug)]
struct Pending {
    /// For the invariants.
    id: u64,
    op: Op,
    until: u64,
    /// It may have been done.
    maybe: bool,
    last: &'static str,
    /// The attempt that is under way, and since when; else when the next is due.
    attempt: Option<u64>,
    at: u64,
}

#[derive(Debug)]
struct Client {
    endpoint: Endpoint,
    binding: u64,
    number: u64,
    replica: u16,
    pending: Option<Pending>,
}

/// The clients of a node.
#[derive(Debug, Default)]
pub struct Clients {
    lives: Lives,
    all: Vec<Client>,
    attempts: u64,
    quiet: bool,
}

impl Clients {
    /// They want nothing new any more.
    pub(super) fn quiet(&mut self) {
        self.quiet = true;
    }

    /// Calls that have not ended.
    pub fn pending(&self) -> usize {
        self.all.iter().filter(|c| c.pending.is_some()).count()
    }

    pub(super) fn start(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(TICK_NS, 0);
        self.lives = Lives::new(fx.now());
        // What was asked in an earlier life is answered to nobody.
        self.attempts = fx.now();
        for n in 0..COUNT {
            let replica = fx.random().below(u64::from(REPLICAS)) as u16;
            let (endpoint, binding) = (endpoint(fx.me(), n), fx.random().next());
            self.all.push(Client { endpoint, binding, number: 0, replica, pending: None });
        }
        for node in everybody() {
            fx.send(node, Packet::Greet(self.lives.header(node)).encode());
        }
    }

    pub(super) fn message(&mut self, from: NodeId, packet: Packet, fx: &mut Effects<'_, Note>) {
        match packet {
            Packet::Greet(header) => {
                if self.lives.hear(from, header).1 {
                    fx.send(from, Packet::Greet(self.lives.header(from)).encode());
                }
            }
            Packet::Answer(attempt, message) => {
                let found = self
                    .all
                    .iter_mut()
                    .find(|c| c.pending.as_ref().is_some_and(|p| p.attempt == Some(attempt)));
                if let Some(client) = found {
                    client.answered(told(&message), fx);
                }
            }
            Packet::Log(..) | Packet::Call(..) => {}
        }
    }

    pub(super) fn timer(&mut self, fx: &mut Effects<'_, Note>) {
        fx.after(TICK_NS, 0);
        for client in &mut self.all {
            if !self.quiet && fx.random().odds(ENDS) {
                client.dies(fx);
            }
            if client.pending.is_none() && !self.quiet && fx.random().odds(200) {
                client.wants(fx);
            }
            client.goes_on((&self.lives, &mut self.attempts), fx);
        }
    }
}

impl Client {
    /// Another process comes to its endpoint.
    fn dies(&mut self, fx: &mut Effects<'_, Note>) {
        if let Some(p) = self.pending.take() {
            fx.note(Note::Unknown(p.id));
        }
        (self.binding, self.number) = (fx.random().next(), 0);
    }

    fn wants(&mut self, fx: &mut Effects<'_, Note>) {
        let (id, key) = (fx.random().next(), KEYS[fx.random().below(3) as usize]);
        let op = match fx.random().below(10) {
            0..3 => Op::Put(key, (id >> 1) as i64),
            3..6 => Op::Get(key),
            6..9 => Op::Add,
            _ => Op::Sum,
        };
        self.number += u64::from(!op.is_query());
        let (at, until) = (fx.now(), fx.now() + fx.random().within(PATIENCE_NS));
        self.pending = Some(Pending { id, op, until, maybe: false, last: "nobody", attempt: None, at });
        fx.note(Note::Calls(id, op));
    }

    fn goes_on(&mut self, (lives, attempts): (&Lives, &mut u64), fx: &mut Effects<'_, Note>) {
        let now = fx.now();
        let Some(p) = &mut self.pending else { return };
        if now >= p.until {
            // Whoever was asked and has not answered may still do it.
            let maybe = (p.maybe || p.attempt.is_some()) && !p.op.is_query();
            let note = if maybe { Note::Unknown(p.id) } else { Note::Failed(p.id, p.last) };
            self.pending = None;
            return fx.note(note);
        }
        if p.attempt.is_some() && now >= p.at + LOST_NS {
            (p.attempt, p.maybe, p.at) = (None, p.maybe || !p.op.is_query(), now);
            self.replica = (self.replica + 1) % REPLICAS;
        }
        if p.attempt.is_none() && now >= p.at {
            *attempts += 1;
            (p.attempt, p.at) = (Some(*attempts), now);
            let request = p.op.request();
            let (query, again) = (p.op.is_query(), p.maybe);
            let (number, binding, length) = (self.number, self.binding, request.len());
            let call = Call { query, again, inline: true, number, binding, length };
            let mut message = encode_call(&call, &request);
            message.set_route(self.endpoint, Endpoint::NONE);
            let (to, within) = (NodeId(self.replica), p.until - now);
            let bytes = message.as_bytes().to_vec();
            let packet = Packet::Call(lives.header(to), *attempts, p.op.service(), within, bytes);
            fx.send(to, packet.encode());
        }
    }

    /// As `Client::judge` of the library.
    fn answered(&mut self, told: Option<Told>, fx: &mut Effects<'_, Note>) {
        let Some(p) = &mut self.pending else { return };
        let query = p.op.is_query();
        let Some(Told::Outcome(outcome)) = told else {
            fx.note(Note::Nonsense(p.id, format!("{told:?}")));
            self.pending = None;
            return;
        };
        let (maybe, last) = match outcome {
            Outcome::Answer(answer) => {
                fx.note(Note::Answered(p.id, answer));
                self.pending = None;
                return;
            }
            Outcome::Unknown if !query => {
                fx.note(Note::Unknown(p.id));
                self.pending = None;
                return;
            }
            Outcome::Malformed | Outcome::TooLarge | Outcome::AnswerTooLarge => {
                fx.note(Note::Nonsense(p.id, format!("{outcome:?}")));
                self.pending = None;
                return;
            }
            Outcome::EndedUnknown => (true, "ended"),
            Outcome::NoLeader | Outcome::Unknown => (false, "no leader"),
            Outcome::NoQuorum => (false, "no quorum"),
            Outcome::Full => (false, "full"),
            Outcome::ReadOnly => (false, "read only"),
            Outcome::Ended => (false, "ended"),
        };
        (p.maybe, p.last, p.attempt, p.at) = (p.maybe || maybe, last, None, fx.now() + TICK_NS);
        self.replica = (self.replica + 1) % REPLICAS;
    }
}
