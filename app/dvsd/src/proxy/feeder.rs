//! Threads that read memory here and send it, one a node, so that a node without credit holds up no other.
//!
//! Several copies to a node take turns, a chunk each. A thread is started with the first copy and ends with
//! the proxy.

use super::router::Router;
use dvs_abi::limits::COPY_CHUNK_BYTES;
use dvs_abi::{Code, Effect, Error, NodeId};
use dvs_linux::LinuxHost;
use dvs_proxy::route::Job;
use dvs_proxy::{DataFrame, Frame, SendError, StreamClass};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long to wait for credit before looking whether the copy is still wanted.
const CREDIT_WAIT: Duration = Duration::from_millis(100);
/// A thread without work looks so often whether the proxy has ended.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// The jobs for one node.
#[derive(Clone, Default)]
pub(super) struct Feeder {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    came: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Running>,
    started: bool,
}

struct Running {
    job: Job,
    announced: bool,
    done: u64,
}

impl Feeder {
    /// Adds a job; false when there can be no thread for it.
    pub(super) fn add(&self, router: &Weak<Router>, node: NodeId, job: Job) -> bool {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.started {
            let (shared, router) = (self.shared.clone(), router.clone());
            let name = format!("dvs-f-{node}");
            let thread = std::thread::Builder::new().name(name).stack_size(256 << 10);
            if thread.spawn(move || run(&shared, &router, node)).is_err() {
                return false;
            }
            queue.started = true;
        }
        queue.jobs.push_back(Running { job, announced: false, done: 0 });
        self.shared.came.notify_one();
        true
    }
}

fn run(shared: &Shared, router: &Weak<Router>, node: NodeId) {
    // For copies within this node.
    let mut buffer = Vec::new();
    loop {
        let next = {
            let queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |q: &mut Queue| q.jobs.is_empty();
            let waited = shared.came.wait_timeout_while(queue, IDLE_WAIT, idle);
            waited.unwrap_or_else(PoisonError::into_inner).0.jobs.pop_front()
        };
        let Some(router) = router.upgrade() else { return };
        let Some(mut running) = next else { continue };
        match running.turn(&router, node, &mut buffer) {
            Ok(false) => {
                let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.jobs.push_back(running);
            }
            Ok(true) => router.fed(running.job.name, Ok(())),
            Err(code) => {
                running.retract(&router, node, code);
                router.fed(running.job.name, Err(code));
            }
        }
    }
}

impl Running {
    fn stopped(&self) -> bool {
        self.job.stop.load(Ordering::Acquire)
    }

    /// Copies one chunk; true when all is done.
    fn turn(&mut self, router: &Router, node: NodeId, buffer: &mut Vec<u8>) -> Result<bool, Code> {
        if self.stopped() {
            return Err(Code::TIMEDOUT);
        }
        if let Some(announce) = &self.job.announce
            && !self.announced
        {
            self.send(router, node, announce)?;
            self.announced = true;
        }
        let (job, done) = (&self.job, self.done);
        let n = (job.length - done).min(COPY_CHUNK_BYTES as u64);
        let last = done + n == job.length;
        let read =
            |bytes: &mut [u8]| job.from.place.read(&LinuxHost, job.from.address.wrapping_add(done), bytes);
        if let Some(to) = &job.to {
            buffer.resize(COPY_CHUNK_BYTES, 0);
            let bytes = &mut buffer[..n as usize];
            read(bytes)?;
            to.place.write(&LinuxHost, to.address.wrapping_add(done), bytes)?;
        } else {
            let mut chunk = router.peers().chunk(node);
            chunk.fill(job.copy, done, last, n as usize, read).map_err(|_| Code::INVAL)??;
            self.send_chunk(router, node, chunk)?;
        }
        self.done += n;
        Ok(last)
    }

    fn send(&self, router: &Router, node: NodeId, frame: &Frame<'_>) -> Result<(), Code> {
        loop {
            match router.peers().send_wait(node, StreamClass::Bulk, frame, CREDIT_WAIT) {
                Ok(()) => return Ok(()),
                Err(SendError::WouldBlock) if self.stopped() => return Err(Code::TIMEDOUT),
                Err(SendError::WouldBlock) => {}
                Err(SendError::Dead) => return Err(Code::NOTCONN),
                Err(SendError::Wire(_)) => return Err(Code::INVAL),
            }
        }
    }

    fn send_chunk(&self, router: &Router, node: NodeId, mut chunk: DataFrame) -> Result<(), Code> {
        loop {
            match router.peers().send_chunk(node, chunk, CREDIT_WAIT) {
                Ok(()) => return Ok(()),
                Err((SendError::WouldBlock, _)) if self.stopped() => return Err(Code::TIMEDOUT),
                Err((SendError::WouldBlock, back)) => chunk = back,
                Err((SendError::Dead, _)) => return Err(Code::NOTCONN),
                Err((SendError::Wire(_), _)) => return Err(Code::INVAL),
            }
        }
    }

    /// Tells the other node, behind what was sent already, that no more comes.
    fn retract(&self, router: &Router, node: NodeId, code: Code) {
        if self.announced {
            let error = Some(Error::new(code, Effect::Unknown));
            let frame = Frame::CopyDone { copy: self.job.copy, length: 0, error };
            // Without credit the node is stuck or dead, and it forgets the copy then.
            let _ = router.peers().send_wait(node, StreamClass::Bulk, &frame, 10 * CREDIT_WAIT);
        }
    }
}
