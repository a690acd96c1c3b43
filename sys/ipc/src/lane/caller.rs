//! What the calling side does with a lane.

use super::slot::{load_message, store_grants, store_message};
use super::{Lane, NOTICE, NOTICE_PENDING, Phase, REPLY_META, REQUEST_META, STATE, State};
use crate::sync::Ordering;
use dvs_abi::limits::GRANTS_PER_CALL;
use dvs_abi::{Code, Effect, Endpoint, Grant, Kind, Message};

/// How often a cancellation tries again when the callee moves at the same moment.
const CANCEL_TRIES: usize = 8;

/// Why a message was not posted. Nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A call is under way in this lane.
    Busy,
    /// The lane is closed: the peer died or was unbound.
    Closed,
    /// The peer wrote nonsense into the lane.
    Broken,
    /// More than [`GRANTS_PER_CALL`] grants.
    TooManyGrants,
    /// Only plain messages and requests are posted.
    Kind,
}

impl Refused {
    /// The error code a program sees.
    pub const fn code(self) -> Code {
        match self {
            Refused::Busy => Code::BUSY,
            Refused::Closed => Code::DSTDIED,
            Refused::Broken => Code::IO,
            Refused::TooManyGrants => Code::TOOBIG,
            Refused::Kind => Code::INVAL,
        }
    }
}

/// Where a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The callee has not looked at it, as far as is known.
    Posted,
    /// The callee works on the request.
    Taken,
    /// The plain message was consumed.
    Consumed,
    /// The answer is there.
    Replied,
    /// The request is to be sent on.
    Redirected,
    /// Refused or broken off by the callee.
    Failed,
    /// The caller had asked to leave, and may: cancel again.
    Released,
    /// The lane was closed before the call ended; what is known about the effect.
    Closed(Effect),
    /// The lane does not hold this call: an old number, or the peer wrote nonsense.
    Broken,
}

impl Progress {
    /// Whether the call still goes on.
    pub const fn pending(self) -> bool {
        matches!(self, Progress::Posted | Progress::Taken)
    }
}

/// The end of a call, as collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It still goes on; nothing was collected.
    Pending,
    /// The plain message was consumed.
    Consumed,
    /// The answer was copied out.
    Replied,
    /// The request was copied out; send it to this endpoint instead, under the same deadline.
    Redirected(Endpoint),
    /// The callee refused or broke off.
    Failed(Code, Effect),
    /// The lane was closed before the call ended.
    Closed(Effect),
    /// The peer wrote nonsense, or the number is not of the call in the lane.
    Broken,
}

/// What cancelling found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancel {
    /// The callee had not seen it and never will.
    NotTaken,
    /// The callee works on it, or it is on its way there; its answer will be dropped. The effect is unknown.
    Taken,
    /// The callee copies from or to our memory. Wait for the doorbell and cancel again; after
    /// `COPY_GRACE_NS` give up with [`Lane::abandon`].
    Copying,
    /// A proxy carries it: tell the proxy (mark, ring), which has the other node give it back. Wait for the
    /// doorbell and cancel again; after `RECALL_GRACE_NS` give up with [`Lane::abandon`].
    Recalled,
    /// It had ended already; collect it.
    Done(Progress),
}

impl Lane<'_> {
    /// Puts a message (`Kind::Send`, `Kind::Request`) into the lane and gives back the number of the call.
    ///
    /// Tell the callee afterwards: mark the lane in the link, ring its doorbell.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was done.
    pub fn post(&self, kind: Kind, message: &Message, grants: &[Grant]) -> Result<u64, Refused> {
        let phase = match kind {
            Kind::Send => Phase::PostedSend,
            Kind::Request => Phase::PostedRequest,
            Kind::Reply | Kind::Notify => return Err(Refused::Kind),
        };
        if grants.len() > GRANTS_PER_CALL {
            return Err(Refused::TooManyGrants);
        }
        let old = State(self.words[STATE].load(Ordering::Acquire));
        match old.phase() {
            _ if old.closed() => return Err(Refused::Closed),
            Some(Phase::Idle) => {}
            Some(_) => return Err(Refused::Busy),
            None => return Err(Refused::Broken),
        }
        let seq = old.next_seq();
        let used = store_message(self.request(), message);
        store_grants(self.grants(), grants);
        self.words[REQUEST_META].store(used | (grants.len() as u64) << 8, Ordering::Relaxed);
        if self.swap(old, State::new(seq, phase), Ordering::Release) {
            return Ok(seq);
        }
        Err(if self.state().closed() { Refused::Closed } else { Refused::Broken })
    }

    /// Where call `seq` is.
    pub fn progress(&self, seq: u64) -> Progress {
        progress(self.state(), seq)
    }

    /// Ends call `seq`: copies the answer (or the request to be sent on) into `message` and frees the lane.
    ///
    /// `message` is changed only for [`Outcome::Replied`] and [`Outcome::Redirected`]; the header is as the
    /// peer wrote it, so the caller overwrites source and destination with what it knows. After
    /// [`Outcome::Broken`] and [`Outcome::Closed`] the lane stays unusable.
    pub fn collect(&self, seq: u64, message: &mut Message) -> Outcome {
        let state = State(self.words[STATE].load(Ordering::Acquire));
        let meta = self.words[REPLY_META].load(Ordering::Relaxed);
        let outcome = match progress(state, seq) {
            Progress::Posted | Progress::Taken | Progress::Released => return Outcome::Pending,
            Progress::Closed(effect) => return Outcome::Closed(effect),
            Progress::Broken => return Outcome::Broken,
            Progress::Consumed => Outcome::Consumed,
            Progress::Failed => failure(meta),
            Progress::Replied => Outcome::Replied,
            Progress::Redirected => Outcome::Redirected(Endpoint::from_raw((meta >> 32) as u32 as i32)),
        };
        let mut copy = Message::default();
        let copied = matches!(outcome, Outcome::Replied | Outcome::Redirected(_));
        if copied && load_message(self.reply_slot(), meta & 0xff, &mut copy).is_none() {
            return Outcome::Broken;
        }
        // Two tries: a close may set its mark between the load and the swap, and does so only once.
        let idle = state.to(Phase::Idle);
        let closed = State(state.0 | State::closing());
        if !self.swap(state, idle, Ordering::Relaxed)
            && !self.swap(closed, closed.to(Phase::Idle), Ordering::Relaxed)
        {
            return Outcome::Broken;
        }
        if copied {
            copy.set_kind(if outcome == Outcome::Replied { Kind::Reply } else { Kind::Request });
            *message = copy;
        }
        outcome
    }

    /// Takes call `seq` back, or says why not; see [`Cancel`]. Frees the lane if `NotTaken` or `Taken`.
    pub fn cancel(&self, seq: u64) -> Cancel {
        for _ in 0..CANCEL_TRIES {
            let state = State(self.words[STATE].load(Ordering::Acquire));
            if state.closed() || state.seq() != seq {
                return Cancel::Done(progress(state, seq));
            }
            let (to, result) = match state.phase() {
                Some(Phase::PostedSend | Phase::PostedRequest) => (Phase::Idle, Cancel::NotTaken),
                Some(Phase::Withdrawn) => (Phase::Idle, Cancel::NotTaken),
                Some(Phase::Taken | Phase::Left) => (Phase::Idle, Cancel::Taken),
                Some(Phase::Carried) => (Phase::Recalled, Cancel::Recalled),
                Some(Phase::Recalled) => return Cancel::Recalled,
                Some(Phase::Copying) => (Phase::Leaving, Cancel::Copying),
                Some(Phase::Leaving) => return Cancel::Copying,
                _ => return Cancel::Done(progress(state, seq)),
            };
            if self.swap(state, state.to(to), Ordering::Acquire) {
                return result;
            }
        }
        // Only a callee that starts and ends copies as fast as we look gets us here; we try again later.
        Cancel::Copying
    }

    /// Leaves call `seq` although the callee says it copies, or the proxy has not brought it back; for a
    /// callee that has not moved for `COPY_GRACE_NS`, a proxy for `RECALL_GRACE_NS`. The effect is unknown.
    /// Whether the lane could be freed: if not, close it.
    pub fn abandon(&self, seq: u64) -> bool {
        let state = State(self.words[STATE].load(Ordering::Acquire));
        let stuck = matches!(state.phase(), Some(Phase::Copying | Phase::Leaving | Phase::Recalled));
        stuck && state.seq() == seq && self.swap(state, state.to(Phase::Idle), Ordering::Acquire)
    }

    /// Notifies the callee; bits not yet taken are merged. Whether one was pending already. Never blocks.
    ///
    /// The value has 63 bits; the highest is dropped.
    pub fn notify(&self, bits: u64) -> bool {
        self.words[NOTICE].fetch_or(bits | NOTICE_PENDING, Ordering::Release) & NOTICE_PENDING != 0
    }
}

fn progress(state: State, seq: u64) -> Progress {
    let Some(phase) = state.phase().filter(|_| state.seq() == seq) else {
        return Progress::Broken;
    };
    match phase {
        Phase::Consumed => Progress::Consumed,
        Phase::Replied => Progress::Replied,
        Phase::Redirected => Progress::Redirected,
        Phase::Failed => Progress::Failed,
        Phase::Idle => Progress::Broken,
        _ if state.closed() => Progress::Closed(phase.effect()),
        Phase::PostedSend | Phase::PostedRequest | Phase::Carried | Phase::Recalled => Progress::Posted,
        Phase::Taken | Phase::Copying | Phase::Leaving => Progress::Taken,
        Phase::Left | Phase::Withdrawn => Progress::Released,
    }
}

fn failure(meta: u64) -> Outcome {
    let effect = match (meta >> 8) as u8 {
        0 => Effect::No,
        1 => Effect::Yes,
        _ => Effect::Unknown,
    };
    match Code::from_i32((meta >> 32) as u32 as i32) {
        Some(code) => Outcome::Failed(code, effect),
        None => Outcome::Failed(Code::IO, Effect::Unknown),
    }
}
