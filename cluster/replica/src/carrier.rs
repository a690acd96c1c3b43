//! Carries letters between the replicas of a service, as calls of the container.
//!
//! ```text
//!   replica a                                                  replica b
//!   outbox for b ─► sender, an endpoint of its own ── PARCEL ─► seat of b ─► letters
//!                                    (lent, or in the message)      │
//!                     ◄── RECEIPT: taken or not, "I send to you from e" ◄──┘
//! ```
//! *Who is a replica* is said by the [list](crate::list), which changes: a parcel names the nodes it goes
//! from and to, and whoever holds another one for the replica of that seat does not take it. A receipt says
//! which version of the list its sender knows; who knows an older one asks for that, and so finds out that
//! it is out, too.
//!
//! *Who sends.* A seat's endpoint is well known, so an answer of it is its word. A sender's endpoint is any
//! free one; a parcel is taken from it only if the seat it claims has named it in an answer of its own: each
//! receipt names the endpoint from which that replica sends. Two replicas that do not know each other's
//! sender call each other once, with an empty parcel.
//!
//! *Who is not there.* Each other replica has a thread and a bounded outbox of its own, so one that is dead
//! or slow holds up nobody. Its sender waits until the seat is bound again.

use crate::letter::{Letter, unpack};
use crate::list::List;
use crate::outbox::{Next, Outbox};
use crate::seats::seat_of;
use crate::wire::{self, Head, Receipt};
use dvs_abi::limits::REPLICA_SEATS_MAX;
use dvs_abi::{Code, DcId, Endpoint, Error, Kind, Message, NodeId, Result, Timeout};
use dvs_ipc::{Lend, Port, Process};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A receipt is waited for so long; a replica that takes longer is stopped or cut off.
const RECEIPT_WITHIN: Duration = Duration::from_millis(500);
/// How long to wait for a replica that is not bound before looking whether this one ends.
const BOUND_WITHIN: Duration = Duration::from_millis(500);
/// Between two attempts to be known by the other side.
const KNOWN_AGAIN: Duration = Duration::from_millis(5);
/// How often; then it does not hear us, and its letters are lost.
const KNOWN_TRIES: u32 = 20;
/// Between two looks at a box in which nothing is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who takes letters in; called on the thread that received them.
pub type Inbox = dyn Fn(NodeId, Vec<Letter>) + Send + Sync;
/// Who answers what is neither letter nor receipt: the question how this replica is.
pub type Desk = dyn Fn(&Message) -> Option<Message> + Send + Sync;

/// The other replicas.
pub struct Carrier {
    process: Process,
    place: (DcId, Endpoint),
    me: usize,
    node: NodeId,
    list: Mutex<Arc<List>>,
    boxes: Vec<Outbox>,
    /// From where each seat sends to us, as it said itself.
    known: Mutex<Vec<Option<Endpoint>>>,
    /// From where we send to each.
    senders: Vec<AtomicI32>,
    /// Somebody has spoken from this seat who is not in our list.
    hinted: Vec<AtomicBool>,
}

impl Carrier {
    /// The other replicas of the service at `place`, as seen from seat `me` of a list.
    pub fn new(process: &Process, place: (DcId, Endpoint), list: List, me: usize) -> Arc<Carrier> {
        let all = 0..REPLICA_SEATS_MAX;
        Arc::new(Carrier {
            process: process.clone(),
            place,
            me,
            node: list.node(me).unwrap_or_default(),
            list: Mutex::new(Arc::new(list)),
            boxes: all.clone().map(|_| Outbox::default()).collect(),
            known: Mutex::new(vec![None; all.len()]),
            senders: all.clone().map(|_| AtomicI32::new(Endpoint::NONE.raw())).collect(),
            hinted: all.map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// The latest list that this replica knows.
    pub fn list(&self) -> Arc<List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up a list, if it is later than the one known.
    pub fn follow(&self, list: &List) {
        let mut known = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.version() <= known.version() || !list.is_sound() {
            return;
        }
        let before = std::mem::replace(&mut *known, Arc::new(list.clone()));
        drop(known);
        let is = |list: &List, seat| list.sitter(seat).map(|s| (s.node, s.since));
        for seat in (0..REPLICA_SEATS_MAX).filter(|seat| is(&before, *seat) != is(list, *seat)) {
            // What was for, or from, whoever had the seat.
            self.known()[seat] = None;
            self.boxes[seat].clear();
            self.boxes[seat].greet();
        }
    }

    /// The seats of the others.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        let (list, me) = (self.list(), self.me);
        (0..REPLICA_SEATS_MAX).filter(move |seat| *seat != me && list.sitter(*seat).is_some())
    }

    /// The seats that somebody has to send to: those of the others, and whoever seems to know more.
    pub fn wanted(&self) -> impl Iterator<Item = usize> {
        let others: Vec<usize> = self.others().collect();
        let hinted = |seat: &usize| self.hinted[*seat].load(Ordering::Acquire);
        (0..REPLICA_SEATS_MAX).filter(move |seat| others.contains(seat) || hinted(seat))
    }

    /// Asks all others which list they know.
    pub fn greet(&self) {
        self.others().for_each(|seat| self.boxes[seat].greet());
    }

    fn at(&self, seat: usize) -> Endpoint {
        seat_of(self.place.1, seat)
    }

    fn known(&self) -> MutexGuard<'_, Vec<Option<Endpoint>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sender(&self, seat: usize) -> Endpoint {
        self.senders.get(seat).map_or(Endpoint::NONE, |s| Endpoint::from_raw(s.load(Ordering::Acquire)))
    }

    /// Puts a letter on its way; never waits.
    pub fn send(&self, to: NodeId, letter: Letter) {
        match self.list().of(to) {
            Some(seat) if seat != self.me => self.boxes[seat].put(letter),
            _ => {}
        }
    }

    /// Ends the threads of this carrier.
    pub fn close(&self) {
        for seat in 0..REPLICA_SEATS_MAX {
            self.boxes[seat].close();
            if self.sender(seat) != Endpoint::NONE {
                self.process.stop(self.place.0, self.sender(seat), Code::SHUTDOWN);
            }
        }
        self.process.stop(self.place.0, self.at(self.me), Code::SHUTDOWN);
    }

    /// Sends what is for one seat until the box is closed. The port is that of this sender.
    ///
    /// # Errors
    /// Why the port cannot be used any more.
    pub fn run_sender(&self, seat: usize, port: &Port) -> Result<()> {
        self.senders[seat].store(port.endpoint().raw(), Ordering::Release);
        self.boxes[seat].greet();
        loop {
            match self.boxes[seat].take(LOOK_AGAIN) {
                Next::Closed => return Ok(()),
                Next::Nothing => {}
                Next::Parcel(parcel) => self.deliver(seat, port, &parcel)?,
            }
        }
    }

    /// Delivers a parcel, or finds that it cannot be: then it is lost, as on a network.
    fn deliver(&self, seat: usize, port: &Port, parcel: &[u8]) -> Result<()> {
        let list = self.list();
        let Some(to) = list.node(seat) else { return self.learn(seat, port) };
        for _ in 0..KNOWN_TRIES {
            if self.list().version() > list.version() {
                // Whom it was for may be another one now.
                return Ok(());
            }
            match self.attempt((seat, to), port, parcel) {
                Ok(true) => return Ok(()),
                // It asks us, now, who we are.
                Ok(false) => std::thread::park_timeout(KNOWN_AGAIN),
                Err(e) if ends(e.code) => return Err(e),
                Err(e) => {
                    self.boxes[seat].clear();
                    if matches!(e.code, Code::DSTDIED | Code::NOTCONN) {
                        self.await_bound(seat, port)?;
                    }
                    self.boxes[seat].greet();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One call; whether the other side took the parcel.
    fn attempt(&self, (seat, to): (usize, NodeId), port: &Port, parcel: &[u8]) -> Result<bool> {
        let mut m = wire::encode_parcel(self.me, self.node, to, parcel);
        let mut lends = [Lend::Read(parcel)];
        let lends = if parcel.len() > wire::INLINE_MAX { &mut lends[..] } else { &mut [] };
        port.sendrec_with(self.at(seat), &mut m, lends, Timeout::After(RECEIPT_WITHIN))?;
        let Some(Receipt { taken, sender, list }) = wire::decode_receipt(&m) else { return Ok(false) };
        if list > self.list().version() {
            self.learn(seat, port)?;
        }
        self.known()[seat] = (sender != Endpoint::NONE).then_some(sender);
        Ok(taken)
    }

    /// Asks whoever has a seat for its list.
    fn learn(&self, seat: usize, port: &Port) -> Result<()> {
        self.hinted[seat].store(false, Ordering::Release);
        match ask_list(port, self.at(seat), RECEIPT_WITHIN) {
            Ok(Some(list)) => self.follow(&list),
            Ok(None) => {}
            Err(e) if ends(e.code) => return Err(e),
            // It will be asked again when it speaks again.
            Err(_) => {}
        }
        Ok(())
    }

    fn await_bound(&self, seat: usize, port: &Port) -> Result<()> {
        if self.process.is_alone() {
            // There is no daemon to be asked.
            std::thread::park_timeout(KNOWN_AGAIN);
            return Ok(());
        }
        let within = Timeout::After(BOUND_WITHIN);
        match port.system().wait_bind(self.place.0, self.at(seat), within) {
            Err(e) if ends(e.code) => Err(e),
            // A node that is not there says so at once.
            Ok(_) | Err(_) => {
                std::thread::park_timeout(10 * KNOWN_AGAIN);
                Ok(())
            }
        }
    }

    /// Takes parcels of the others at this replica's seat until the port ends; why it did.
    pub fn run_seat(&self, port: &Port, inbox: &Inbox, desk: &Desk) -> Error {
        let mut m = Message::default();
        loop {
            match port.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
                Ok(()) if m.kind() == Some(Kind::Request) => {
                    let from = m.source();
                    let Some(mut answer) = self.take(port, &m, inbox).or_else(|| desk(&m)) else {
                        // Nonsense is answered, so that nobody waits for ever.
                        let mut nonsense = Message::new(Code::BADREQUEST as i32);
                        let _ = port.reply(from, &mut nonsense, Timeout::Forever);
                        continue;
                    };
                    // One that went away meanwhile is not our problem.
                    let _ = port.reply(from, &mut answer, Timeout::Forever);
                }
                Ok(()) => {}
                Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR | Code::TIMEDOUT) => {}
                Err(e) => return e,
            }
        }
    }

    /// Takes a parcel; nothing if the message is none.
    fn take(&self, port: &Port, m: &Message, inbox: &Inbox) -> Option<Message> {
        let head = wire::decode_parcel(m)?;
        let Head { seat, from, to, .. } = head;
        let others = seat < REPLICA_SEATS_MAX && seat != self.me;
        let list = self.list();
        if !others || to != self.node || list.node(seat) != Some(from) {
            if others && list.node(seat) != Some(from) {
                // It may know a later list than we do, with itself in it.
                self.hinted[seat].store(true, Ordering::Release);
                self.boxes[seat].greet();
            }
            let refused = Receipt { taken: false, sender: Endpoint::NONE, list: list.version() };
            return Some(wire::encode_receipt(&refused));
        }
        let receipt = Receipt { taken: false, sender: self.sender(seat), list: list.version() };
        if self.known()[head.seat] != Some(m.source()) {
            // It is asked whether this is its sender; what it sends meanwhile is not taken.
            self.boxes[head.seat].greet();
            return Some(wire::encode_receipt(&receipt));
        }
        let parcel = match head.inline {
            true => wire::inline_parcel(m, &head).to_vec(),
            false => {
                let grant = port.grants_of(m.source()).into_iter().next()?;
                let mut parcel = vec![0; head.length];
                port.copy_in(m.source(), grant.address, &mut parcel).ok()?;
                parcel
            }
        };
        if let Some(letters) = unpack(&parcel).filter(|l| !l.is_empty()) {
            inbox(from, letters);
        }
        Some(wire::encode_receipt(&Receipt { taken: true, ..receipt }))
    }
}

/// The list that the replica at an endpoint knows; nothing if it is none.
pub(crate) fn ask_list(port: &Port, at: Endpoint, within: Duration) -> Result<Option<List>> {
    let mut m = Message::new(wire::STATUS);
    port.sendrec(at, &mut m, Timeout::After(within))?;
    Ok(wire::decode_report(&m).map(|r| r.list).filter(List::is_sound))
}

/// After which the port is of no more use.
fn ends(code: Code) -> bool {
    matches!(code, Code::SHUTDOWN | Code::NOTBIND | Code::DVSINIT | Code::DCNOTRUN | Code::BADDCID)
}

/// The way of the log's messages.
pub(crate) struct Way(pub Arc<Carrier>);

impl dvs_log::Network for Way {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        self.0.send(to, Letter::Log(message));
    }
}
