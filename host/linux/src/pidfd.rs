//! A process held by a descriptor: its end is seen at once, and its number cannot come to mean another
//! process.

use crate::ready::readable;
use dvs_abi::Deadline;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process. The descriptor becomes readable when the process has ended, with all its threads.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Holds the process that has this number now. When the number came from a socket's credentials, check
    /// afterwards that the socket is still connected: then it was that process.
    ///
    /// # Errors
    /// `NotFound`-like (`SRCH`) when there is none; of the system when out of descriptors.
    pub fn open(pid: u32) -> io::Result<PidFd> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
        Ok(PidFd { fd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// Of the system; none is expected.
    pub fn dead(&self) -> io::Result<bool> {
        readable(self.as_fd(), Deadline::NOW)
    }

    /// Waits for its end; `false` when the deadline passed first.
    ///
    /// # Errors
    /// `Interrupted` when a signal handler ran.
    pub fn wait(&self, deadline: Deadline) -> io::Result<bool> {
        readable(self.as_fd(), deadline)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `SRCH` when it has ended, `PERM` when it is not ours.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::PidFd;
    use crate::clock::now;
    use dvs_abi::Deadline;
    use rustix::process::Signal;
    use std::process::{Command, Stdio};

    #[test]
    fn an_end_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let held = PidFd::open(child.id()).unwrap();
        assert!(!held.dead().unwrap());
        held.signal(Signal::KILL).unwrap();
        assert!(held.wait(Deadline::from_ns(now() + 60_000_000_000)).unwrap(), "watchdog");
        assert!(held.dead().unwrap(), "also while it is a zombie");
        child.wait().unwrap();
        assert!(held.dead().unwrap() && held.signal(Signal::KILL).is_err());
        assert!(PidFd::open(0).is_err() && PidFd::open(u32::MAX).is_err());
    }
}
