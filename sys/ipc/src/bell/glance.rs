//! Whether a doorbell has said anything that is not brought in yet, asked by a thread that does not have it.
//!
//! Why: one thread of a process waits on the bell, and takes what rang a moment before it can bring it in.
//! Another thread that makes a call in that moment must not find nothing: what was rung before its call began
//! counts.
//!
//! ```text
//! taker (has the bell)            glancer (holds the lock of the process)
//!   taken += 1                      word == 0?          (acquire: pairs with the swap)
//!   word.swap(0)  (release)         taken == brought?
//!   lock; bring in; brought = taken
//! ```
//! If the glancer reads the 0 of that swap, it also reads the `taken` before it; and `brought` is written
//! only under the lock it holds, after everything was brought in.

use crate::host::Memory;
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

/// A look at one's own bell from outside.
#[derive(Clone)]
pub struct Glance {
    bell: Arc<dyn Memory>,
    /// How often something was taken.
    taken: Arc<AtomicU64>,
}

impl Glance {
    pub(super) fn new(bell: Arc<dyn Memory>) -> Self {
        Glance { bell, taken: Arc::new(AtomicU64::new(0)) }
    }

    /// Something is about to be taken. One thread at a time has the bell.
    pub(super) fn takes(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How often something was taken, for whoever brings it in.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether something rang, or was taken, that is not brought in; `brought` = [`Glance::taken`] when
    /// something was brought in last.
    pub fn unseen(&self, brought: u64) -> bool {
        // The order is the argument above: first the word, then the number.
        self.bell.words()[0].load(Ordering::Acquire) & super::FUTEX_BITS != 0 || self.taken() != brought
    }
}
