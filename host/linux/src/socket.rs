//! Control sockets: records over Unix SEQPACKET, with descriptors and the peer's credentials.
//!
//! A record arrives whole or not at all, so there is no framing to get wrong; the kernel says who the peer
//! is. Records are bounded by `CONTROL_BYTES_MAX` bytes and [`FDS_MAX`] descriptors, which close on exec. An
//! empty record is refused, since receiving nothing means the end.

use crate::ready::{readable, writable};
use core::mem::MaybeUninit;
use dvs_abi::Deadline;
use dvs_abi::limits::CONTROL_BYTES_MAX;
use rustix::cmsg_space;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect, listen, recvmsg, sendmsg, shutdown, socket_with, socketpair, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Descriptors a record carries at most.
pub const FDS_MAX: usize = 4;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Who is at the other end, as the kernel saw it when it connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Process number; hold it by a [`crate::pidfd::PidFd`] at once.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One record as received.
#[derive(Debug, Default)]
pub struct Received {
    /// Its bytes, at least one.
    pub bytes: Vec<u8>,
    /// Its descriptors, in order.
    pub fds: Vec<OwnedFd>,
}

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Listener {
    /// Listens at a path, which must not exist; who may connect is the permissions of file and folder.
    ///
    /// # Errors
    /// `AddrInUse` when the path exists; of the file system.
    pub fn bind(path: &Path) -> io::Result<Listener> {
        let fd = new_socket(SocketFlags::NONBLOCK)?;
        bind(&fd, &SocketAddrUnix::new(path)?)?;
        listen(&fd, BACKLOG)?;
        Ok(Listener { fd })
    }

    /// Accepts a connection, waiting for one.
    ///
    /// # Errors
    /// `TimedOut`; of the system: out of descriptors.
    pub fn accept(&self, deadline: Deadline) -> io::Result<Socket> {
        loop {
            match self.try_accept() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !retry_wait(|| readable(self.as_fd(), deadline))? {
                        return Err(Errno::TIMEDOUT.into());
                    }
                }
                done => return done,
            }
        }
    }

    /// Accepts a connection if one waits.
    ///
    /// # Errors
    /// `WouldBlock`; of the system: out of descriptors.
    pub fn try_accept(&self) -> io::Result<Socket> {
        Ok(Socket { fd: accept_with(&self.fd, SocketFlags::CLOEXEC)? })
    }
}

impl Socket {
    /// Connects to a listener.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when nobody listens there.
    pub fn connect(path: &Path) -> io::Result<Socket> {
        let fd = new_socket(SocketFlags::empty())?;
        connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Socket { fd })
    }

    /// Two sockets connected to each other.
    ///
    /// # Errors
    /// Of the system: out of descriptors.
    pub fn pair() -> io::Result<(Socket, Socket)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Socket { fd: a }, Socket { fd: b }))
    }

    /// Takes over a descriptor that is such a socket, for example an inherited one.
    pub const fn from_fd(fd: OwnedFd) -> Socket {
        Socket { fd }
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// Of the system; none is expected.
    pub fn peer(&self) -> io::Result<Credentials> {
        let c = sockopt::socket_peercred(&self.fd)?;
        let pid = u32::try_from(c.pid.as_raw_nonzero().get()).map_err(|_| Errno::SRCH)?;
        Ok(Credentials { pid, uid: c.uid.as_raw(), gid: c.gid.as_raw() })
    }

    /// Ends the connection in both directions; what was sent before is still received.
    pub fn end(&self) {
        // Ended already is as good.
        let _ = shutdown(&self.fd, Shutdown::Both);
    }

    /// Sends a record, waiting until the deadline while the peer's queue is full.
    ///
    /// # Errors
    /// `TimedOut`; `BrokenPipe` when the peer is gone; `InvalidInput` for an empty or too large record.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], deadline: Deadline) -> io::Result<()> {
        loop {
            match self.try_send(bytes, fds) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !retry_wait(|| writable(self.as_fd(), deadline))? {
                        return Err(Errno::TIMEDOUT.into());
                    }
                }
                done => return done,
            }
        }
    }

    /// Sends a record if there is room.
    ///
    /// # Errors
    /// `WouldBlock`, otherwise as [`Socket::send`].
    pub fn try_send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > CONTROL_BYTES_MAX || fds.len() > FDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "control record empty or too large"));
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::INVAL.into());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = retry_on_intr(|| sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, flags))?;
        debug_assert_eq!(sent, bytes.len(), "a record goes whole");
        Ok(())
    }

    /// Receives a record, waiting for it; `None` at the end.
    ///
    /// # Errors
    /// `TimedOut`; `InvalidData` for a record that is too large (it is dropped, its descriptors closed).
    pub fn receive(&self, deadline: Deadline) -> io::Result<Option<Received>> {
        loop {
            match self.try_receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !retry_wait(|| readable(self.as_fd(), deadline))? {
                        return Err(Errno::TIMEDOUT.into());
                    }
                }
                done => return done,
            }
        }
    }

    /// Receives a record if there is one; `None` at the end.
    ///
    /// # Errors
    /// `WouldBlock`, otherwise as [`Socket::receive`].
    pub fn try_receive(&self) -> io::Result<Option<Received>> {
        let mut bytes = vec![0; CONTROL_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let into = &mut [IoSliceMut::new(&mut bytes)];
        let got = match retry_on_intr(|| recvmsg(&self.fd, into, &mut control, flags)) {
            Err(Errno::CONNRESET) => return Ok(None),
            got => got?,
        };
        // Whatever is wrong with the record, its descriptors are owned here and closed when dropped.
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "control record too large"));
        }
        if got.bytes == 0 {
            return Ok(None);
        }
        bytes.truncate(got.bytes);
        Ok(Some(Received { bytes, fds }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | flags, None)?)
}

fn retry_wait(mut wait: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    loop {
        match wait() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
