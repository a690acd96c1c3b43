//! The state word of a lane: `sequence << 8 | closed << 7 | phase`.

use dvs_abi::Effect;

const CLOSED: u64 = 0x80;
const PHASE: u64 = 0x7f;
const SEQ_SHIFT: u32 = 8;

/// Where the call in a lane is. The diagram is in the module comment of [`crate::lane`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// No call; what a lane of zeros is in.
    Idle = 0,
    /// A plain message waits to be consumed.
    PostedSend = 1,
    /// A request waits to be taken.
    PostedRequest = 2,
    /// The callee has the request and owes an answer.
    Taken = 3,
    /// The callee copies from or to the caller's memory; the caller may not leave.
    Copying = 4,
    /// As `Copying`, and the caller wants to leave as soon as the copy ends.
    Leaving = 5,
    /// The copy has ended after the caller had asked to leave: it may go.
    Left = 6,
    /// The plain message was consumed.
    Consumed = 7,
    /// The answer is in the reply slot.
    Replied = 8,
    /// The callee relayed the request: the caller's library sends it on to another endpoint.
    Redirected = 9,
    /// The callee refused or broke off.
    Failed = 10,
    /// A proxy has it and carries it on; whether its receiver has consumed it is not known yet.
    Carried = 11,
    /// As `Carried`, and the caller wants to leave: the proxy asks the other node to give the message back.
    Recalled = 12,
    /// The other node gave it back: the receiver has not seen it and never will. The caller may go.
    Withdrawn = 13,
}

impl Phase {
    const ALL: [Phase; 14] = [
        Phase::Idle,
        Phase::PostedSend,
        Phase::PostedRequest,
        Phase::Taken,
        Phase::Copying,
        Phase::Leaving,
        Phase::Left,
        Phase::Consumed,
        Phase::Replied,
        Phase::Redirected,
        Phase::Failed,
        Phase::Carried,
        Phase::Recalled,
        Phase::Withdrawn,
    ];

    /// What is known about the effect of a call that ends in this phase because the peer vanished.
    pub const fn effect(self) -> Effect {
        match self {
            Phase::Idle | Phase::PostedSend | Phase::PostedRequest | Phase::Withdrawn => Effect::No,
            Phase::Consumed | Phase::Replied => Effect::Yes,
            _ => Effect::Unknown,
        }
    }
}

/// One value of the state word. Any 64 bits are a `State`; [`State::phase`] is `None` for garbage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(pub u64);

impl State {
    /// Call `seq` in `phase`, lane open. Sequence numbers wrap at 56 bits: at a billion calls a second, in
    /// two years.
    pub const fn new(seq: u64, phase: Phase) -> Self {
        State(seq << SEQ_SHIFT | phase as u64)
    }

    /// The number of the call.
    pub const fn seq(self) -> u64 {
        self.0 >> SEQ_SHIFT
    }

    /// The phase, unless the bits are none.
    pub fn phase(self) -> Option<Phase> {
        Phase::ALL.get((self.0 & PHASE) as usize).copied()
    }

    /// Whether the lane is closed.
    pub const fn closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The same call, lane and closed mark in another phase.
    pub const fn to(self, phase: Phase) -> Self {
        State(self.0 & !PHASE | phase as u64)
    }

    /// The mark that closes a lane, to be or'ed in.
    pub const fn closing() -> u64 {
        CLOSED
    }

    /// The number of the call after this one.
    pub const fn next_seq(self) -> u64 {
        (self.seq() + 1) & (u64::MAX >> SEQ_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, State};

    #[test]
    fn parts_come_back_and_garbage_has_no_phase() {
        for (i, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, i);
            let s = State::new(77, phase);
            assert_eq!((s.seq(), s.phase(), s.closed()), (77, Some(phase), false));
            let c = State(s.0 | State::closing());
            assert_eq!((c.seq(), c.phase(), c.closed()), (77, Some(phase), true));
            assert_eq!(c.to(Phase::Idle).phase(), Some(Phase::Idle));
        }
        assert_eq!(State(0x7f).phase(), None);
        assert_eq!(State(0), State::new(0, Phase::Idle));
        assert_eq!(State(u64::MAX).next_seq(), 0);
    }
}
