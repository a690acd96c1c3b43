//! What other threads see of a scheduler: a locked queue of whom they woke, and the word it sleeps on.

use super::inner;
use crate::host::Host;
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Kick, Place, Wake};
use dvs_kern::rendezvous::{Ix, Rendezvous};
use std::sync::{Arc, Mutex, PoisonError};

const RUNS: u64 = 0;
const RUNG: u64 = 1;
const SLEEPS: u64 = 2;
const POLLS: u64 = 3;

/// Numbers of schedulers.
static SCHEDULERS: AtomicU64 = AtomicU64::new(1);

/// What other threads see of a scheduler.
pub(super) struct Ready {
    pub host: Arc<dyn Host>,
    /// Tells schedulers apart.
    pub number: u64,
    /// Coroutines woken by other threads, each once: at most [`super::COROUTINES_MAX`].
    queue: Mutex<Vec<usize>>,
    queued: AtomicU64,
    state: AtomicU64,
}

impl Ready {
    pub fn new(host: Arc<dyn Host>) -> Self {
        Ready {
            host,
            number: SCHEDULERS.fetch_add(1, Ordering::Relaxed),
            queue: Mutex::new(Vec::new()),
            queued: AtomicU64::new(0),
            state: AtomicU64::new(RUNS),
        }
    }

    /// Whether no other thread has woken anybody.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    /// Whom other threads woke since the last time.
    pub fn take(&self) -> Vec<usize> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.queued.store(0, Ordering::Release);
        std::mem::take(&mut *queue)
    }

    fn push(&self, id: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(id);
        self.queued.store(1, Ordering::Release);
    }

    /// Announces a sleep at the doorbell or on the own word; false when somebody was woken meanwhile.
    pub fn announce(&self, polls: bool) -> bool {
        let state = if polls { POLLS } else { SLEEPS };
        self.state.compare_exchange(RUNS, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
            && self.is_empty()
    }

    /// Sleeps on the own word after [`Ready::announce`].
    pub fn sleep(&self, due: dvs_abi::Deadline) {
        self.host.futex_wait(&self.state, SLEEPS as u32, due, false);
    }

    /// Whether somebody was woken since the announcement.
    pub fn is_rung(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNG
    }

    /// The sleep is over.
    pub fn runs(&self) {
        self.state.store(RUNS, Ordering::Release);
    }
}

/// The waking side of one coroutine.
pub(super) struct Flag {
    id: usize,
    /// That of `ready`.
    number: u64,
    ready: Arc<Ready>,
    /// Stands in the queue of [`Ready`].
    queued: AtomicU64,
}

impl Flag {
    pub fn new(id: usize, ready: Arc<Ready>) -> Self {
        Flag { id, number: ready.number, ready, queued: AtomicU64::new(0) }
    }

    /// It was taken out of the queue of [`Ready`]. Whoever wakes it from now on enters it again.
    pub fn taken(&self) {
        self.queued.store(0, Ordering::Release);
    }

    #[cold]
    fn set_from_afar(&self) -> Kick {
        if self.queued.swap(1, Ordering::AcqRel) != 0 {
            return Kick::No;
        }
        self.ready.push(self.id);
        match self.ready.state.swap(RUNG, Ordering::AcqRel) {
            SLEEPS => Kick::Sleeps,
            POLLS => Kick::Polls,
            _ => Kick::No,
        }
    }
}

impl Wake for Flag {
    fn set(&self) -> Kick {
        match inner::on_this_thread(self.number, |inner| inner.wake_id(self.id)) {
            Some(()) => Kick::No,
            None => self.set_from_afar(),
        }
    }

    fn deliver(&self, table: &mut Rendezvous, ix: Ix) -> Kick {
        match inner::on_this_thread(self.number, |inner| inner.deliver(self.id, table, ix)) {
            Some(()) => Kick::No,
            None => self.set_from_afar(),
        }
    }

    fn place(&self) -> Place {
        Place { scheduler: self.number, id: self.id }
    }

    fn kick(&self) {
        self.ready.host.futex_wake(&self.ready.state, 1, false);
    }
}
