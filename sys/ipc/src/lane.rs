//! A lane: shared memory for the calls of one endpoint to one other, in that direction.
//!
//! # Why
//! A synchronous call has one message under way, so a queue is not needed: one request slot, one reply slot
//! and one word that says whose turn it is. Because the pair is fixed when the lane is made, a source cannot
//! be forged, and a hostile peer can spoil only calls between itself and us.
//!
//! # Picture
//! ```text
//!                 word 0      1        2              3
//! line 0          state    notice   request meta   reply meta
//! words  8..40    request message      written by the caller, read by the callee
//! words 40..52    grants, 4 x 3        written by the caller, read by the callee
//! words 56..88    reply message        written by the callee, read by the caller
//! 88..96          unused
//!
//! state        = sequence << 8 | closed << 7 | phase
//! request meta = words used | grants << 8
//! reply meta   = words used | code or new destination << 32 | effect << 8
//! ```
//!
//! # States
//! Each arrow is one compare-and-swap of the *whole* word. The sequence number grows with every call, so an
//! operation meant for a call that was cancelled finds another word and fails: no reuse is mistaken for it.
//!
//! ```text
//!             post            take (send)
//!   IDLE ────────────> POSTED ──────────> CONSUMED ──────────────────┐
//!    ^ ^                │ │ │                 ^                      │
//!    │ └─── cancel ─────┘ │ └─ fail ──────────┼────> FAILED ─────────┤
//!    │                    │ take (request),   │        ^             │
//!    │                    │ forward (any)     │        │             │
//!    │                    │  ┌── consumed ────┘        │             │
//!    │                    v  │     reply               │             │
//!    ├──── cancel ───── TAKEN ─────────────> REPLIED ──┼─────────────┤
//!    │                  │ │ ^ └─ redirect ─> REDIRECTED┼─────────────┤
//!    │     begin_copy   v │ │                          │             │
//!    │                COPYING└─────── fail ────────────┘             │
//!    │                  │   end_copy: COPYING -> TAKEN               │
//!    │           cancel v                                            │
//!    │                LEAVING ── end_copy ──> LEFT                   │
//!    ├──── abandon ─────┘                      │                     │
//!    ├──── cancel ─────────────────────────────┘                     │
//!    └──── collect ──────────────────────────────────────────────────┘
//!
//!   with a proxy as callee:
//!   POSTED ── forward ──> CARRIED ── consumed (send) ───> CONSUMED
//!                           │ └───── begun (request) ───> TAKEN
//!                           ├─────── reply, redirect, fail: as from TAKEN
//!                           └─────── cancel ──> RECALLED ── withdrawn ──> WITHDRAWN or LEFT ── cancel ──>
//!                           IDLE
//!                                                  ├─ consumed, begun, reply, fail: too late to take it back
//!                                                  └─ abandon ──> IDLE
//! ```
//!
//! Who does it, the memory ordering of its swap, and why:
//! - **post** (caller, release): the slot written before it is seen by whoever sees POSTED.
//! - **take** (callee, release): it loads the state with acquire, copies the slot with relaxed loads and
//!   *then* swaps. If the caller cancelled and wrote the slot again meanwhile, the swap fails and the copy is
//!   thrown away; if it succeeds, all loads came before it and the caller overwrites the slot only after it
//!   saw the new phase with acquire.
//! - **forward** (callee, release): as take, for a proxy, which carries the call on: a plain message stays
//!   open,
//!   too, so that its caller is not told it was consumed before it was.
//! - **consumed, begun, withdrawn** (callee, release): what is known of the receiver was known before. A
//!   caller
//!   that leaves a carried message waits, for a short time only, until the other node has given it back:
//!   so it is told *not done* only when that is sure.
//! - **reply, redirect, fail** (callee, release): the reply slot written before it is seen with the phase.
//! - **begin_copy** (callee, acquire): the copy cannot start before the phase holds the caller.
//! - **end_copy** (callee, release): all that was copied is visible to a caller that sees the copy ended.
//! - **cancel, abandon** (caller, acquire): what the callee did before is visible, and what the caller writes
//!   next stays after it.
//! - **collect** (caller, relaxed): it loads with acquire, copies, then swaps; nobody else leaves these
//!   phases, and the next post releases.
//! - **close** (anybody, acquire and release): sets the mark in any phase; all swaps but collect's then fail.
//!
//! The closed mark keeps the phase, hence a caller whose callee died still learns whether its message was
//! not taken (effect *no*), consumed (*yes*) or under work (*unknown*).
//!
//! A notice is one word outside the states: the caller ors bits in, whatever the phase, the callee swaps it
//! with zero.
//!
//! # Discipline
//! One thread of the calling session at a time uses the caller's operations (except `notify`, `progress`) and
//! one thread of the called session the callee's; the session's own locks see to that. Between the two
//! sessions there is no trust: any bits in the memory give an error, never a panic, an endless loop or a
//! half-checked value.

mod callee;
mod caller;
mod grants;
mod slot;
mod state;

pub use callee::{CopyEnd, Lost, Taken};
pub use caller::{Cancel, Outcome, Progress, Refused};
pub use grants::GrantList;
pub use state::{Phase, State};

use crate::sync::{AtomicU64, Ordering};
use dvs_abi::message::WORDS;

/// Words of a lane: 768 bytes, twelve cache lines.
pub const LANE_WORDS: usize = 96;

const STATE: usize = 0;
const NOTICE: usize = 1;
const REQUEST_META: usize = 2;
const REPLY_META: usize = 3;
const REQUEST: usize = 8;
const GRANTS: usize = REQUEST + WORDS;
const REPLY: usize = 56;
/// A notice is pending; the other 63 bits are its value.
const NOTICE_PENDING: u64 = 1 << 63;

const _: () = {
    assert!(GRANTS + slot::GRANTS_WORDS <= REPLY && REPLY + WORDS <= LANE_WORDS);
    assert!(
        REQUEST.is_multiple_of(8) && REPLY.is_multiple_of(8) && LANE_WORDS.is_multiple_of(8),
        "whole lines"
    );
};

/// A view of one lane's words; as cheap as a reference.
///
/// ```
/// use dvs_abi::{Kind, Message};
/// use dvs_ipc::host::{HeapMemory, Memory};
/// use dvs_ipc::lane::{GrantList, LANE_WORDS, Lane, Outcome, Taken};
///
/// let memory = HeapMemory::new(LANE_WORDS);
/// let lane = Lane::new(memory.words()).unwrap();
/// let seq = lane.post(Kind::Request, &Message::new(7), &[]).unwrap(); // caller
///
/// let (mut request, mut grants) = (Message::default(), GrantList::default());
/// let (seen, _) = lane.peek().unwrap(); // callee
/// assert_eq!(lane.take(seen, &mut request, &mut grants), Taken::Yes);
/// lane.reply(seen, &Message::new(8)).unwrap();
///
/// let mut answer = Message::default();
/// assert_eq!(lane.collect(seq, &mut answer), Outcome::Replied); // caller
/// assert_eq!((request.mtype(), answer.mtype()), (7, 8));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    words: &'a [AtomicU64; LANE_WORDS],
}

impl<'a> Lane<'a> {
    /// The lane in the first [`LANE_WORDS`] of `words`; `None` when there are fewer.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        Some(Lane { words: words.first_chunk()? })
    }

    /// The state as it is now, for display and tests.
    pub fn state(&self) -> State {
        State(self.words[STATE].load(Ordering::Acquire))
    }

    /// Closes the lane: no call can be made or answered any more. Gives back the state it was in.
    ///
    /// Whoever waits finds out by [`Lane::progress`] or [`Lane::peek`] once its doorbell rings. Closing again
    /// does nothing. Not while this session itself copies under the lane: a caller that sees the mark leaves
    /// at once. (A dead session copies no more.)
    pub fn close(&self) -> State {
        State(self.words[STATE].fetch_or(State::closing(), Ordering::AcqRel))
    }

    /// Makes a closed lane fit for another pair of endpoints. For the broker, when neither side uses it any
    /// more.
    pub fn reset(&self) {
        let next = State::new(self.state().next_seq(), Phase::Idle);
        self.words[NOTICE].store(0, Ordering::Relaxed);
        self.words[STATE].store(next.0, Ordering::Release);
    }

    /// Swaps the state if it is still `from`.
    fn swap(&self, from: State, to: State, ordering: Ordering) -> bool {
        self.words[STATE].compare_exchange(from.0, to.0, ordering, Ordering::Relaxed).is_ok()
    }

    fn request(&self) -> &'a [AtomicU64] {
        &self.words[REQUEST..REQUEST + WORDS]
    }

    fn grants(&self) -> &'a [AtomicU64] {
        &self.words[GRANTS..GRANTS + slot::GRANTS_WORDS]
    }

    fn reply_slot(&self) -> &'a [AtomicU64] {
        &self.words[REPLY..REPLY + WORDS]
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
