//! Being asked to end, as something to wait for instead of a handler.

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets a program start without blocked signals, so that it can be asked to end although this one blocks
/// them.
pub fn unblocked(command: &mut Command) -> &mut Command {
    let unblock = || {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set, and both calls may be made between fork and exec.
        let error = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), core::ptr::null_mut())
        };
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    };
    // SAFETY: the closure makes async-signal-safe calls alone: no allocation, no lock.
    unsafe { command.pre_exec(unblock) }
}

/// Blocks SIGINT, SIGTERM and SIGHUP for this thread and those it starts, and gives a descriptor that becomes
/// readable when one of them arrives. To be called before other threads are started; programs started later
/// inherit the blocked signals unless they unblock them.
///
/// # Errors
/// Of the system: out of descriptors.
pub fn termination() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given; the others change or read an initialised set. No
    // handler is installed, so no code of ours runs in a signal.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), core::ptr::null_mut());
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
