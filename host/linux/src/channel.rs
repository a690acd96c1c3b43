//! The control socket of a session.

use crate::memory::{Mapping, Reading};
use crate::socket::{Received, Socket};
use dvs_abi::limits::SESSION_ENDPOINTS_MAX;
use dvs_abi::{Code, Deadline, Error, Result};
use dvs_ipc::bell::BELL_BYTES;
use dvs_ipc::control::board::RECORD_WORDS;
use dvs_ipc::link::LINK_BYTES;
use dvs_ipc::outside::{Channel, Mapped, SessionMemory};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a session's board: a record for each endpoint, and the daemon's.
pub const BOARD_BYTES: usize = (SESSION_ENDPOINTS_MAX + 1) * RECORD_WORDS * 8;

/// A connection to the daemon.
pub struct LinuxChannel {
    socket: Socket,
}

impl LinuxChannel {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// Of the system: no such file (no daemon runs there), refused, no permission.
    pub fn connect(path: &Path) -> io::Result<LinuxChannel> {
        Ok(LinuxChannel { socket: Socket::connect(path)? })
    }
}

fn lost<E>(_: E) -> Error {
    Error::early(Code::DVSINIT)
}

impl Channel for LinuxChannel {
    fn hello(&self, record: &[u8]) -> Result<SessionMemory> {
        let none = |_| Error::early(Code::NOMEM);
        let (bell, bell_fd) = Mapping::create("dvs-bell", BELL_BYTES).map_err(none)?;
        let (status, status_fd) = Mapping::create_status("dvs-status", BELL_BYTES).map_err(none)?;
        let (board, board_fd) = Mapping::create("dvs-board", BOARD_BYTES).map_err(none)?;
        let fds = [bell_fd.as_fd(), status_fd.as_fd(), board_fd.as_fd()];
        self.socket.send(record, &fds, Deadline::NEVER).map_err(lost)?;
        Ok(SessionMemory { bell: Arc::new(bell), status: Arc::new(status), board: Arc::new(board) })
    }

    fn send(&self, record: &[u8]) -> Result<()> {
        self.socket.send(record, &[], Deadline::NEVER).map_err(lost)
    }

    fn try_send(&self, record: &[u8]) -> Result<bool> {
        match self.socket.try_send(record, &[]) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(lost(e)),
        }
    }

    fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)> {
        loop {
            match self.socket.receive(Deadline::NEVER) {
                Ok(Some(Received { bytes, fds })) => return Some((bytes, map(&fds))),
                Ok(None) => return None,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    fn end(&self) {
        self.socket.end();
    }
}

/// Link memory, the peer's bell, the peer's status; nothing if one is not what it should be.
fn map(fds: &[OwnedFd]) -> Vec<Mapped> {
    let [memory, bell, status] = fds else { return Vec::new() };
    let mapped = || -> io::Result<Vec<Mapped>> {
        Ok(vec![
            Mapped::Memory(Arc::new(Mapping::open(memory.as_fd(), LINK_BYTES)?)),
            Mapped::Memory(Arc::new(Mapping::open(bell.as_fd(), BELL_BYTES)?)),
            Mapped::View(Arc::new(Reading::open(status.as_fd(), BELL_BYTES)?)),
        ])
    };
    mapped().unwrap_or_default()
}
