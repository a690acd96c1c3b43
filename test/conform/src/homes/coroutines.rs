//! Coroutines of one stand-alone process: all on one thread, under the library's scheduler.
//!
//! The scripts run on another thread. A coroutine without an act looks for one at a short interval; only
//! calls block, and they block in the scheduler, as they would in a program.

use super::{Inside, Job, perform};
use crate::actor::Actor;
use crate::ported::{Held, Ported};
use crate::world::{Home, Need, Remote, Site};
use dvs_abi::Deadline;
use dvs_ipc::Process;
use dvs_ipc::coroutine::{Co, Scheduler};
use dvs_linux::LinuxHost;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// How often a coroutine without an act looks for one.
const LOOK_NS: u64 = 200_000;

type Newborn = (Receiver<Job>, Held);

/// A thread whose coroutines are the actors of `process`.
pub struct Nursery {
    process: Process,
    births: Sender<Newborn>,
}

impl Nursery {
    /// Starts the thread.
    pub fn new(process: Process) -> Self {
        let (births, newborns) = channel();
        let own = process.clone();
        std::thread::spawn(move || {
            let scheduler = Scheduler::new(&own);
            scheduler.spawn(move |co| nurse(co, &newborns)).expect("a first coroutine");
            scheduler.run();
        });
        Nursery { process, births }
    }

    /// A new coroutine.
    pub fn actor(&self) -> Box<dyn Remote> {
        let held = Held::default();
        let (near, jobs) = Inside::new(&self.process, &held);
        self.births.send((jobs, held)).expect("the scheduler lives as long as its home");
        Box::new(near)
    }
}

/// The next thing of a channel; `None` at its end.
fn next<T>(co: &Co<'_>, from: &Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(thing) => return Some(thing),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {
                let now = co.process().shared().host().now();
                co.sleep_until(Deadline::from_ns(now + LOOK_NS));
            }
        }
    }
}

/// Starts coroutines as they are asked for.
fn nurse(co: &Co<'_>, newborns: &Receiver<Newborn>) {
    while let Some((jobs, held)) = next(co, newborns) {
        co.spawn(move |co| {
            let home = || co;
            let mut actor = Actor::new(Box::new(Ported::new(co.process().clone(), home, held)));
            while let Some(job) = next(co, &jobs) {
                if !perform(&mut actor, job) {
                    return;
                }
            }
        })
        .expect("room for a few coroutines");
    }
}

/// A stand-alone process whose actors are coroutines of one thread.
pub struct Coroutines {
    nursery: Nursery,
}

impl Default for Coroutines {
    fn default() -> Self {
        Coroutines { nursery: Nursery::new(Process::alone(Arc::new(LinuxHost))) }
    }
}

impl Home for Coroutines {
    fn alone(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        "coroutines"
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
        self.nursery.actor()
    }

    fn spawn_on(&mut self, _: u16) -> Box<dyn Remote> {
        self.nursery.actor()
    }
}
