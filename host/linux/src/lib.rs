//! Everything that touches Linux: shared memory, futex, clock, processor, peer memory, sockets, process
//! descriptors, epoll.
//!
//! This crate and `bind/c` are the only ones with `unsafe`; each block says why it is sound. What is offered
//! is safe, small and by subject:
//!
//! | module | what |
//! |---|---|
//! | [`memory`] | sealed memfds, mapped as slices of atomics; descriptors of others are verified first |
//! | [`futex`] | sleep on and wake a word |
//! | [`clock`] | monotonic time, the current processor, pinning |
//! | [`peer`] | copying between address spaces |
//! | [`socket`] | Unix SEQPACKET records with descriptors and the peer's credentials |
//! | [`pidfd`] | learning of a process's end without races |
//! | [`signal`] | being asked to end |
//! | [`epoll`], [`ready`] | waiting for descriptors |
//! | [`channel`] | the control socket of a session |
//! | [`paths`] | where a node's sockets are |
//! | [`error`] | error numbers to [`dvs_abi::Code`] |
//!
//! [`LinuxHost`] joins them into the [`dvs_ipc::host::Host`] the call library asks for.

pub mod channel;
pub mod clock;
pub mod epoll;
pub mod error;
pub mod futex;
pub mod memory;
pub mod paths;
pub mod peer;
pub mod pidfd;
pub mod ready;
pub mod signal;
pub mod socket;
pub mod testing;

use dvs_abi::{Code, Deadline};
use dvs_ipc::host::{Host, Space, Wake};
use dvs_ipc::sync::AtomicU64;

/// The real operating system.
///
/// ```
/// use dvs_ipc::host::Host;
/// let host = dvs_linux::LinuxHost;
/// let before = host.now();
/// assert!(host.now() >= before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LinuxHost;

impl Host for LinuxHost {
    fn now(&self) -> u64 {
        clock::now()
    }

    fn cpu(&self) -> u32 {
        clock::cpu()
    }

    fn slice(&self) -> u64 {
        clock::slice()
    }

    fn futex_wait(&self, word: &AtomicU64, expect: u32, deadline: Deadline, shared: bool) -> Wake {
        futex::wait(word, expect, deadline, shared)
    }

    fn futex_wake(&self, word: &AtomicU64, n: u32, shared: bool) {
        futex::wake(word, n, shared);
    }

    fn read_peer(&self, pid: u32, address: u64, into: &mut [u8]) -> Result<(), Code> {
        peer::read(pid, address, into)
    }

    fn write_peer(&self, pid: u32, address: u64, from: &[u8]) -> Result<(), Code> {
        peer::write(pid, address, from)
    }

    fn copy(&self, from: Space, from_at: u64, to: Space, to_at: u64, length: u64) -> Result<(), Code> {
        peer::copy(from, from_at, to, to_at, length)
    }
}
