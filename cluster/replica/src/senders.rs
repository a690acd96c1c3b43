//! The threads that send: one for each other seat, from when somebody sits there.

use crate::answers::{Answers, Ended};
use crate::carrier::Carrier;
use dvs_abi::{Code, DcId, Endpoint};
use dvs_ipc::Process;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two attempts to get an endpoint to send from.
const BIND_AGAIN: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Inner {
    seats: BTreeSet<usize>,
    threads: Vec<JoinHandle<()>>,
    over: bool,
}

/// The senders of one replica.
pub(crate) struct Senders {
    process: Process,
    dc: DcId,
    carrier: Arc<Carrier>,
    answers: Arc<Answers>,
    inner: Mutex<Inner>,
}

impl Senders {
    pub fn new(process: &Process, dc: DcId, carrier: Arc<Carrier>, answers: Arc<Answers>) -> Arc<Senders> {
        Arc::new(Senders { process: process.clone(), dc, carrier, answers, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts those that are missing.
    pub fn look(self: &Arc<Self>) {
        for seat in self.carrier.wanted() {
            let mut inner = self.inner();
            if inner.over || inner.seats.contains(&seat) {
                continue;
            }
            let here = self.clone();
            let run = move || here.run(seat);
            // If the system has no thread left, it is tried again at the next look.
            if let Ok(thread) = std::thread::Builder::new().name("replica-sender".to_owned()).spawn(run) {
                inner.seats.insert(seat);
                inner.threads.push(thread);
            }
        }
    }

    fn run(&self, seat: usize) {
        let port = loop {
            match self.process.bind(self.dc, Endpoint::NONE) {
                Ok(port) => break port,
                // The node has no slot just now.
                Err(e) if matches!(e.code, Code::NOSPC | Code::TIMEDOUT | Code::AGAIN | Code::STALE) => {
                    let ended = self.answers.ended_within(BIND_AGAIN).is_some();
                    if ended || self.inner().over {
                        return;
                    }
                }
                Err(e) => return self.answers.end(Ended::Unbound(e)),
            }
        };
        match self.carrier.run_sender(seat, &port) {
            Err(error) if error.code != Code::SHUTDOWN => self.answers.end(Ended::Unbound(error)),
            _ => {}
        }
    }

    /// Waits until all have ended, after the carrier was closed.
    pub fn join(&self) {
        let threads = {
            let mut inner = self.inner();
            inner.over = true;
            std::mem::take(&mut inner.threads)
        };
        // One that panicked has told so on standard error.
        threads.into_iter().for_each(|t| drop(t.join()));
    }
}
