//! How much of what other nodes' daemons say waits for ours.
//!
//! ```text
//!   reader of node 3 ──enter(3, n)──▶ channel ──▶ daemon ──leave(3, n)
//!        └─ no room: waits here, so its socket fills, so node 3 waits
//! ```
//! Each node has [`PEER_BACKLOG_BYTES`] of its own: one that floods is held up, the others are not.
//!
//! The wait cannot become a circle: the daemon's loop never waits for the proxy (what it tells it goes into a
//! channel without a bound), hence it always comes to take a record. It ends the wait when it ends the proxy.

use dvs_abi::limits::{NODES_MAX, PEER_BACKLOG_BYTES, RECORD_COST};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Records that wait for the daemon, by node.
#[derive(Debug)]
pub struct Backlog {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug)]
struct State {
    bytes: [usize; NODES_MAX],
    /// Readers in [`Backlog::enter`].
    waiting: usize,
    closed: bool,
}

impl Backlog {
    /// Nothing waits.
    pub(super) fn new() -> Backlog {
        let state = State { bytes: [0; NODES_MAX], waiting: 0, closed: false };
        Backlog { state: Mutex::new(state), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record of `length` bytes of `node` is to be queued: waits until there is room. False when nobody is
    /// going to take it any more.
    pub(super) fn enter(&self, node: u16, length: usize) -> bool {
        let (node, cost) = (usize::from(node), length + RECORD_COST);
        let mut state = self.lock();
        let full = |s: &mut State| {
            !s.closed && s.bytes.get(node).is_some_and(|b| *b > 0 && *b + cost > PEER_BACKLOG_BYTES)
        };
        if full(&mut state) {
            state.waiting += 1;
            state = self.room.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        let Some(bytes) = state.bytes.get_mut(node) else { return false };
        *bytes += cost;
        !state.closed
    }

    /// The daemon has taken a record.
    pub(super) fn leave(&self, node: u16, length: usize) {
        let mut state = self.lock();
        if let Some(bytes) = state.bytes.get_mut(usize::from(node)) {
            *bytes = bytes.saturating_sub(length + RECORD_COST);
        }
        if state.waiting > 0 {
            self.room.notify_all();
        }
    }

    /// The proxy ends: whoever waits goes on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }

    /// Readers that are held up now.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }
}
