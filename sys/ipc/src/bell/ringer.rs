//! The peers' end of a doorbell.

use super::pending::DIRECT_LINKS;
use super::{CONTROL, FLAGS, MORE, OVERFLOW, OWN, SLEEPS};
use crate::host::{Host, Memory, View};
use crate::sync::{AtomicU64, Ordering, fence};
use dvs_abi::limits::SESSION_LINKS_MAX;
use std::sync::Arc;

/// Rings one session's bell.
#[derive(Clone)]
pub struct Ringer {
    bell: Arc<dyn Memory>,
    status: Arc<dyn View>,
}

impl Ringer {
    /// A ringer for the bell in `bell`, whose owner says in `status` if it sleeps. `None` if `bell` is too
    /// short.
    pub fn new(bell: Arc<dyn Memory>, status: Arc<dyn View>) -> Option<Self> {
        (bell.words().len() >= super::BELL_WORDS).then_some(Ringer { bell, status })
    }

    /// For one's own bell, whose length was checked.
    pub(super) fn own(bell: Arc<dyn Memory>, status: Arc<dyn Memory>) -> Self {
        Ringer { bell, status }
    }

    /// "Look at link `link`": the number the *owner* gave it. Numbers there are not are ignored.
    pub fn ring(&self, host: &dyn Host, link: usize) {
        if link < SESSION_LINKS_MAX {
            self.mark(link);
            self.wake(host);
        }
    }

    /// The first half of [`Ringer::ring`]: an owner that is awake sees it. [`Ringer::wake`] has to follow;
    /// once for all that was marked is enough.
    pub fn mark(&self, link: usize) {
        if link < DIRECT_LINKS {
            self.word(0).fetch_or(1 << link, Ordering::Release);
        } else if link < SESSION_LINKS_MAX {
            self.word(OVERFLOW + link / 64).fetch_or(1 << (link % 64), Ordering::Release);
            self.word(0).fetch_or(MORE, Ordering::Release);
        }
    }

    /// Wakes an owner that sleeps.
    pub fn wake(&self, host: &dyn Host) {
        fence(Ordering::SeqCst);
        if self.status.load(0) == SLEEPS {
            host.futex_wake(self.word(0), 1, true);
        }
    }

    /// "Look at the control socket": the broker does this; from anybody else it costs the owner one vain
    /// look.
    pub fn ring_control(&self, host: &dyn Host) {
        self.word(FLAGS).fetch_or(CONTROL, Ordering::Release);
        self.publish(host, MORE);
    }

    /// Wakes the thread of one's own process that waits on the bell.
    pub fn ring_own(&self, host: &dyn Host) {
        self.word(FLAGS).fetch_or(OWN, Ordering::Release);
        self.publish(host, MORE);
    }

    /// The ringing half of the argument in [`super`].
    fn publish(&self, host: &dyn Host, bit: u64) {
        self.word(0).fetch_or(bit, Ordering::Release);
        self.wake(host);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // Longer than BELL_WORDS since `new`, and memory never shrinks.
        &self.bell.words()[index]
    }
}
