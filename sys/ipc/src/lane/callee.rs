//! What the called side does with a lane.

use super::slot::{load_grants, load_message, store_message};
use super::{GrantList, Lane, NOTICE, NOTICE_PENDING, Phase, REPLY_META, REQUEST_META, STATE, State};
use crate::sync::Ordering;
use dvs_abi::{Code, Effect, Endpoint, Kind, Message};

/// What taking found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The message and its grants were copied out; a request now owes an answer.
    Yes,
    /// There is no such call (any more): it was cancelled, or the lane is closed. Forget it.
    Gone,
    /// The caller wrote nonsense; its call has failed with `INVAL`. Tell it (mark, ring) as after a reply.
    Malformed,
}

/// Why an answer or a copy found no caller. Not the callee's problem: forget the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The caller left: it was cancelled, its deadline passed, or the number is an old one.
    Gone,
    /// The lane was closed: the caller died or was unbound.
    Closed,
    /// Another thread copies for this call right now.
    Copying,
}

/// What the end of a copy found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyEnd {
    /// The call goes on.
    Goes,
    /// The caller waits to leave: tell it (mark, ring) and forget the call.
    CallerLeaves,
}

impl Lane<'_> {
    /// The call that waits to be taken, if there is one: its number and whether it is a send or a request.
    pub fn peek(&self) -> Option<(u64, Kind)> {
        let state = State(self.words[STATE].load(Ordering::Relaxed));
        match state.phase() {
            _ if state.closed() => None,
            Some(Phase::PostedSend) => Some((state.seq(), Kind::Send)),
            Some(Phase::PostedRequest) => Some((state.seq(), Kind::Request)),
            _ => None,
        }
    }

    /// Takes call `seq`: a request stays open until answered, a plain message is consumed (tell its sender).
    ///
    /// `message` and `grants` are meaningful only after [`Taken::Yes`]. The kind is set from the state; the
    /// rest of the header is as the peer wrote it: overwrite source and destination with what the lane is
    /// for.
    pub fn take(&self, seq: u64, message: &mut Message, grants: &mut GrantList) -> Taken {
        self.take_to(seq, [Phase::Consumed, Phase::Taken], message, grants)
    }

    /// As [`Lane::take`], for a proxy that carries the call on: a plain message, too, stays open, until
    /// [`Lane::consumed`] says that its receiver had it. A caller that leaves meanwhile learns that the
    /// effect is unknown.
    pub fn forward(&self, seq: u64, message: &mut Message, grants: &mut GrantList) -> Taken {
        self.take_to(seq, [Phase::Carried; 2], message, grants)
    }

    fn take_to(&self, seq: u64, to: [Phase; 2], message: &mut Message, grants: &mut GrantList) -> Taken {
        let state = State(self.words[STATE].load(Ordering::Acquire));
        let (kind, to) = match state.phase() {
            _ if state.closed() || state.seq() != seq => return Taken::Gone,
            Some(Phase::PostedSend) => (Kind::Send, to[0]),
            Some(Phase::PostedRequest) => (Kind::Request, to[1]),
            _ => return Taken::Gone,
        };
        let meta = self.words[REQUEST_META].load(Ordering::Relaxed);
        let whole = load_message(self.request(), meta & 0xff, message)
            .and_then(|()| load_grants(self.grants(), meta >> 8, grants));
        if whole.is_none() {
            // It may also be a new message half written after a cancellation; then this fails, too.
            return match self.answer(state, Phase::Failed, failure_meta(Code::INVAL, Effect::No)) {
                true => Taken::Malformed,
                false => Taken::Gone,
            };
        }
        if !self.swap(state, state.to(to), Ordering::Release) {
            return Taken::Gone;
        }
        message.set_kind(kind);
        Taken::Yes
    }

    /// The plain message of call `seq`, carried on by [`Lane::forward`], was consumed. Tell the caller
    /// afterwards: mark, ring.
    ///
    /// # Errors
    /// The caller is not there any more; see [`Lost`].
    pub fn consumed(&self, seq: u64) -> Result<(), Lost> {
        self.carried_to(seq, Phase::Consumed)
    }

    /// The request of call `seq`, carried on by [`Lane::forward`], was taken by who will answer it.
    ///
    /// # Errors
    /// The caller is not there any more, or it was said before; see [`Lost`].
    pub fn begun(&self, seq: u64) -> Result<(), Lost> {
        self.carried_to(seq, Phase::Taken)
    }

    /// Whether the caller of call `seq`, carried on by [`Lane::forward`], wants it back.
    pub fn recalled(&self, seq: u64) -> bool {
        self.state() == State::new(seq, Phase::Recalled)
    }

    /// The message of call `seq`, which its caller wanted back, was given back (effect *no*), or it is too
    /// late for that (any other). Tell the caller afterwards: mark, ring.
    ///
    /// # Errors
    /// The caller does not want that, or has not waited for it; see [`Lost`].
    pub fn withdrawn(&self, seq: u64, effect: Effect) -> Result<(), Lost> {
        let recalled = State::new(seq, Phase::Recalled);
        let to = recalled.to(if effect == Effect::No { Phase::Withdrawn } else { Phase::Left });
        if self.swap(recalled, to, Ordering::Release) { Ok(()) } else { Err(self.lost(seq)) }
    }

    /// From `Carried`; one that its caller wants back is consumed all the same, and a request then released.
    fn carried_to(&self, seq: u64, to: Phase) -> Result<(), Lost> {
        let carried = State::new(seq, Phase::Carried);
        let recalled = carried.to(Phase::Recalled);
        let released = recalled.to(if to == Phase::Taken { Phase::Left } else { to });
        let done = self.swap(carried, carried.to(to), Ordering::Release)
            || self.swap(recalled, released, Ordering::Release);
        if done { Ok(()) } else { Err(self.lost(seq)) }
    }

    /// Answers request `seq`. Tell the caller afterwards: mark, ring.
    ///
    /// # Errors
    /// The caller is not there any more; see [`Lost`].
    pub fn reply(&self, seq: u64, message: &Message) -> Result<(), Lost> {
        self.answer_with(seq, Phase::Replied, 0, message)
    }

    /// Has the caller's library send `message` to `destination` instead, as if it had called that one. A
    /// caller that wants to leave is released instead: it does not call again.
    ///
    /// # Errors
    /// The caller is not there any more; see [`Lost`].
    pub fn redirect(&self, seq: u64, destination: Endpoint, message: &Message) -> Result<(), Lost> {
        if self.recalled(seq) {
            return self.withdrawn(seq, Effect::Unknown);
        }
        self.answer_with(seq, Phase::Redirected, (destination.raw() as u32 as u64) << 32, message)
    }

    /// Fails call `seq`, taken or not. Tell the caller afterwards: mark, ring.
    ///
    /// # Errors
    /// The caller is not there any more; see [`Lost`].
    pub fn fail(&self, seq: u64, code: Code, effect: Effect) -> Result<(), Lost> {
        let state = State(self.words[STATE].load(Ordering::Acquire));
        let open = matches!(
            state.phase(),
            Some(Phase::PostedSend | Phase::PostedRequest | Phase::Carried | Phase::Recalled | Phase::Taken)
        );
        let ours = open && state.seq() == seq && !state.closed();
        if ours && self.answer(state, Phase::Failed, failure_meta(code, effect)) {
            return Ok(());
        }
        Err(self.lost(seq))
    }

    /// Holds the caller of request `seq` in its call while its memory is copied. One chunk at a time: a
    /// caller that wants to leave waits for [`Lane::end_copy`].
    ///
    /// # Errors
    /// The caller is not there any more, wants to leave, or another copy goes on; see [`Lost`].
    pub fn begin_copy(&self, seq: u64) -> Result<(), Lost> {
        let taken = State::new(seq, Phase::Taken);
        if self.swap(taken, taken.to(Phase::Copying), Ordering::Acquire) {
            Ok(())
        } else {
            Err(self.lost(seq))
        }
    }

    /// Ends what [`Lane::begin_copy`] began.
    ///
    /// # Errors
    /// The lane was closed, or the caller did not wait any longer; see [`Lost`].
    pub fn end_copy(&self, seq: u64) -> Result<CopyEnd, Lost> {
        let copying = State::new(seq, Phase::Copying);
        if self.swap(copying, copying.to(Phase::Taken), Ordering::Release) {
            return Ok(CopyEnd::Goes);
        }
        let leaving = copying.to(Phase::Leaving);
        if self.swap(leaving, leaving.to(Phase::Left), Ordering::Release) {
            return Ok(CopyEnd::CallerLeaves);
        }
        Err(self.lost(seq))
    }

    /// Whether the caller of request `seq` still waits: a long service may stop early when not.
    pub fn wanted(&self, seq: u64) -> bool {
        let state = self.state();
        let held = matches!(state.phase(), Some(Phase::Carried | Phase::Taken | Phase::Copying));
        held && state.seq() == seq && !state.closed()
    }

    /// What the caller of request `seq` lent, while it waits for the answer.
    pub fn lent(&self, seq: u64) -> Option<GrantList> {
        let mut grants = GrantList::default();
        let count = self.words[REQUEST_META].load(Ordering::Relaxed) >> 8;
        load_grants(self.grants(), count, &mut grants)?;
        self.wanted(seq).then_some(grants)
    }

    /// Whether a notice is pending.
    pub fn has_notice(&self) -> bool {
        self.words[NOTICE].load(Ordering::Relaxed) & NOTICE_PENDING != 0
    }

    /// Takes the notice, if one is pending: its 63 bits.
    pub fn take_notice(&self) -> Option<u64> {
        if self.words[NOTICE].load(Ordering::Relaxed) == 0 {
            return None;
        }
        let notice = self.words[NOTICE].swap(0, Ordering::Acquire);
        (notice & NOTICE_PENDING != 0).then_some(notice & !NOTICE_PENDING)
    }

    fn answer_with(&self, seq: u64, phase: Phase, meta: u64, message: &Message) -> Result<(), Lost> {
        let state = State(self.words[STATE].load(Ordering::Relaxed));
        if [Phase::Taken, Phase::Carried, Phase::Recalled].into_iter().any(|p| state == State::new(seq, p)) {
            let used = store_message(self.reply_slot(), message);
            if self.answer(state, phase, meta | used) {
                return Ok(());
            }
        }
        Err(self.lost(seq))
    }

    /// Publishes the reply slot and its meta word.
    fn answer(&self, from: State, phase: Phase, meta: u64) -> bool {
        self.words[REPLY_META].store(meta, Ordering::Relaxed);
        self.swap(from, from.to(phase), Ordering::Release)
    }

    fn lost(&self, seq: u64) -> Lost {
        let state = self.state();
        match state.phase() {
            _ if state.closed() => Lost::Closed,
            Some(Phase::Copying) if state.seq() == seq => Lost::Copying,
            _ => Lost::Gone,
        }
    }
}

const fn failure_meta(code: Code, effect: Effect) -> u64 {
    let effect = match effect {
        Effect::No => 0,
        Effect::Yes => 1,
        Effect::Unknown => 2,
    };
    (code as i32 as u32 as u64) << 32 | effect << 8
}
