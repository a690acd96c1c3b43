//! Memory a copy reads or writes, and what holds its owner there while bytes move.
//!
//! A client is held in its call for one chunk at a time by the phase of its lane (see [`dvs_ipc::lane`]);
//! whoever ordered a copy of its own memory waits for the end of it anyway.

use super::shore::Shore;
use dvs_abi::{Access, Code};
use dvs_ipc::host::{Host, Memory};
use dvs_ipc::lane::{CopyEnd, Lane, Lost};
use dvs_ipc::link::Link;
use std::fmt;
use std::sync::Arc;

/// How often a hold that another thread has is tried again; a chunk takes microseconds.
const HOLD_TRIES: u32 = 200_000;

/// One side of a copy, on this node.
pub enum Place {
    /// Memory of the process that ordered the copy.
    Own {
        /// The process.
        pid: u32,
    },
    /// Memory lent by the caller of request `seq` in a lane.
    Client {
        /// The process.
        pid: u32,
        /// The link the lane is in.
        memory: Arc<dyn Memory>,
        /// The lane.
        lane: usize,
        /// Number of the call in it.
        seq: u64,
        /// Tells the caller to look at the lane, if the link is the proxy's own.
        shore: Option<Arc<Shore>>,
    },
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Own { pid } => write!(f, "Own({pid})"),
            Place::Client { pid, lane, seq, .. } => write!(f, "Client({pid}, lane {lane}, call {seq})"),
        }
    }
}

impl Place {
    fn pid(&self) -> u32 {
        match self {
            Place::Own { pid } | Place::Client { pid, .. } => *pid,
        }
    }

    fn lane(&self) -> Option<(Lane<'_>, u64)> {
        match self {
            Place::Own { .. } => None,
            Place::Client { memory, lane, seq, .. } => Some((Link::new(memory.words())?.lane(*lane)?, *seq)),
        }
    }

    /// Whether the caller lent the range, by what stands in its lane.
    pub fn lent(&self, address: u64, length: u64, access: Access) -> bool {
        match self.lane() {
            None => true,
            Some((lane, seq)) => lane.lent(seq).is_some_and(|g| g.covers(address, length, access)),
        }
    }

    fn hold(&self) -> Result<(), Code> {
        let Some((lane, seq)) = self.lane() else { return Ok(()) };
        for _ in 0..HOLD_TRIES {
            match lane.begin_copy(seq) {
                Ok(()) => return Ok(()),
                Err(Lost::Copying) => std::thread::yield_now(),
                Err(Lost::Gone | Lost::Closed) => return Err(Code::SRCDIED),
            }
        }
        Err(Code::BUSY)
    }

    fn release(&self, host: &dyn Host) {
        let Some((lane, seq)) = self.lane() else { return };
        if lane.end_copy(seq) == Ok(CopyEnd::CallerLeaves)
            && let Place::Client { shore: Some(shore), lane, .. } = self
            && let Some(link) = Link::new(shore.memory.words())
        {
            link.mark(shore.side.other(), *lane);
            shore.ringer.ring(host, shore.bell_link as usize);
        }
    }

    fn held(&self, host: &dyn Host, copy: impl FnOnce() -> Result<(), Code>) -> Result<(), Code> {
        self.hold()?;
        let copied = copy();
        self.release(host);
        // A process that is gone took its memory with it; the caller learns which side that was.
        copied.map_err(|c| if c == Code::SRCH { Code::SRCDIED } else { c })
    }

    /// Reads a chunk.
    ///
    /// # Errors
    /// `SRCDIED` when the owner has left, `FAULT` for an address it does not have.
    pub fn read(&self, host: &dyn Host, address: u64, into: &mut [u8]) -> Result<(), Code> {
        self.held(host, || host.read_peer(self.pid(), address, into))
    }

    /// Writes a chunk.
    ///
    /// # Errors
    /// As [`Place::read`].
    pub fn write(&self, host: &dyn Host, address: u64, from: &[u8]) -> Result<(), Code> {
        self.held(host, || host.write_peer(self.pid(), address, from))
    }
}
