//! Calls of a replicated service. The one place where a call is repeated.
//!
//! ```text
//!  number of the call, the same each time
//!      │
//!      ▼
//!  replica of this node ─► answer ─────────────────────────────► returned once
//!      │ died, its node is gone, or it has ended
//!      ▼
//!  whichever replica the calls of this node go to now ─► its duplicate table answers what was done,
//!      │                                                 else it is done now
//!      └─ until the deadline: then the truth: not done, or unknown
//! ```

use crate::seats::seat_of;
use crate::service::Outcome;
use crate::wire::{self, Call, REQUEST_INLINE_MAX, Report, STATUS, Told};
use dvs_abi::limits::{REPLICA_ANSWER_BYTES_MAX, REPLICA_REQUEST_BYTES_MAX};
use dvs_abi::{Code, Deadline, Effect, Endpoint, Error, Message, Timeout};
use dvs_ipc::wait::Wait;
use dvs_ipc::{Lend, Port};
use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// Room for an answer at first; one that needs more says so.
const ROOM_FIRST: usize = 36 << 10;
/// How long to wait for a replica to be bound before it is tried again.
const BOUND_WITHIN: Duration = Duration::from_millis(200);
/// Between two attempts when something is bound and cannot be called: it is going, or its node is.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a replica may take to say how it is.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// Why a call of a replicated service has no answer.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The time is over and nobody who serves could be called.
    #[error("no replica of the service can be called ({0}); not done")]
    Nobody(Error),
    /// The time is over and the group had no leader.
    #[error("the replicas of the service have no leader; not done")]
    NoLeader,
    /// The time is over and too few replicas were there.
    #[error("too few replicas of the service can be reached; not done")]
    NoQuorum,
    /// The replica was full until the time was over.
    #[error("the service is overloaded; not done")]
    Full,
    /// The time is over, or the service has forgotten this caller.
    #[error("whether it was done is not known")]
    Unknown,
    /// The replica of this node is cut off from most of the nodes, and by the service's rule can only be read
    /// meanwhile.
    #[error("the replica here is cut off and can only be read; not done")]
    ReadOnly,
    /// The request is larger than is carried.
    #[error("the request has {0} bytes; at most {REPLICA_REQUEST_BYTES_MAX} are carried; not done")]
    TooLarge(usize),
    /// The service did not understand it.
    #[error("the service did not understand the request; not done")]
    Malformed,
    /// It was done, and the answer is larger than is carried.
    #[error("it was done, and the answer is too large to be carried")]
    AnswerTooLarge,
    /// What answered is no replicated service.
    #[error("what answers there is no replicated service")]
    BadAnswer,
    /// The call cannot be made.
    #[error("{0}")]
    Call(Error),
}

impl CallError {
    /// Whether it was done.
    pub fn effect(&self) -> Effect {
        match self {
            CallError::Unknown | CallError::BadAnswer => Effect::Unknown,
            CallError::AnswerTooLarge => Effect::Yes,
            CallError::Call(e) => e.effect,
            _ => Effect::No,
        }
    }
}

/// A service as one caller sees it. Owns the port it calls from.
pub struct Client<W: Wait> {
    port: Port<W>,
    service: Endpoint,
    timeout: Timeout,
    binding: u64,
    number: Cell<u64>,
    room: RefCell<Vec<u8>>,
    /// Each call is one message.
    plain: bool,
}

/// Where a call that is repeated stands.
struct Attempts {
    until: Deadline,
    /// It may have been done.
    maybe: bool,
    last: CallError,
    /// How many there were.
    vain: u32,
}

impl<W: Wait> Client<W> {
    /// Calls the service at `service`, with ten seconds a call, repetitions included.
    pub fn new(port: Port<W>, service: Endpoint) -> Self {
        // Another process may have had this endpoint before, and the service may remember it.
        let binding = RandomState::new().hash_one((port.endpoint().raw(), port.now(), std::process::id()));
        let timeout = Timeout::After(Duration::from_secs(10));
        let (number, room) = (Cell::new(0), RefCell::default());
        Client { port, service, timeout, binding, number, room, plain: false }
    }

    /// One whose every call is one message, as of a program that knows nothing of replicas: what a lost
    /// instance had taken up is sent again below it. It repeats nothing of itself: an answer that finds no
    /// room ends as
    /// [`CallError::AnswerTooLarge`].
    pub fn plain(port: Port<W>, service: Endpoint) -> Self {
        Client { plain: true, ..Client::new(port, service) }
    }

    /// The same with another time for each call.
    pub fn with_timeout(self, timeout: Timeout) -> Self {
        Client { timeout, ..self }
    }

    /// The port it calls from.
    pub fn port(&self) -> &Port<W> {
        &self.port
    }

    /// Has a request done: once, whatever dies meanwhile.
    ///
    /// # Errors
    /// [`CallError::effect`] says whether it was done.
    pub fn call(&self, request: &[u8]) -> Result<Vec<u8>, CallError> {
        if !self.plain {
            self.number.set(self.number.get() + 1);
        }
        self.repeat(false, request)
    }

    /// Asks for what changes nothing; the answer takes in all that was answered before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn query(&self, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.repeat(true, request)
    }

    /// Where the service is called.
    pub fn service(&self) -> Endpoint {
        self.service
    }

    /// How the replica at a seat is, by its own word; asks that one only.
    ///
    /// # Errors
    /// Of the call; `BADREQUEST` when it is no replica.
    pub fn report(&self, seat: usize) -> dvs_abi::Result<Report> {
        self.report_within(seat, REPORT_WITHIN)
    }

    pub(crate) fn report_within(&self, seat: usize, within: Duration) -> dvs_abi::Result<Report> {
        let mut m = Message::new(STATUS);
        let at = seat_of(self.service, seat);
        self.port.sendrec(at, &mut m, Timeout::After(within))?;
        wire::decode_report(&m).ok_or(Error::new(Code::BADREQUEST, Effect::Yes).at(at))
    }

    fn repeat(&self, query: bool, request: &[u8]) -> Result<Vec<u8>, CallError> {
        if request.len() > REPLICA_REQUEST_BYTES_MAX {
            return Err(CallError::TooLarge(request.len()));
        }
        let until = Deadline::after(self.port.now(), self.timeout);
        let last = CallError::Nobody(Error::early(Code::TIMEDOUT));
        let mut attempts = Attempts { until, maybe: false, last, vain: 0 };
        loop {
            match self.attempt(query, request, &attempts) {
                Ok(told) => {
                    if let Some(result) = self.judge(told, query, &mut attempts) {
                        return result;
                    }
                }
                Err(e) => self.lost(e, &mut attempts)?,
            }
            if self.plain || until.passed(self.port.now()) {
                return Err(if attempts.maybe && !query { CallError::Unknown } else { attempts.last });
            }
        }
    }

    fn attempt(&self, query: bool, request: &[u8], so_far: &Attempts) -> dvs_abi::Result<Option<Told>> {
        let inline = request.len() <= REQUEST_INLINE_MAX;
        let (number, binding, length) = (self.number.get(), self.binding, request.len());
        let again = so_far.maybe && !query;
        let mut m = wire::encode_call(&Call { query, again, inline, number, binding, length }, request);
        let mut room = self.room.borrow_mut();
        if room.is_empty() {
            room.resize(ROOM_FIRST, 0);
        }
        let mut lends = [Lend::Write(&mut room), Lend::Read(request)];
        let lends = if inline { &mut lends[..1] } else { &mut lends[..] };
        let left = so_far.until.remaining(self.port.now());
        let timeout = match so_far.until {
            Deadline::NEVER => Timeout::Forever,
            _ => Timeout::After(Duration::from_nanos(left.max(1))),
        };
        self.port.sendrec_with(self.service, &mut m, lends, timeout)?;
        Ok(wire::decode_told(&m))
    }

    /// What came of an attempt; nothing if there is to be another one.
    fn judge(
        &self,
        told: Option<Told>,
        query: bool,
        attempts: &mut Attempts,
    ) -> Option<Result<Vec<u8>, CallError>> {
        let outcome = match told {
            None => return Some(Err(CallError::BadAnswer)),
            Some(Told::Lent(n)) => {
                let answer = self.room.borrow().get(..n).map(<[u8]>::to_vec);
                return Some(answer.ok_or(CallError::BadAnswer));
            }
            Some(Told::NoRoom(_)) if self.plain => return Some(Err(CallError::AnswerTooLarge)),
            Some(Told::NoRoom(n)) if n > self.room.borrow().len() && n <= REPLICA_ANSWER_BYTES_MAX => {
                // Of a call, its repetition gets the same answer.
                self.room.borrow_mut().resize(n, 0);
                attempts.maybe = true;
                return None;
            }
            Some(Told::NoRoom(_)) => return Some(Err(CallError::AnswerTooLarge)),
            Some(Told::Outcome(outcome)) => outcome,
        };
        let (maybe, last) = match outcome {
            Outcome::Answer(answer) => return Some(Ok(answer)),
            // By the service's word: repeating it does not help.
            Outcome::Unknown if !query => return Some(Err(CallError::Unknown)),
            Outcome::Malformed => return Some(Err(CallError::Malformed)),
            // One that was made before may have been done.
            Outcome::ReadOnly if attempts.maybe => return Some(Err(CallError::Unknown)),
            Outcome::ReadOnly => return Some(Err(CallError::ReadOnly)),
            Outcome::TooLarge => return Some(Err(CallError::TooLarge(0))),
            Outcome::AnswerTooLarge => return Some(Err(CallError::AnswerTooLarge)),
            Outcome::EndedUnknown => (true, CallError::Unknown),
            Outcome::NoLeader | Outcome::Unknown => (false, CallError::NoLeader),
            Outcome::NoQuorum => (false, CallError::NoQuorum),
            Outcome::Full => (false, CallError::Full),
            Outcome::Ended => (false, CallError::Nobody(Error::early(Code::DSTDIED).at(self.service))),
        };
        attempts.maybe |= maybe;
        attempts.last = last;
        self.pause(attempts);
        None
    }

    /// The replica was lost, or is not there: waits for the next one.
    fn lost(&self, e: Error, attempts: &mut Attempts) -> Result<(), CallError> {
        if self.plain {
            return Err(CallError::Call(e));
        }
        let repeatable = matches!(
            e.code,
            Code::SRCDIED
                | Code::DSTDIED
                | Code::NOTCONN
                | Code::MIGRATE
                | Code::TIMEDOUT
                | Code::SHUTDOWN
                | Code::BUSY
                | Code::NODCNODE
                | Code::AGAIN
                | Code::STALE
        );
        if !repeatable {
            return Err(if attempts.maybe { CallError::Unknown } else { CallError::Call(e) });
        }
        attempts.maybe |= e.effect != Effect::No;
        attempts.last = if attempts.maybe { CallError::Unknown } else { CallError::Nobody(e) };
        self.pause(attempts);
        Ok(())
    }

    /// Waits until a replica is bound; if one is that cannot be called, a little.
    fn pause(&self, attempts: &mut Attempts) {
        if self.plain {
            return;
        }
        attempts.vain += 1;
        if attempts.vain > 1 {
            // tidy: what is bound and cannot be called is tried again; nobody tells when it can be
            std::thread::sleep(PAUSE);
        }
        let left = Duration::from_nanos(attempts.until.remaining(self.port.now()));
        let within = Timeout::After(left.min(BOUND_WITHIN));
        // If nothing is bound in this time, the next attempt says so.
        let _ = self.port.system().wait_bind(self.port.dc(), self.service, within);
    }
}
