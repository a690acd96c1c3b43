//! Processes that are held although they have no session (yet): those somebody else bound.

use crate::paths;
use dvs_linux::pidfd::PidFd;
use rustix::process::Signal;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// The held processes, by pid.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) held: HashMap<u32, PidFd>,
}

impl Watch {
    /// Holds a process; false when there is none.
    pub(crate) fn hold(&mut self, pid: u32) -> bool {
        if self.held.contains_key(&pid) {
            return true;
        }
        match PidFd::open(pid) {
            Ok(fd) => self.held.insert(pid, fd).is_none(),
            Err(_) => false,
        }
    }

    /// Signals a held process.
    pub(crate) fn signal(&self, pid: u32, signal: Signal) -> bool {
        self.held.get(&pid).is_some_and(|fd| fd.signal(signal).is_ok())
    }
}

/// Whether a user may bind a process, and so have it asked to end: it must be the user's own.
pub(crate) fn may_bind(uid: u32, pid: u32) -> bool {
    let owner = std::fs::metadata(format!("/proc/{pid}")).map(|m| m.uid());
    owner.is_ok_and(|o| uid == 0 || o == uid || uid == paths::uid())
}
