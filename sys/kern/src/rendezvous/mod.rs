//! The rendezvous of one process: who of its endpoints waits for whom, and what a call does next.
//!
//! # Why
//! Threads and coroutines of one process exchange messages without a system call, and each of their endpoints
//! is also reached from outside through lanes. Both kinds of peers must stand in *one* queue, or fairness
//! would hold only among neighbours. So this table knows two sorts of parties, [`Party::Local`] (an endpoint
//! here) and [`Party::Lane`] (an endpoint elsewhere, its message still lying in a lane), and treats them
//! alike; the driver (`dvs-ipc`) moves the bytes of lanes and puts callers to sleep.
//!
//! # The picture
//!
//! ```text
//!            send                                   receive, nobody there
//!   Idle ----------> Sending --consumed--> Idle      Idle ---------> Receiving --delivered--> Idle
//!    |  sendrec                                                          ^
//!    +-------------> Calling --consumed--> Awaiting --reply--> Idle      | freeze/thaw: looks again
//! ```
//!
//! # The algorithm
//! A call either is done at once ([`Step::Done`]) or its caller waits ([`Step::Wait`]) until the table says
//! [`Cmd::Wake`] for it, and then fetches its [`Outcome`] once with [`Rendezvous::finish`]. A message goes to
//! a receiver that accepts it, or its sender joins the tail of the destination's queue: strict FIFO, one
//! entry a sender, so every waiting sender is served before any is served twice. A notification never waits:
//! it is delivered or becomes pending, coalesced by source. Whoever is about to wait first follows the chain
//! of waits that starts at its destination; if the chain leads back, the call fails with the circle.
//!
//! Source: facts §2.6–2.11, §10; seL4 and MINIX 3 for the queue discipline.

mod chain;
mod clients;
mod death;
mod exchange;
mod notice;
mod slot;
#[cfg(test)]
mod tests;
mod warning;

pub use exchange::Received;
pub use slot::{Client, Filter, Phase, Slot};

use dvs_abi::{Code, DcId, Effect, Endpoint, Error, Message};
use slot::{Ended, Entry};

/// Index of an endpoint of this process.
pub type Ix = u32;
/// The driver's number of a lane.
pub type LaneKey = u32;

/// The other side of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// An endpoint of this process.
    Local(Ix),
    /// An endpoint elsewhere; call number `seq` of this lane.
    Lane(LaneKey, u64),
    /// Nobody: the system says that the source has ended.
    Ended,
}

/// What a call does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<T> {
    /// The call is over.
    Done(T),
    /// The caller waits until [`Cmd::Wake`].
    Wait,
}

/// What the driver must do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cmd {
    /// The wait of this endpoint is over; its outcome is there.
    Wake(Ix),
    /// The request in this lane fails with this code and effect (its destination is gone).
    Refuse(LaneKey, u64, Code, Effect),
}

/// How a wait ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing to fetch: the message was consumed.
    Done,
    /// The message lies in the endpoint's mailbox; [`Rendezvous::finish`] copied it out.
    Message,
    /// A message waits in this lane: take it. If it is gone meanwhile, the call starts again.
    FromLane(LaneKey, u64),
    /// The own call through a lane has come to an end: look at the lane.
    LaneProgress,
    /// The request is to be made again, to this endpoint (a server relayed it there); the message to send
    /// lies in the mailbox and was copied out.
    Redirect(Endpoint),
    /// The destination moved: repeat the call.
    Repeat,
    /// The call failed.
    Failed(Error),
}

impl Outcome {
    /// Whether a message comes with it.
    pub const fn has_message(&self) -> bool {
        matches!(self, Outcome::Message | Outcome::Redirect(_))
    }
}

/// How a wait ended in the ordinary way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plain {
    /// As [`Outcome::Done`].
    Done,
    /// As [`Outcome::Message`].
    Message,
}

impl From<Plain> for Outcome {
    fn from(plain: Plain) -> Outcome {
        match plain {
            Plain::Done => Outcome::Done,
            Plain::Message => Outcome::Message,
        }
    }
}

/// Limits of a container that decide which slots exist and which are system slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Negative slots.
    pub tasks: i32,
    /// Other slots.
    pub procs: i32,
    /// Tasks and servers together.
    pub sysprocs: i32,
}

impl Shape {
    /// Whether a slot belongs to the system prefix.
    pub const fn is_system(&self, slot: i32) -> bool {
        slot + self.tasks < self.sysprocs
    }
}

/// Where a destination is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// In this process.
    Here(Ix),
    /// Not in this process; the daemon knows.
    Elsewhere,
}

/// The table.
#[derive(Debug, Default)]
pub struct Rendezvous {
    slots: Vec<Slot>,
    free: Vec<Ix>,
    /// Per container: slot number + tasks → index + 1, zero for none.
    places: Vec<Vec<Ix>>,
    bound: usize,
    changes: u64,
}

impl Rendezvous {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Endpoints bound here.
    pub fn len(&self) -> usize {
        self.bound
    }

    /// Whether none is bound here.
    pub fn is_empty(&self) -> bool {
        self.bound == 0
    }

    /// Enters an endpoint.
    ///
    /// # Errors
    /// `RANGE` when the slot is outside the container's table, `SLOTUSED` when it is taken, `NOSPC` when the
    /// process has as many endpoints as it may.
    pub fn bind(&mut self, mut slot: Slot) -> Result<Ix, Code> {
        let at = Self::place(&slot.shape, slot.endpoint).ok_or(Code::RANGE)?;
        if self.bound >= dvs_abi::limits::SESSION_ENDPOINTS_MAX {
            return Err(Code::NOSPC);
        }
        let dc = slot.dc.0 as usize;
        if self.places.len() <= dc {
            self.places.resize_with(dc + 1, Vec::new);
        }
        let places = &mut self.places[dc];
        if places.len() <= at {
            places.resize(at + 1, 0);
        }
        if places[at] != 0 {
            return Err(Code::SLOTUSED);
        }
        self.changes += 1;
        slot.binding = self.changes;
        let ix = match self.free.pop() {
            Some(ix) => {
                self.slots[ix as usize] = slot;
                ix
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as Ix
            }
        };
        self.places[dc][at] = ix + 1;
        self.bound += 1;
        Ok(ix)
    }

    fn place(shape: &Shape, endpoint: Endpoint) -> Option<usize> {
        endpoint.in_table(shape.tasks, shape.procs).then(|| (endpoint.slot() + shape.tasks) as usize)
    }

    /// The endpoint at an index.
    #[inline]
    pub fn slot(&self, ix: Ix) -> &Slot {
        &self.slots[ix as usize]
    }

    /// The endpoint at an index, to set what the driver owns (rights, gate, name).
    pub fn slot_mut(&mut self, ix: Ix) -> &mut Slot {
        self.changes += 1;
        &mut self.slots[ix as usize]
    }

    /// Every bound endpoint.
    pub fn iter(&self) -> impl Iterator<Item = (Ix, &Slot)> {
        self.slots.iter().enumerate().filter(|(_, s)| s.bound).map(|(i, s)| (i as Ix, s))
    }

    /// The endpoint with this value, if it is bound here.
    pub fn find(&self, dc: DcId, endpoint: Endpoint) -> Option<Ix> {
        let ix = self.in_place(dc, endpoint)?;
        (self.slots[ix as usize].endpoint == endpoint).then_some(ix)
    }

    /// Whatever is bound here in the slot of `endpoint`.
    #[inline]
    fn in_place(&self, dc: DcId, endpoint: Endpoint) -> Option<Ix> {
        let places = self.places.get(dc.0 as usize)?;
        // Slots of a container start at -TASKS of its shape; every shape here has the same number of tasks.
        let tasks = dvs_abi::limits::TASKS_MAX;
        let at = usize::try_from(endpoint.slot() + tasks).ok()?;
        places.get(at).copied().filter(|&n| n != 0).map(|n| n - 1)
    }

    /// Checks a destination in the order of facts §2.6 and says where it is.
    ///
    /// # Errors
    /// `BADDEST` for HARDWARE and reserved values, `RANGE`, `ENDPOINT` for the caller itself and for another
    /// generation of a slot bound here, `TRAPDENIED` for a system slot the caller may not call.
    #[inline]
    pub fn target(&self, me: Ix, dst: Endpoint) -> Result<Target, Code> {
        let s = &self.slots[me as usize];
        if dst == Endpoint::HARDWARE || dst.is_reserved() {
            return Err(if dst == Endpoint::SELF { Code::ENDPOINT } else { Code::BADDEST });
        }
        if !dst.in_table(s.shape.tasks, s.shape.procs) {
            return Err(Code::RANGE);
        }
        if dst == s.endpoint {
            return Err(Code::ENDPOINT);
        }
        let index = dst.slot() + s.shape.tasks;
        if index < s.shape.sysprocs && !s.privileges.may_call(index) {
            return Err(Code::TRAPDENIED);
        }
        match self.in_place(s.dc, dst) {
            Some(ix) if self.slots[ix as usize].endpoint == dst => Ok(Target::Here(ix)),
            Some(_) => Err(Code::ENDPOINT),
            None => Ok(Target::Elsewhere),
        }
    }

    /// Fetches the outcome of a wait, once. A message in the mailbox is copied to `into`.
    pub fn finish(&mut self, me: Ix, into: &mut Message) -> Option<Outcome> {
        let s = &mut self.slots[me as usize];
        let outcome = s.take_outcome()?;
        if outcome.has_message() {
            *into = *s.mailbox;
        }
        Some(outcome)
    }

    /// As [`Rendezvous::finish`], but only if the wait ended in the ordinary way; and the message changes
    /// hands in its box instead of being copied, for a driver that keeps it until the endpoint's home runs.
    #[inline]
    pub fn finish_plain(&mut self, me: Ix, into: &mut Box<Message>) -> Option<Plain> {
        let s = &mut self.slots[me as usize];
        match s.outcome {
            Some(Ended::Message) => {
                s.outcome = None;
                std::mem::swap(into, &mut s.mailbox);
                Some(Plain::Message)
            }
            Some(Ended::Done) => {
                s.outcome = None;
                Some(Plain::Done)
            }
            _ => None,
        }
    }

    /// Changes whenever an endpoint is bound or unbound, or what the driver owns of one: what was found by
    /// checking a call before holds as long as this number does. Never zero.
    #[inline]
    pub fn stamp(&self) -> u64 {
        self.changes + 1
    }

    /// Ends the wait of `ix` with `outcome`.
    #[inline]
    fn end(&mut self, ix: Ix, outcome: Outcome, out: &mut Vec<Cmd>) {
        self.slots[ix as usize].end(outcome);
        out.push(Cmd::Wake(ix));
    }

    /// Takes `me` out of the queue it stands in.
    fn leave_queue(&mut self, me: Ix, dst: Ix) {
        self.slots[dst as usize].queue.retain(|e| e.party != Party::Local(me));
    }

    /// The queue entries of a destination, for displays and tests.
    pub fn queue(&self, ix: Ix) -> impl Iterator<Item = (Endpoint, Party)> {
        self.slots[ix as usize].queue.iter().map(|e: &Entry| (e.source, e.party))
    }
}
