//! For tests of other crates.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of the loopback for a daemon to listen at, which only this process gives out, and once only.
///
/// A port the system calls free now may be another connection's when the daemon comes to take it. So the
/// address is one that belongs to this process (its number is in it), and the port is one the system gives
/// nobody by itself.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | a, b, c), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// What comes before every frame of a [`frames`] socket: which sums the sender has left to its device, and
/// how a large frame is to be cut. Whoever passes a frame on passes this on, too.
pub const FRAME_HEADER: usize = 10;
/// Of `linux/if_packet.h`.
const PACKET_VNET_HDR: libc::c_int = 15;

/// A socket for all frames that arrive at an interface, and for sending frames out of it. Needs root, in the
/// network namespace of this process.
///
/// # Errors
/// There is no such interface, or not the permission.
pub fn frames(interface: &str) -> Result<OwnedFd> {
    let name = CString::new(interface).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    // SAFETY: the name is a string that ends with a zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(Error::last_os_error());
    }
    let every = (libc::ETH_P_ALL as u16).to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a system call with numbers only.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nobody else closes it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is a number of that size, and lives over the call.
    let set = unsafe {
        let value = std::ptr::from_ref(&on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, value, size)
    };
    if set != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: zeros are a valid address.
    let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    at.sll_family = libc::AF_PACKET as u16;
    at.sll_protocol = every;
    at.sll_ifindex = index as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is one of that size, and lives over the call.
    match unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&at).cast(), size) } {
        0 => Ok(socket),
        _ => Err(Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_is_given_out_once_and_can_be_listened_at() {
        let (a, b) = (super::own_address(), super::own_address());
        assert_ne!(a, b);
        assert!(a.ip().is_loopback() && std::net::TcpListener::bind(a).is_ok());
    }
}
