//! Waiting for one descriptor.

use crate::clock::relative;
use dvs_abi::Deadline;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// Waits until `fd` can be read (or its other end is gone). `false` when the deadline passed first.
///
/// # Errors
/// `Interrupted` when a signal handler ran; otherwise of the system.
pub fn readable(fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<bool> {
    ready(fd, PollFlags::IN, deadline)
}

/// Waits until `fd` can be written (or its other end is gone). `false` when the deadline passed first.
///
/// # Errors
/// As [`readable`].
pub fn writable(fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<bool> {
    ready(fd, PollFlags::OUT, deadline)
}

fn ready(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Deadline) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    match poll(&mut fds, relative(deadline).as_ref()) {
        Ok(0) => Ok(false),
        Ok(_) if fds[0].revents().contains(PollFlags::NVAL) => Err(Errno::BADF.into()),
        Ok(_) => Ok(true),
        Err(e) => Err(e.into()),
    }
}
