//! Waiting for many descriptors: a thin cover of epoll with 64-bit tokens.

use crate::clock::relative;
use core::mem::MaybeUninit;
use dvs_abi::Deadline;
use rustix::event::epoll;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Events one wait gives at most; the rest comes with the next.
const EVENTS_MAX: usize = 64;

/// What to wait for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// It can be read.
    Read,
    /// It can be read or written.
    ReadWrite,
    /// It can be written; that it ended is found by writing.
    Write,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        match self {
            Interest::Read => read,
            Interest::ReadWrite => read | epoll::EventFlags::OUT,
            Interest::Write => epoll::EventFlags::OUT,
        }
    }
}

/// Something happened on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The token it was added with.
    pub token: u64,
    /// It can be read, or it ended: reading says which.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
}

/// A set of descriptors, level-triggered.
pub struct Poller {
    fd: OwnedFd,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// Of the system: too many descriptors.
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { fd: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Adds a descriptor.
    ///
    /// # Errors
    /// `EXIST` when it is in the set; `PERM` for one that is always ready, like a file.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// `NOENT` when it is not in the set.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.fd, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Removes a descriptor. To be done before it is closed.
    ///
    /// # Errors
    /// `NOENT` when it is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, fd)?)
    }

    /// Waits and puts what happened into `events`, which is emptied first; empty when the deadline passed.
    ///
    /// # Errors
    /// `Interrupted` when a signal handler ran.
    pub fn wait(&mut self, events: &mut Vec<Event>, deadline: Deadline) -> io::Result<()> {
        events.clear();
        // On the stack: the events of the kernel's interface may not move to another thread, a poller may.
        let mut buffer = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS_MAX];
        let (happened, _) = epoll::wait(&self.fd, &mut buffer, relative(deadline).as_ref())?;
        events.extend(happened.iter().map(|e| {
            let flags = e.flags;
            let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR | epoll::EventFlags::RDHUP;
            Event {
                token: e.data.u64(),
                readable: flags.intersects(epoll::EventFlags::IN | ended),
                writable: flags.intersects(epoll::EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Interest, Poller};
    use dvs_abi::Deadline;
    use rustix::io::write;
    use rustix::pipe::pipe;

    #[test]
    fn tells_what_happened_where() {
        let mut poller = Poller::new().unwrap();
        let (reader, writer) = pipe().unwrap();
        let mut events = vec![Event { token: 1, readable: true, writable: true }];
        poller.add(&reader, u64::MAX, Interest::Read).unwrap();
        poller.wait(&mut events, Deadline::NOW).unwrap();
        assert_eq!(events, []);
        write(&writer, b"x").unwrap();
        poller.wait(&mut events, Deadline::NEVER).unwrap();
        assert_eq!(events, [Event { token: u64::MAX, readable: true, writable: false }]);
        poller.remove(&reader).unwrap();
        assert!(poller.remove(&reader).is_err() && poller.modify(&reader, 0, Interest::Read).is_err());
        poller.add(&writer, 4, Interest::ReadWrite).unwrap();
        poller.wait(&mut events, Deadline::NEVER).unwrap();
        assert_eq!(events, [Event { token: 4, readable: false, writable: true }]);
        drop(reader);
        poller.wait(&mut events, Deadline::NEVER).unwrap();
        assert!(events[0].readable, "the other end is gone");
    }
}
