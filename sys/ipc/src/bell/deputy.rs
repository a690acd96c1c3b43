//! Looks at a doorbell in place of its sleeping owner.
//!
//! The proxy's owner of the bell and the readers of its sockets wait for different things, and a message
//! that goes out is usually followed by one that comes in. So a reader that polls its socket watches the bell
//! as well: then a program that rings finds somebody awake and makes no system call, and no thread has to be
//! woken to carry the message on.
//!
//! ```text
//! owner     asleep on the futex ────────────────────────────────────────── asleep ──
//! status    SLEEPS   + WATCHED                                  SLEEPS
//! deputy    watch() ─┘ rung()? take() … rung()? take() …  end() ┘ then looks once more
//! ```
//! A ringer wakes the owner only if it sleeps and nobody watches. [`Deputy::end`] is the owner's half of the
//! argument in [`super`]: it takes the mark away and then looks, so a ring is either seen here or wakes the
//! owner. The owner may be awake as well: whoever takes a bit has to act on it. There is one watch at a time.

use super::{FLAGS, MORE, OWN, Pending, WATCHED, rung, take};
use crate::host::{Host, Memory};
use crate::sync::{Ordering, fence};
use std::sync::Arc;

/// The right to look at a bell in its owner's place; made by [`super::Bell::deputy`].
pub struct Deputy {
    bell: Arc<dyn Memory>,
    status: Arc<dyn Memory>,
}

impl Deputy {
    pub(super) fn new(bell: Arc<dyn Memory>, status: Arc<dyn Memory>) -> Self {
        Deputy { bell, status }
    }

    /// Begins to watch, unless somebody does. [`Deputy::end`] has to follow.
    pub fn watch(&self) -> bool {
        self.status.words()[0].fetch_or(WATCHED, Ordering::AcqRel) & WATCHED == 0
    }

    /// Whether somebody watches now.
    pub fn watched(&self) -> bool {
        self.status.words()[0].load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Whether something has rung.
    pub fn rung(&self) -> bool {
        rung(&self.bell.words()[0])
    }

    /// What has rung; empty when nothing has.
    pub fn take(&self) -> Pending {
        take(self.bell.words())
    }

    /// Ends the watch. True when something has rung that the caller has to take; all later rings wake the
    /// owner.
    pub fn end(&self) -> bool {
        self.status.words()[0].fetch_and(!WATCHED, Ordering::Release);
        fence(Ordering::SeqCst);
        self.rung()
    }

    /// Wakes the owner, whatever is said of its sleep. It wakes for as long as no deputy takes the ring.
    pub fn rouse(&self, host: &dyn Host) {
        let bell = self.bell.words();
        bell[FLAGS].fetch_or(OWN, Ordering::Release);
        bell[0].fetch_or(MORE, Ordering::Release);
        host.futex_wake(&bell[0], 1, true);
    }
}
