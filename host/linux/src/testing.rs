//! For tests of other crates.

use std::net::{Ipv4Addr, SocketAddr};
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

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_is_given_out_once_and_can_be_listened_at() {
        let (a, b) = (super::own_address(), super::own_address());
        assert_ne!(a, b);
        assert!(a.ip().is_loopback() && std::net::TcpListener::bind(a).is_ok());
    }
}
