//! Reading what sessions wrote on their boards: who waits for whom, and counters.

use dvs_abi::limits::SESSION_ENDPOINTS_MAX;
use dvs_ipc::control::board;
use dvs_ipc::host::View;
use dvs_kern::node::Waiting;
use dvs_linux::memory::{Mapping, Reading};
use rustix::fs::fstat;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Bytes of a record.
const RECORD_BYTES: usize = board::RECORD_WORDS * 8;

/// A session's board, mapped.
#[derive(Clone)]
pub(crate) struct Board {
    view: Arc<dyn View + Send + Sync>,
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
        let most = (SESSION_ENDPOINTS_MAX * RECORD_BYTES).next_multiple_of(4096);
        if bytes < RECORD_BYTES || bytes > most || !bytes.is_multiple_of(8) {
            let text = format!("a board of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let view: Arc<dyn View + Send + Sync> = match Reading::open(file.as_fd(), bytes) {
            Ok(reading) => Arc::new(reading),
            Err(_) => Arc::new(Mapping::open(file.as_fd(), bytes)?),
        };
        Ok(Board { view, records: bytes / RECORD_BYTES })
    }

    /// The record with an index; `None` beyond the end.
    pub(crate) fn record(&self, index: u32) -> Option<BoardRecord> {
        let index = usize::try_from(index).ok().filter(|i| *i < self.records)?;
        let word = |n: usize| self.view.load(index * board::RECORD_WORDS + n);
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
