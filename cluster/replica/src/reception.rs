//! The thread that serves: takes calls from the service's port, hands them to the member, and answers each
//! when it is done, in whatever order that is.

use crate::answers::{Answers, Ended};
use crate::call::{CallName, Caller};
use crate::member::{Ask, Order};
use crate::service::Outcome;
use crate::wire::{self, Call, Told};
use dvs_abi::limits::{REPLICA_WAITING_BYTES_MAX, REPLICA_WAITING_MAX};
use dvs_abi::{Access, Code, Endpoint, Grant, Kind, Message, Timeout};
use dvs_ipc::Port;
use dvs_ipc::control::Duty;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// A caller that waits for ever is answered after so long, and repeats its call.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Who waits.
struct Waiting {
    seq: u64,
    room: Option<Grant>,
    bytes: usize,
}

/// The serving side of a replica.
pub struct Reception<'a> {
    port: &'a Port,
    orders: &'a mpsc::Sender<Order>,
    answers: &'a Answers,
    count: &'a AtomicU32,
    waiting: HashMap<Endpoint, Waiting>,
    bytes: usize,
    seq: u64,
}

impl<'a> Reception<'a> {
    /// Serves at `port`; `count` says how many wait.
    pub fn new(
        port: &'a Port,
        orders: &'a mpsc::Sender<Order>,
        answers: &'a Answers,
        count: &'a AtomicU32,
    ) -> Self {
        Reception { port, orders, answers, count, waiting: HashMap::new(), bytes: 0, seq: answers.round() }
    }

    /// Serves until the replica ends; why it did.
    pub fn serve(&mut self) -> Ended {
        let mut m = Message::default();
        loop {
            let (answered, ended) = self.answers.take();
            for (client, seq, outcome) in answered {
                self.answer(client, seq, outcome);
            }
            if let Some(why) = ended {
                return why;
            }
            match self.port.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
                Ok(()) if m.kind() == Some(Kind::Request) => {
                    // It is answered when it is done, perhaps after others that came later.
                    self.port.detach();
                    self.take_up(&m);
                }
                // Whoever only sends, or notifies, waits for no answer.
                Ok(()) => {}
                Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR | Code::TIMEDOUT) => {}
                Err(e) if e.code == Code::SHUTDOWN => return Ended::Asked,
                Err(e) => return Ended::Unbound(e),
            }
        }
    }

    fn take_up(&mut self, m: &Message) {
        let client = m.source();
        // What it asked before, it does not wait for any more.
        self.forget(client);
        let Some(call) = wire::decode_call(m) else { return self.tell(client, Outcome::Malformed) };
        // Its node is cut off, and the service's rule is "reads".
        let stale = self.port.duty() == Duty::Reads;
        if stale && !call.query {
            // One that is sent again may have been done by the replica that had it.
            let outcome = if call.again || m.again() { Outcome::Unknown } else { Outcome::ReadOnly };
            return self.tell(client, outcome);
        }
        let full =
            self.waiting.len() >= REPLICA_WAITING_MAX || self.bytes + call.length > REPLICA_WAITING_BYTES_MAX;
        if full {
            return self.tell(client, Outcome::Full);
        }
        let grants = self.port.grants_of(client);
        let Some(request) = self.request(m, &call, &grants) else {
            return self.tell(client, Outcome::Malformed);
        };
        self.seq += 1;
        let room = grants.first().copied().filter(|g| g.access == Access::ReadWrite);
        let waiting = Waiting { seq: self.seq, room, bytes: request.len() };
        let ask = Ask { stale, ..self.ask(m, &call, request) };
        self.bytes += waiting.bytes;
        self.waiting.insert(client, waiting);
        match self.orders.try_send(Order::Ask(ask)) {
            // The member has ended: with this instance its callers go to another one.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.forget(client);
                return self.tell(client, Outcome::Full);
            }
        }
        self.counted();
    }

    fn ask(&self, m: &Message, call: &Call, request: Vec<u8>) -> Ask {
        let (client, dc) = (m.source(), self.port.dc());
        // A caller that gives no name of its own has that of its message.
        let (binding, number) =
            if call.number == 0 { (m.binding(), m.call()) } else { (call.binding, call.number) };
        let caller = Caller { dc, endpoint: client, binding };
        // Sent again by its caller, or below it.
        let name = CallName { caller, number, again: call.again || m.again() };
        let remaining = Duration::from_nanos(m.deadline().remaining(self.port.now()));
        let within = remaining.min(WAIT_MAX);
        Ask { client, seq: self.seq, name: (!call.query).then_some(name), request, stale: false, within }
    }

    /// The request, from the message or from the caller's memory.
    fn request(&self, m: &Message, call: &Call, grants: &[Grant]) -> Option<Vec<u8>> {
        if call.inline {
            return Some(wire::inline_request(m, call).to_vec());
        }
        let grant = grants.get(1).filter(|g| g.length >= call.length as u64)?;
        let mut request = vec![0; call.length];
        self.port.copy_in(m.source(), grant.address, &mut request).ok()?;
        Some(request)
    }

    fn answer(&mut self, client: Endpoint, seq: u64, outcome: Outcome) {
        let room = match self.waiting.get(&client) {
            Some(waiting) if waiting.seq == seq => waiting.room,
            // It gave up, and perhaps has asked something else meanwhile.
            _ => return,
        };
        if matches!(outcome, Outcome::Ended | Outcome::EndedUnknown) {
            // It is sent again when this instance ends, which is about to happen.
            return;
        }
        self.forget(client);
        let Outcome::Answer(bytes) = &outcome else { return self.tell(client, outcome) };
        if bytes.len() <= wire::INLINE_MAX {
            return self.tell(client, outcome);
        }
        let told = match room.filter(|g| g.length >= bytes.len() as u64) {
            Some(grant) => match self.port.copy_out(client, grant.address, bytes) {
                Ok(()) => Told::Lent(bytes.len()),
                // It is gone, or its node is.
                Err(_) => Told::Outcome(Outcome::Unknown),
            },
            None => Told::NoRoom(bytes.len()),
        };
        self.reply(client, &told);
    }

    fn tell(&mut self, client: Endpoint, outcome: Outcome) {
        self.reply(client, &Told::Outcome(outcome));
    }

    fn reply(&mut self, client: Endpoint, told: &Told) {
        // A caller that went away meanwhile is not our problem.
        let _ = self.port.reply(client, &mut wire::encode_told(told), Timeout::Forever);
        self.counted();
    }

    fn forget(&mut self, client: Endpoint) {
        if let Some(waiting) = self.waiting.remove(&client) {
            self.bytes -= waiting.bytes;
        }
    }

    fn counted(&self) {
        self.count.store(self.waiting.len() as u32, Ordering::Relaxed);
    }
}
