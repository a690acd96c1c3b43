//! Where actors live.

pub mod c;
pub mod coroutines;
pub mod forward;
pub mod line;
pub mod nodes;
pub mod threads;

use crate::act::Act;
use crate::actor::Actor;
use crate::ported::Held;
use crate::seen::Seen;
use crate::world::Remote;
use dvs_abi::Code;
use dvs_ipc::Process;
use std::sync::mpsc::{Receiver, Sender, channel};

/// An act and where its outcome goes.
pub type Job = (Act, Sender<Seen>);

/// An actor inside this process.
pub struct Inside {
    jobs: Option<Sender<Job>>,
    process: Process,
    held: Held,
}

impl Inside {
    /// The near end of an actor whose far end takes jobs from the receiver.
    pub fn new(process: &Process, held: &Held) -> (Self, Receiver<Job>) {
        let (jobs, far) = channel();
        (Inside { jobs: Some(jobs), process: process.clone(), held: held.clone() }, far)
    }
}

impl Remote for Inside {
    fn submit(&mut self, act: &Act) -> Receiver<Seen> {
        let (answer, seen) = channel();
        if let Some(jobs) = &self.jobs {
            // An actor that has ended drops the answer's sender, which is how the script learns of it.
            let _ = jobs.send((act.clone(), answer));
        }
        seen
    }

    fn cancel(&mut self) {
        let held = *self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((dc, endpoint)) = held {
            self.process.interrupt(dc, endpoint, Code::INTR);
        }
    }

    fn kill(&mut self) {
        panic!("actors of one process cannot be killed one by one");
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

impl Drop for Inside {
    /// The scenario is over (or failed): whoever still waits is told to stop, so that its thread ends.
    fn drop(&mut self) {
        self.jobs = None;
        self.cancel();
    }
}

/// Performs one job; false when the actor has ended.
pub fn perform(actor: &mut Actor<'_>, job: Job) -> bool {
    let (act, answer) = job;
    match actor.perform(&act) {
        Some(seen) => {
            // Nobody waits for it when the scenario has failed meanwhile.
            let _ = answer.send(seen);
            true
        }
        None => false,
    }
}
