//! Brings a node's commands into the log, one after the other, each repeated until it is answered: as the
//! daemon's thread of this name does.

use crate::control::wire::Packet;
use dvs_abi::{Code, NodeId};
use dvs_control::command::{Command, Entry, Refusal, Reply};
use dvs_control::epoch::Epoch;
use dvs_control::state::Answer;
use std::collections::VecDeque;

const REPEAT_NS: u64 = 500_000_000;

/// A command to be brought into the log.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ticket: u64,
    /// For a `Begin`: the incarnation it follows.
    pub(super) follows: Option<Epoch>,
    /// For what the rules want: the incarnation in which they did.
    pub(super) of: Option<Epoch>,
    pub(super) command: Command,
}

/// The clerk.
#[derive(Debug, Default)]
pub(super) struct Clerk {
    queue: VecDeque<Order>,
    under_way: Option<(u64, bool, Entry)>,
    sent: u64,
    incarnation: Option<Epoch>,
    number: u64,
}

impl Clerk {
    pub(super) fn len(&self) -> usize {
        self.queue.len() + usize::from(self.under_way.is_some())
    }

    pub(super) fn order(&mut self, order: Order) {
        match order.follows {
            Some(_) => self.queue.push_front(order),
            None => self.queue.push_back(order),
        }
    }

    /// What to send now: the next command, or again what is under way. And tickets that are refused at once.
    pub(super) fn next(&mut self, me: NodeId, now: u64, refused: &mut Vec<u64>) -> Option<Packet> {
        while self.under_way.is_none() {
            let order = self.queue.pop_front()?;
            let Some(incarnation) = order.follows.or(self.incarnation) else {
                refused.push(order.ticket);
                continue;
            };
            if order.of.is_some_and(|of| of != incarnation) {
                refused.push(order.ticket);
                continue;
            }
            let begins = order.follows.is_some();
            self.number += u64::from(!begins);
            let number = if begins { 0 } else { self.number };
            let entry = Entry { from: me, incarnation, number, at: now, command: order.command };
            self.under_way = Some((order.ticket, begins, entry));
            self.sent = 0;
        }
        if self.sent != 0 && now < self.sent + REPEAT_NS {
            return None;
        }
        self.sent = now.max(1);
        self.under_way.as_ref().map(|(_, _, entry)| Packet::Propose(entry.clone()))
    }

    /// What is under way with this number is not done, and not tried again.
    pub(super) fn refused(&mut self, number: u64) {
        self.under_way.take_if(|(_, begins, entry)| !*begins && entry.number == number);
    }

    /// An entry was done: the ticket, if it was the one under way.
    pub(super) fn done(&mut self, entry: &Entry, answer: &Answer) -> Option<u64> {
        let (_, begins, own) = self.under_way.as_ref()?;
        let same = if *begins { own.command == entry.command } else { own.number == entry.number };
        if own.from != entry.from || own.incarnation != entry.incarnation || !same {
            return None;
        }
        let (ticket, begins, _) = self.under_way.take()?;
        if let (true, Ok(Reply::Begun(epoch))) = (begins, answer) {
            (self.incarnation, self.number) = (Some(*epoch), 0);
        }
        Some(ticket)
    }
}

/// What whoever asked is told when there is no incarnation to ask in.
pub(super) fn not_begun() -> Answer {
    Err(Refusal { code: Code::STALE as i32, text: "this node has not begun yet".into() })
}
