//! Being asked to end, as something to wait for instead of a handler.

use crate::ready::readable;
use core::mem::MaybeUninit;
use dvs_abi::Deadline;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
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

/// Waits for the next signal that [`termination`] gives word of; its number.
///
/// # Errors
/// Of the system: `signals` is no such descriptor.
pub fn next(signals: &OwnedFd) -> io::Result<i32> {
    // As the system writes one: the number comes first.
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    loop {
        let read = readable(signals.as_fd(), Deadline::NEVER)
            .and_then(|_| rustix::io::read(signals, &mut info).map_err(io::Error::from));
        match read {
            Ok(n) if n == info.len() => return Ok(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            // Somebody else took it, or the wait was interrupted.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ends_with_parent, next, termination, unblocked};
    use crate::clock::now;
    use crate::pidfd::PidFd;
    use dvs_abi::Deadline;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn signals_are_waited_for_one_by_one() {
        let caught = std::thread::spawn(|| {
            let signals = termination().unwrap();
            for signal in [libc::SIGTERM, libc::SIGHUP] {
                // SAFETY: sends a signal to the calling thread, which has blocked it: nothing is run by it.
                assert_eq!(unsafe { libc::raise(signal) }, 0);
                assert_eq!(next(&signals).unwrap(), signal);
            }
        });
        caught.join().unwrap();
        assert!(next(&std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }

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
