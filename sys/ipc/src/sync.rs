//! The atomics of shared memory, replaced by the model checker's when built with `--cfg loom`.
//!
//! Everything that runs between two sessions ([`crate::lane`], [`crate::link`], [`crate::bell`]) takes its
//! atomics from here and nowhere else, so that the code the model checker explores is the code that ships.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// One step of a spinning wait: tells the processor (or the model checker) that somebody else has to move.
pub fn relax() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
