//! One session's socket, with what waits to be written to it and the memories it brought.

use crate::boards::Board;
use dvs_abi::limits::{SESSION_BACKLOG_MAX, SESSION_QUEUE_MAX};
use dvs_ipc::bell::{BELL_BYTES, Ringer};
use dvs_linux::memory::{Mapping, Reading};
use dvs_linux::pidfd::PidFd;
use dvs_linux::socket::{Credentials, Socket};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Descriptors that go with a record.
pub(crate) type Fds = Vec<Arc<OwnedFd>>;

/// What a session handed over in its hello.
pub(crate) struct Memories {
    pub bell: Arc<OwnedFd>,
    pub status: Arc<OwnedFd>,
    pub ringer: Ringer,
    pub board: Board,
}

impl Memories {
    /// Checks and maps `[bell, status, board]`.
    pub(crate) fn open(fds: Vec<OwnedFd>) -> io::Result<Memories> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let [bell, status, board]: [OwnedFd; 3] =
            fds.try_into().map_err(|_| wrong("hello without its three memories"))?;
        let ringer = Ringer::new(
            Arc::new(Mapping::open(bell.as_fd(), BELL_BYTES)?),
            Arc::new(Reading::open(status.as_fd(), BELL_BYTES)?),
        );
        Ok(Memories {
            ringer: ringer.ok_or_else(|| wrong("bell too short"))?,
            board: Board::open(&board)?,
            bell: Arc::new(bell),
            status: Arc::new(status),
        })
    }
}

/// One session.
pub(crate) struct Conn {
    pub socket: Socket,
    pub peer: Credentials,
    pub pidfd: PidFd,
    /// `None` until it said hello.
    pub memories: Option<Memories>,
    /// How its process ended, when that is known: it was a program of this daemon.
    pub ended: Option<i32>,
    /// It closed its socket, and how its process ends is about to be known.
    pub leaving: bool,
    queue: VecDeque<(Vec<u8>, Fds)>,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrote {
    /// All is written.
    All,
    /// Some waits until the session reads.
    Waits,
}

impl Conn {
    pub(crate) fn new(socket: Socket, peer: Credentials, pidfd: PidFd) -> Self {
        Conn { socket, peer, pidfd, memories: None, ended: None, leaving: false, queue: VecDeque::new() }
    }

    /// Writes a record, or keeps it until the session reads.
    ///
    /// # Errors
    /// When the session is gone or has let too many pile up.
    pub(crate) fn write(&mut self, bytes: Vec<u8>, fds: Fds) -> io::Result<Wrote> {
        if self.queue.len() >= SESSION_QUEUE_MAX {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "it does not read its socket"));
        }
        self.queue.push_back((bytes, fds));
        self.flush()
    }

    /// Shows it until when the node's lease holds.
    pub(crate) fn tell_lease(&self, until: u64) {
        if let Some(memories) = &self.memories {
            memories.board.set_lease(until);
        }
    }

    /// Whether so much waits to be read by it that it should not ask for more.
    pub(crate) fn is_behind(&self) -> bool {
        self.queue.len() > SESSION_BACKLOG_MAX
    }

    /// Writes what waits, as far as there is room.
    ///
    /// # Errors
    /// When the session is gone.
    pub(crate) fn flush(&mut self) -> io::Result<Wrote> {
        while let Some((bytes, fds)) = self.queue.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(|f| f.as_fd()).collect();
            match self.socket.try_send(bytes, &borrowed) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Wrote::Waits),
                Err(e) => return Err(e),
            }
        }
        Ok(Wrote::All)
    }
}
