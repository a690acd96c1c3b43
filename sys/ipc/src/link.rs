//! A link: the memory two sessions share, with the lanes between their endpoints.
//!
//! # Why
//! One session may have thousands of lanes; it must not look at all of them each time its doorbell rings. The
//! bell says which links have news, a link's `ready` word says which of its lanes.
//!
//! # Picture
//! ```text
//! words  0..16   unused              each word below is alone on its pair of cache lines:
//!       16       ready of side 0     lanes side 0 has to look at, one bit each
//!       32       cpu of side 0       where side 0 last ran, + 1; 0 = never
//!       48       ready of side 1
//!       64       cpu of side 1
//!       96 + 96 n   lane n, n < 64
//! ```
//!
//! # Order of steps
//! The sender changes a lane, then [`Link::mark`]s it for the other side, then rings the other side's bell.
//! The receiver takes its bell, then [`Link::take_ready`], then looks at the lanes. Each step of the sender
//! is a release and each of the receiver an acquire, and a bit is taken before what it stands for is looked
//! at: whatever is changed after that sets the bit again.
//!
//! A bit means "look", for all purposes: a call or notice for an endpoint of mine, news of a call of mine,
//! the end of a copy. It may be set for nothing, by a hostile peer any number of times.

use crate::lane::{LANE_WORDS, Lane};
use crate::sync::{AtomicU64, Ordering};
use dvs_abi::limits::LINK_LANES_MAX;

const HEADER_WORDS: usize = 96;
const SIDE_WORDS: usize = 32;
const READY: usize = 16;
const CPU: usize = 32;

/// Words of a link.
pub const LINK_WORDS: usize = HEADER_WORDS + LINK_LANES_MAX * LANE_WORDS;
/// Bytes of a link's memory: whole pages. Pages no lane of which is used are never backed.
pub const LINK_BYTES: usize = (LINK_WORDS * 8).next_multiple_of(4096);

const _: () = assert!(CPU + SIDE_WORDS < HEADER_WORDS);

/// One of the two sessions of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one the broker named first.
    A = 0,
    /// The other.
    B = 1,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// A view of a link's words; as cheap as a reference.
///
/// ```
/// use dvs_ipc::host::{HeapMemory, Memory};
/// use dvs_ipc::link::{LINK_WORDS, Link, Side};
/// let memory = HeapMemory::new(LINK_WORDS);
/// let link = Link::new(memory.words()).unwrap();
/// link.mark(Side::B, 5);
/// assert_eq!((link.take_ready(Side::A), link.take_ready(Side::B)), (0, 1 << 5));
/// assert_eq!(link.take_ready(Side::B), 0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Link<'a> {
    /// The link in `words`; `None` when there are fewer than [`LINK_WORDS`].
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        Some(Link { words: words.get(..LINK_WORDS)? })
    }

    /// Lane `n`; `None` from [`LINK_LANES_MAX`] on.
    pub fn lane(&self, n: usize) -> Option<Lane<'a>> {
        let first = HEADER_WORDS + n.checked_mul(LANE_WORDS)?;
        Lane::new(self.words.get(first..)?)
    }

    /// Tells `side` to look at a lane; ring its bell afterwards. Lanes there are not are ignored.
    pub fn mark(&self, side: Side, lane: usize) {
        if lane < LINK_LANES_MAX {
            self.word(READY, side).fetch_or(1 << lane, Ordering::Release);
        }
    }

    /// The lanes `side` (oneself) has to look at, taken away.
    pub fn take_ready(&self, side: Side) -> u64 {
        let ready = self.word(READY, side);
        if ready.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        ready.swap(0, Ordering::Acquire)
    }

    /// Where `side` last ran; `None` when it never said.
    pub fn cpu(&self, side: Side) -> Option<u32> {
        u32::try_from(self.word(CPU, side).load(Ordering::Relaxed)).ok()?.checked_sub(1)
    }

    /// Says where `side` (oneself) runs. Writes only when that changed, so the line stays shared.
    pub fn set_cpu(&self, side: Side, cpu: u32) {
        let word = self.word(CPU, side);
        let value = cpu as u64 + 1;
        if word.load(Ordering::Relaxed) != value {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Closes every lane, marks all of them for both sides; the bells are the caller's to ring.
    pub fn close(&self) {
        for n in 0..LINK_LANES_MAX {
            if let Some(lane) = self.lane(n) {
                lane.close();
            }
        }
        for side in [Side::A, Side::B] {
            self.word(READY, side).fetch_or(u64::MAX >> (64 - LINK_LANES_MAX), Ordering::Release);
        }
    }

    fn word(&self, word: usize, side: Side) -> &'a AtomicU64 {
        &self.words[word + side as usize * SIDE_WORDS]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{LINK_WORDS, Link, Side};
    use crate::host::{HeapMemory, Memory};
    use crate::lane::LANE_WORDS;
    use dvs_abi::limits::LINK_LANES_MAX;
    use dvs_abi::{Kind, Message};

    #[test]
    fn lanes_and_header_do_not_overlap() {
        let memory = HeapMemory::new(LINK_WORDS);
        let link = Link::new(memory.words()).unwrap();
        for n in 0..LINK_LANES_MAX {
            link.lane(n).unwrap().post(Kind::Send, &Message::from_words([u64::MAX; 32]), &[]).unwrap();
        }
        assert!(link.lane(LINK_LANES_MAX).is_none() && link.lane(usize::MAX).is_none());
        assert_eq!((link.take_ready(Side::A), link.cpu(Side::B)), (0, None));
        link.set_cpu(Side::B, 3);
        link.mark(Side::A, 63);
        link.mark(Side::A, 64);
        assert_eq!((link.cpu(Side::A), link.cpu(Side::B)), (None, Some(3)));
        assert_eq!((link.take_ready(Side::B), link.take_ready(Side::A)), (0, 1 << 63));
    }

    #[test]
    fn short_memory_is_no_link_and_garbage_is_no_cpu() {
        assert!(Link::new(HeapMemory::new(LINK_WORDS - 1).words()).is_none());
        assert!(super::Lane::new(HeapMemory::new(LANE_WORDS - 1).words()).is_none());
        let memory = HeapMemory::new(LINK_WORDS);
        memory.words()[32].store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(Link::new(memory.words()).unwrap().cpu(Side::A), None);
    }

    #[test]
    fn closing_reaches_every_lane_and_both_sides() {
        let memory = HeapMemory::new(LINK_WORDS);
        let link = Link::new(memory.words()).unwrap();
        link.close();
        assert!((0..LINK_LANES_MAX).all(|n| link.lane(n).unwrap().state().closed()));
        assert_eq!((link.take_ready(Side::A), link.take_ready(Side::B)), (u64::MAX, u64::MAX));
    }
}
