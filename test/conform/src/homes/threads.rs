//! Threads of one stand-alone process.

use super::{Inside, perform};
use crate::actor::Actor;
use crate::ported::{Held, Ported};
use crate::world::{Home, Need, Remote, Site};
use dvs_ipc::Process;
use dvs_ipc::wait::ThreadWait;
use dvs_linux::LinuxHost;
use std::sync::Arc;

/// A process whose actors are threads.
pub struct Threads {
    process: Process,
}

impl Default for Threads {
    fn default() -> Self {
        Threads { process: Process::alone(Arc::new(LinuxHost)) }
    }
}

/// A thread of `process` that acts.
pub fn thread(process: &Process) -> Box<dyn Remote> {
    let held = Held::default();
    let (near, jobs) = Inside::new(process, &held);
    let process = process.clone();
    std::thread::spawn(move || {
        let home = || ThreadWait::new(process.shared().host());
        let mut actor = Actor::new(Box::new(Ported::new(process.clone(), home, held)));
        while let Ok(job) = jobs.recv() {
            if !perform(&mut actor, job) {
                return;
            }
        }
    });
    Box::new(near)
}

impl Home for Threads {
    fn alone(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "threads"
    }

    fn can(&self, need: Need) -> bool {
        matches!(need, Need::Cancel | Need::OneNode | Need::Copy)
    }

    fn nodes(&self) -> u16 {
        1
    }

    fn node(&self, _: Site) -> u16 {
        0
    }

    fn spawn(&mut self, _: Site) -> Box<dyn Remote> {
        thread(&self.process)
    }

    fn spawn_on(&mut self, _: u16) -> Box<dyn Remote> {
        thread(&self.process)
    }
}
