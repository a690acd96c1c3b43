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

/// Lets a program be asked to end (SIGTERM) when the thread that starts it ends, however that ends: a program
/// of a daemon does not outlive the daemon. What the program starts is not meant.
pub fn ends_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    let ask = move || {
        // SAFETY: sets a number of the calling process alone, and may be called between fork and exec.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: has no arguments, cannot fail, and may be called between fork and exec.
        let alive = unsafe { libc::getppid() } as u32 == parent;
        // The parent ended before the call: nobody is left to hear of the error.
        if alive { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: the closure makes async-signal-safe calls alone: no allocation, no lock.
    unsafe { command.pre_exec(ask) }
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

#[cfg(test)]
mod tests {
    use super::{ends_with_parent, unblocked};
    use crate::clock::now;
    use crate::pidfd::PidFd;
    use dvs_abi::Deadline;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let started = std::thread::spawn(|| {
            let mut command = Command::new("cat");
            ends_with_parent(unblocked(&mut command)).stdin(Stdio::piped()).spawn().unwrap()
        });
        // Its standard input stays open, so nothing else ends it.
        let mut child = started.join().unwrap();
        let held = PidFd::open(child.id()).unwrap();
        assert!(held.wait(Deadline::from_ns(now() + 60_000_000_000)).unwrap(), "watchdog");
        let input = child.stdin.take();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        drop(input);
    }
}
