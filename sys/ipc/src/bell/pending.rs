//! What a doorbell said: the links to look at, and two flags.

use dvs_abi::limits::SESSION_LINKS_MAX;

/// Links that have a bit in the futex word itself.
pub(super) const DIRECT_LINKS: usize = 31;
/// Words of the overflow bitmap.
pub(super) const OVERFLOW_WORDS: usize = SESSION_LINKS_MAX / 64;

/// What rang. Bits may be set for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// Bits 0..31 of the futex word.
    pub(super) direct: u32,
    /// The overflow bitmap; looked at only when `more`.
    pub(super) overflow: [u64; OVERFLOW_WORDS],
    pub(super) more: bool,
    /// The control socket has something (only the broker says so).
    pub control: bool,
    /// Another thread of this process wants the waiting one.
    pub own: bool,
}

impl Pending {
    /// The links that rang, ascending.
    pub fn links(&self) -> impl Iterator<Item = usize> + '_ {
        let overflow = if self.more { &self.overflow[..] } else { &[] };
        let high = overflow.iter().enumerate().flat_map(|(i, word)| bits(*word).map(move |b| i * 64 + b));
        bits(self.direct as u64).chain(high)
    }

    /// Whether nothing rang.
    pub fn is_empty(&self) -> bool {
        self.direct == 0 && !self.more && !self.control && !self.own
    }
}

/// The numbers of the bits that are set, ascending.
///
/// ```
/// assert_eq!(dvs_ipc::bell::bits(0b1010).collect::<Vec<_>>(), [1, 3]);
/// ```
pub fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}
