//! Reading what sessions wrote on their boards: who waits for whom, and counters.

use dvs_abi::limits::SESSION_ENDPOINTS_MAX;
use dvs_ipc::control::board;
use dvs_ipc::host::{Memory, View};
use dvs_kern::node::Waiting;
use dvs_linux::memory::Mapping;
use rustix::fs::fstat;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of a record.
const RECORD_BYTES: usize = board::RECORD_WORDS * 8;

/// A session's board, mapped.
#[derive(Clone)]
pub(crate) struct Board {
    memory: Arc<Mapping>,
    records: usize,
}

/// What a record says. Written by a program, so nothing of it is trusted.
#[derive(Clone, Copy, Default)]
pub(crate) struct BoardRecord {
    pub endpoint: i32,
    pub state: u8,
    pub peer: i32,
    pub since: u64,
    pub call: u64,
    /// Sent local, sent remote, copies local, copies remote.
    pub counters: [u64; 4],
}

impl Board {
    /// Maps a board that came from a session: whole records, sealed, within bounds.
    pub(crate) fn open(file: &OwnedFd) -> io::Result<Board> {
        let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        let most = ((SESSION_ENDPOINTS_MAX + 1) * RECORD_BYTES).next_multiple_of(4096);
        if bytes < 2 * RECORD_BYTES || bytes > most || !bytes.is_multiple_of(RECORD_BYTES) {
            let text = format!("a board of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let memory = Arc::new(Mapping::open(file.as_fd(), bytes)?);
        Ok(Board { memory, records: bytes / RECORD_BYTES - 1 })
    }

    /// Until when the node's lease holds. Whoever writes over it deceives itself only.
    pub(crate) fn set_lease(&self, until: u64) {
        let words = self.memory.words();
        if let Some(word) = words.len().checked_sub(board::LEASE_BACK).and_then(|at| words.get(at)) {
            word.store(until, Ordering::Release);
        }
    }

    /// The record with an index; `None` beyond the end.
    pub(crate) fn record(&self, index: u32) -> Option<BoardRecord> {
        let index = usize::try_from(index).ok().filter(|i| *i < self.records)?;
        let word = |n: usize| self.memory.load(index * board::RECORD_WORDS + n);
        let state = word(board::STATE);
        Some(BoardRecord {
            endpoint: state as u32 as i32,
            state: (state >> 32) as u8,
            peer: word(board::PEER) as u32 as i32,
            since: word(board::SINCE),
            call: word(board::CALL),
            counters: [
                word(board::SENT_LOCAL),
                word(board::SENT_REMOTE),
                word(board::COPIES_LOCAL),
                word(board::COPIES_REMOTE),
            ],
        })
    }
}

impl BoardRecord {
    /// The wait it tells of, if it is the record of this endpoint and there is one.
    pub(crate) fn waiting(&self, dc: u16, endpoint: i32) -> Option<Waiting> {
        let waits = self.endpoint == endpoint && (board::SENDING..=board::RECEIVING).contains(&self.state);
        let BoardRecord { state, peer, since, call, .. } = *self;
        waits.then_some(Waiting { dc, endpoint, state, peer, since, call })
    }
}
