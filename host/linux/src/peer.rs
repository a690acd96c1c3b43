//! Copying between address spaces: one copy, made by the kernel, without the peer's help.
//!
//! The kernel checks every address, so a wrong one is `FAULT` and never a signal. It permits a copy when it
//! would permit tracing the peer: the same user, and with the Yama module the peer's consent
//! ([`allow_peers`]).

use crate::error::code;
use core::ffi::c_void;
use dvs_abi::Code;
use dvs_abi::limits::COPY_CHUNK_BYTES;
use dvs_ipc::host::Space;
use rustix::io::Errno;
use rustix::process::{PTracer, set_ptracer};

/// Between two peers: through a buffer that stays in the cache.
const BOUNCE_BYTES: usize = 64 << 10;

/// One side of a system call: an address here and one there.
#[derive(Clone, Copy)]
enum Direction {
    /// From the peer to here.
    Read,
    /// From here to the peer.
    Write,
}

/// Copies from a peer's memory.
///
/// # Errors
/// `FAULT` for a bad address (a part may have been copied), `SRCH` when the peer is gone, `PERM` when the
/// system forbids it.
pub fn read(pid: u32, address: u64, into: &mut [u8]) -> Result<(), Code> {
    // SAFETY: the local range is `into`, borrowed exclusively for the time of the call.
    unsafe { transfer(Direction::Read, pid, into.as_mut_ptr() as u64, address, into.len() as u64) }
}

/// Copies into a peer's memory.
///
/// # Errors
/// As [`read`].
pub fn write(pid: u32, address: u64, from: &[u8]) -> Result<(), Code> {
    // SAFETY: the local range is `from` and is only read.
    unsafe { transfer(Direction::Write, pid, from.as_ptr() as u64, address, from.len() as u64) }
}

/// Copies between two address spaces, either of which may be our own; see [`dvs_ipc::host::Host::copy`].
///
/// # Errors
/// As [`read`].
pub fn copy(from: Space, from_at: u64, to: Space, to_at: u64, length: u64) -> Result<(), Code> {
    let (direction, pid, local, remote) = match (from, to) {
        (Space::Pid(a), Space::Pid(b)) => return between(a, from_at, b, to_at, length),
        (Space::Own, Space::Pid(pid)) => (Direction::Write, pid, from_at, to_at),
        (Space::Pid(pid), Space::Own) => (Direction::Read, pid, to_at, from_at),
        (Space::Own, Space::Own) => (Direction::Read, std::process::id(), to_at, from_at),
    };
    // SAFETY: the kernel checks both addresses and faults cannot happen here. That the own destination is
    // memory the program lent for this is the contract of `Host::copy`, as it is with a write to
    // /proc/self/mem.
    unsafe { transfer(direction, pid, local, remote, length) }
}

/// Lets processes of the same user copy from and to this one where the Yama module forbids it by default.
/// Where there is no Yama nothing is needed and this does nothing.
pub fn allow_peers() {
    // INVAL: no Yama. It has no other error.
    let _ = set_ptracer(PTracer::Any);
}

fn between(from: u32, from_at: u64, to: u32, to_at: u64, length: u64) -> Result<(), Code> {
    from_at.checked_add(length).ok_or(Code::FAULT)?;
    to_at.checked_add(length).ok_or(Code::FAULT)?;
    let mut buffer = vec![0; BOUNCE_BYTES.min(usize::try_from(length).unwrap_or(BOUNCE_BYTES))];
    let mut done = 0;
    while done < length {
        let n = (length - done).min(BOUNCE_BYTES as u64) as usize;
        read(from, from_at + done, &mut buffer[..n])?;
        write(to, to_at + done, &buffer[..n])?;
        done += n as u64;
    }
    Ok(())
}

/// Copies all of a range, in chunks the kernel does not cut short.
///
/// # Safety
/// With `Direction::Read` the local range must be memory nobody else relies on: it is overwritten.
unsafe fn transfer(d: Direction, pid: u32, local: u64, remote: u64, length: u64) -> Result<(), Code> {
    let pid = i32::try_from(pid).ok().filter(|p| *p > 0).ok_or(Code::SRCH)?;
    local.checked_add(length).ok_or(Code::FAULT)?;
    remote.checked_add(length).ok_or(Code::FAULT)?;
    let mut done = 0;
    while done < length {
        let n = (length - done).min(COPY_CHUNK_BYTES as u64);
        let here = part(local + done, n);
        let there = part(remote + done, n);
        // SAFETY: one valid vector each; the kernel checks what they point at. The local range is free to be
        // overwritten by our own precondition.
        let moved = unsafe {
            match d {
                Direction::Read => libc::process_vm_readv(pid, &here, 1, &there, 1, 0),
                Direction::Write => libc::process_vm_writev(pid, &here, 1, &there, 1, 0),
            }
        };
        match moved {
            // A short count is a fault in the middle: the next round starts at it and says so.
            1.. => done += moved as u64,
            0 => return Err(Code::FAULT),
            _ => return Err(last_error()),
        }
    }
    Ok(())
}

const fn part(address: u64, length: u64) -> libc::iovec {
    libc::iovec { iov_base: address as *mut c_void, iov_len: length as usize }
}

fn last_error() -> Code {
    let error = std::io::Error::last_os_error();
    match Errno::from_io_error(&error) {
        // An address beyond what a process can have at all.
        Some(Errno::INVAL) => Code::FAULT,
        Some(errno) => code(errno),
        None => Code::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::{copy, read, write};
    use dvs_abi::Code;
    use dvs_ipc::host::Space;

    fn own() -> u32 {
        std::process::id()
    }

    #[test]
    fn own_memory_through_every_door() {
        let source: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let mut copied = vec![0; source.len()];
        read(own(), source.as_ptr() as u64, &mut copied).unwrap();
        assert_eq!(source, copied);
        let pairs = [
            (Space::Own, Space::Own),
            (Space::Own, Space::Pid(own())),
            (Space::Pid(own()), Space::Own),
            (Space::Pid(own()), Space::Pid(own())),
        ];
        for (from, to) in pairs {
            copied.fill(0);
            let at = copied.as_mut_ptr() as u64;
            copy(from, source.as_ptr() as u64, to, at, source.len() as u64).unwrap();
            assert_eq!(source, copied, "{from:?} {to:?}");
        }
        write(own(), copied.as_mut_ptr() as u64, &[1, 2, 3]).unwrap();
        assert_eq!(copied[..4], [1, 2, 3, source[3]]);
    }

    #[test]
    fn bad_addresses_are_faults() {
        let mut buffer = [0; 64];
        let good = buffer.as_mut_ptr() as u64;
        for bad in [0, 8, u64::MAX - 10, u64::MAX / 2, 1 << 63, u64::MAX - 64] {
            assert_eq!(read(own(), bad, &mut buffer), Err(Code::FAULT), "{bad:#x}");
            assert_eq!(write(own(), bad, &buffer), Err(Code::FAULT), "{bad:#x}");
            for (a, b) in [(Space::Own, Space::Own), (Space::Pid(own()), Space::Own)] {
                assert_eq!(copy(a, bad, b, good, 64), Err(Code::FAULT), "{bad:#x}");
                assert_eq!(copy(a, good, b, bad, 64), Err(Code::FAULT), "{bad:#x}");
                assert_eq!(copy(b, good, a, bad, 64), Err(Code::FAULT), "{bad:#x}");
            }
        }
        assert_eq!(copy(Space::Own, good, Space::Own, good, u64::MAX), Err(Code::FAULT));
        assert_eq!(copy(Space::Own, 1, Space::Own, 2, 0), Ok(()), "nothing is copied from anywhere");
    }

    #[test]
    fn a_dead_peer_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(read(pid, 4096, &mut [0; 8]), Err(Code::SRCH));
        assert_eq!(read(0, 4096, &mut [0; 8]), Err(Code::SRCH));
        assert_eq!(read(u32::MAX, 4096, &mut [0; 8]), Err(Code::SRCH));
    }
}
