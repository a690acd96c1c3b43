//! Copying messages and grants between program memory and the words of a lane.
//!
//! Only the words up to the last one that is not zero travel, the reader fills the rest with zeros: a short
//! message costs one or two cache lines instead of four and yet all 256 bytes arrive as they were.

use super::GrantList;
use crate::sync::{AtomicU64, Ordering};
use dvs_abi::limits::GRANTS_PER_CALL;
use dvs_abi::message::WORDS;
use dvs_abi::{Access, Grant, Message};

/// Words of one grant: address, length, access.
const GRANT_WORDS: usize = 3;
/// Words all grants of a call take.
pub(super) const GRANTS_WORDS: usize = GRANTS_PER_CALL * GRANT_WORDS;

/// Writes the words that matter and gives back how many those are. The caller publishes them.
pub(super) fn store_message(slot: &[AtomicU64], message: &Message) -> u64 {
    let words = message.words();
    let used = words.iter().rposition(|w| *w != 0).map_or(0, |i| i + 1);
    for (to, from) in slot.iter().zip(&words[..used]) {
        to.store(*from, Ordering::Relaxed);
    }
    used as u64
}

/// Copies `used` words out and zeroes the rest; `None` when there cannot be so many.
pub(super) fn load_message(slot: &[AtomicU64], used: u64, message: &mut Message) -> Option<()> {
    let used = usize::try_from(used).ok().filter(|n| *n <= WORDS)?;
    let (copied, rest) = message.words_mut().split_at_mut(used);
    for (to, from) in copied.iter_mut().zip(slot) {
        *to = from.load(Ordering::Relaxed);
    }
    rest.fill(0);
    Some(())
}

/// Writes the grants.
pub(super) fn store_grants(slot: &[AtomicU64], grants: &[Grant]) {
    for (to, grant) in slot.chunks_exact(GRANT_WORDS).zip(grants) {
        to[0].store(grant.address, Ordering::Relaxed);
        to[1].store(grant.length, Ordering::Relaxed);
        to[2].store(grant.access as u64, Ordering::Relaxed);
    }
}

/// Copies `count` grants out; `None` when there cannot be so many, an access is none, or a range wraps.
pub(super) fn load_grants(slot: &[AtomicU64], count: u64, grants: &mut GrantList) -> Option<()> {
    grants.clear();
    let count = usize::try_from(count).ok().filter(|n| *n <= GRANTS_PER_CALL)?;
    for from in slot.chunks_exact(GRANT_WORDS).take(count) {
        let (address, length) = (from[0].load(Ordering::Relaxed), from[1].load(Ordering::Relaxed));
        let access = u8::try_from(from[2].load(Ordering::Relaxed)).ok().and_then(Access::from_u8)?;
        address.checked_add(length)?;
        grants.push(Grant { address, length, access }).ok()?;
    }
    Some(())
}
