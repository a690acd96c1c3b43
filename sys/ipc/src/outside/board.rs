//! The session's board: what each endpoint is doing, written with plain stores and read by the daemon when
//! somebody asks (`dvs ps`, the search for deadlocks).

use crate::control::board::{
    CALL, COPIES_LOCAL, COPIES_REMOTE, LEASE_BACK, PEER, RECORD_WORDS, SENT_LOCAL, SENT_REMOTE, SINCE, STATE,
};
use crate::host::Memory;
use dvs_abi::Endpoint;
use dvs_kern::rendezvous::{Filter, Phase};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The board and its free records.
pub(super) struct Board {
    memory: Arc<dyn Memory>,
    free: Mutex<(Vec<u32>, u32)>,
}

impl Board {
    pub fn new(memory: Arc<dyn Memory>) -> Self {
        Board { memory, free: Mutex::new((Vec::new(), 0)) }
    }

    /// A free record; `None` when every record is in use.
    pub fn take(&self) -> Option<u32> {
        let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(n) = free.0.pop() {
            return Some(n);
        }
        let n = free.1;
        // The last record is the daemon's.
        if (n as usize + 2) * RECORD_WORDS > self.memory.words().len() {
            return None;
        }
        free.1 += 1;
        Some(n)
    }

    /// Gives a record back, cleared.
    pub fn give(&self, record: u32) {
        for word in 0..RECORD_WORDS {
            self.store(record, word, 0);
        }
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0.push(record);
    }

    fn word(&self, record: u32, word: usize) -> Option<&AtomicU64> {
        self.memory.words().get(record as usize * RECORD_WORDS + word)
    }

    fn store(&self, record: u32, word: usize, value: u64) {
        if let Some(w) = self.word(record, word) {
            w.store(value, Ordering::Relaxed);
        }
    }

    fn count(&self, record: u32, word: usize) {
        if let Some(w) = self.word(record, word) {
            w.store(w.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Until when the node's lease holds, by the daemon's last word; ns on the node's clock.
    pub fn lease(&self) -> u64 {
        let words = self.memory.words();
        let word = words.len().checked_sub(LEASE_BACK).and_then(|at| words.get(at));
        word.map_or(0, |w| w.load(Ordering::Acquire))
    }

    /// The endpoint is about to wait.
    pub fn waits(&self, record: u32, endpoint: Endpoint, phase: Phase, now: u64, call: u64) {
        let (state, peer) = match phase {
            Phase::Idle => (0, Endpoint::NONE),
            Phase::Sending(e) => (1, e),
            Phase::Calling(e) => (2, e),
            Phase::Awaiting(e) => (3, e),
            Phase::Receiving(Filter::From(e)) => (4, e),
            Phase::Receiving(_) => (4, Endpoint::ANY),
        };
        self.store(record, PEER, peer.raw() as u32 as u64);
        self.store(record, SINCE, now);
        self.store(record, CALL, call);
        self.store(record, STATE, endpoint.raw() as u32 as u64 | state << 32);
    }

    /// It waits no more.
    pub fn runs(&self, record: u32, endpoint: Endpoint) {
        self.store(record, STATE, endpoint.raw() as u32 as u64);
    }

    /// It sent a message.
    pub fn sent(&self, record: u32, remote: bool) {
        self.count(record, if remote { SENT_REMOTE } else { SENT_LOCAL });
    }

    /// It copied.
    pub fn copied(&self, record: u32, remote: bool) {
        self.count(record, if remote { COPIES_REMOTE } else { COPIES_LOCAL });
    }
}
