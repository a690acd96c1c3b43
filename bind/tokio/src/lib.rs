//! Endpoints for tokio programs: the same calls, awaited instead of blocking.
//!
//! # Why
//! Calls of a [`dvs::Port`] block the thread they are made on, which an asynchronous runtime does not allow.
//! An
//! [`AsyncPort`] owns a port on a thread of its own and hands each call over to it.
//!
//! ```text
//!   task ── call ──> thread of the port ── send, receive, … ──> peers
//!        <─ answer ─      (blocks there)
//! ```
//!
//! # Cancellation
//! Dropping the future of a call before it is done interrupts the call, as [`dvs::Process::interrupt`] does:
//! a message that was not consumed is withdrawn; one that was consumed is answered to nobody. The port is
//! usable at once for the next call.
//!
//! The price is a thread a port and two wake-ups a call (some microseconds); a program that needs the full
//! speed of the local path makes its calls on threads or coroutines.
#![forbid(unsafe_code)]

use dvs::{Code, DcId, Endpoint, Error, Lend, Message, Port, Process, Result, Timeout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&Port) + Send>;

/// A bound endpoint whose calls are awaited.
///
/// ```
/// use dvs::{DcId, Endpoint, Message, Timeout};
/// use dvs_tokio::AsyncPort;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let process = dvs::alone();
/// let mut server = AsyncPort::bind(&process, DcId(0), Endpoint::new(0, 1)).await?;
/// let mut client = AsyncPort::bind(&process, DcId(0), Endpoint::NONE).await?;
/// let to = server.endpoint();
/// let serve = async {
///     let mut m = server.receive(Endpoint::ANY, Timeout::Forever).await?;
///     m.set_mtype(m.mtype() + 1);
///     server.reply(m.source(), m).await
/// };
/// let call = client.sendrec(to, Message::new(41), Timeout::Forever);
/// let (served, answer) = tokio::join!(serve, call);
/// served?;
/// assert_eq!(answer?.mtype(), 42);
/// # Ok::<_, dvs::Error>(()) }).unwrap();
/// ```
pub struct AsyncPort {
    process: Process,
    dc: DcId,
    endpoint: Endpoint,
    jobs: mpsc::Sender<Job>,
}

/// Where a call stands, for its thread and its future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    Runs,
    Over,
    /// Its future was dropped before it was over.
    Dropped,
}

type Shared = Arc<Mutex<Stage>>;

fn stage(s: &Shared) -> MutexGuard<'_, Stage> {
    s.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops the call of a future that is dropped before its answer came.
struct StopsCall<'a> {
    port: &'a AsyncPort,
    stage: Shared,
}

impl Drop for StopsCall<'_> {
    fn drop(&mut self) {
        let mut stage = stage(&self.stage);
        if *stage == Stage::Runs {
            // Under the lock: the thread must not begin another call before it is said that this one is
            // meant.
            self.port.process.stop(self.port.dc, self.port.endpoint, Code::INTR);
        }
        *stage = Stage::Dropped;
    }
}

/// Does `work` unless its future was dropped; a stop meant for it does not reach the next call.
fn perform<T>(port: &Port, work: impl FnOnce(&Port) -> Result<T>, shared: &Shared) -> Option<Result<T>> {
    {
        let mut stage = stage(shared);
        if *stage == Stage::Dropped {
            return None;
        }
        *stage = Stage::Runs;
    }
    let done = work(port);
    let mut stage = stage(shared);
    if *stage == Stage::Dropped {
        port.take_stop();
    }
    *stage = Stage::Over;
    Some(done)
}

impl AsyncPort {
    /// Binds an endpoint; `NONE` takes any free user slot.
    ///
    /// # Errors
    /// As [`dvs::Process::bind_in`]; `NOMEM` when there is no thread.
    pub async fn bind(process: &Process, dc: DcId, endpoint: Endpoint) -> Result<AsyncPort> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (tell, told) = oneshot::channel();
        let owner = process.clone();
        std::thread::Builder::new()
            .name("dvs-port".into())
            .spawn(move || {
                let port = match owner.bind(dc, endpoint) {
                    Ok(port) => port,
                    Err(e) => return drop(tell.send(Err(e))),
                };
                if tell.send(Ok(port.endpoint())).is_ok() {
                    todo.iter().for_each(|job| job(&port));
                }
            })
            .map_err(|_| Error::early(Code::NOMEM))?;
        let endpoint = told.await.map_err(|_| Error::early(Code::NOTBIND))??;
        Ok(AsyncPort { process: process.clone(), dc, endpoint, jobs })
    }

    /// Its identifier.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Runs calls of the port on its thread: for what this type has no method for.
    ///
    /// # Errors
    /// What `work` gives; `NOTBIND` when the thread is gone because earlier work panicked.
    pub async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Port) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let stage = Arc::new(Mutex::new(Stage::Waits));
        let shared = stage.clone();
        let job: Job = Box::new(move |port| {
            if let Some(done) = perform(port, work, &shared) {
                let _ = tell.send(done);
            }
        });
        self.jobs.send(job).map_err(|_| Error::early(Code::NOTBIND))?;
        let _stops = StopsCall { port: self, stage };
        told.await.map_err(|_| Error::early(Code::NOTBIND))?
    }

    /// See [`dvs::Port::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, dst: Endpoint, mut m: Message, timeout: Timeout) -> Result<()> {
        self.run(move |p| p.send(dst, &mut m, timeout)).await
    }

    /// See [`dvs::Port::receive`].
    ///
    /// # Errors
    /// As there.
    pub async fn receive(&mut self, src: Endpoint, timeout: Timeout) -> Result<Message> {
        self.run(move |p| {
            let mut m = Message::default();
            p.receive(src, &mut m, timeout).map(|()| m)
        })
        .await
    }

    /// See [`dvs::Port::sendrec`].
    ///
    /// # Errors
    /// As there.
    pub async fn sendrec(&mut self, dst: Endpoint, mut m: Message, timeout: Timeout) -> Result<Message> {
        self.run(move |p| p.sendrec(dst, &mut m, timeout).map(|()| m)).await
    }

    /// See [`dvs::Port::sendrec_with`]: lends a buffer the callee may read and write, and gives it back with
    /// the answer.
    ///
    /// # Errors
    /// As there. The buffer is lost with the error.
    pub async fn sendrec_with(
        &mut self,
        dst: Endpoint,
        mut m: Message,
        mut buffer: Vec<u8>,
        timeout: Timeout,
    ) -> Result<(Message, Vec<u8>)> {
        self.run(move |p| {
            p.sendrec_with(dst, &mut m, &mut [Lend::Write(&mut buffer)], timeout)?;
            Ok((m, buffer))
        })
        .await
    }

    /// See [`dvs::Port::reply`].
    ///
    /// # Errors
    /// As there.
    pub async fn reply(&mut self, dst: Endpoint, mut m: Message) -> Result<()> {
        self.run(move |p| p.reply(dst, &mut m, Timeout::Forever)).await
    }

    /// See [`dvs::Port::notify_value`].
    ///
    /// # Errors
    /// As there.
    pub async fn notify(&mut self, dst: Endpoint, value: u64) -> Result<()> {
        self.run(move |p| p.notify_value(Endpoint::SELF, dst, value)).await
    }
}

#[cfg(test)]
mod tests {
    use super::AsyncPort;
    use dvs::{Code, DcId, Endpoint, Message, Timeout};
    use std::time::Duration;

    #[tokio::test]
    async fn a_dropped_call_is_interrupted_and_the_port_goes_on() {
        let process = dvs::alone();
        let mut a = AsyncPort::bind(&process, DcId(0), Endpoint::new(0, 1)).await.unwrap();
        let mut b = AsyncPort::bind(&process, DcId(0), Endpoint::new(0, 2)).await.unwrap();
        let to = b.endpoint();
        let dropped =
            tokio::time::timeout(Duration::from_millis(20), a.sendrec(to, Message::new(1), Timeout::Forever));
        assert!(dropped.await.is_err(), "nobody receives");
        let e = b.receive(Endpoint::ANY, Timeout::Now).await.unwrap_err();
        assert_eq!(e.code, Code::AGAIN, "the message was withdrawn");
        let serve = async {
            let m = b.receive(Endpoint::ANY, Timeout::Forever).await.unwrap();
            b.reply(m.source(), m).await.unwrap();
        };
        let (answer, ()) = tokio::join!(a.sendrec(to, Message::new(7), Timeout::Forever), serve);
        assert_eq!(answer.unwrap().mtype(), 7);
    }

    /// Wherever the call is when its future is dropped, it ends, and no later call does for it.
    #[tokio::test]
    async fn a_call_dropped_at_any_moment_ends_and_it_alone() {
        let process = dvs::alone();
        let mut a = AsyncPort::bind(&process, DcId(0), Endpoint::new(0, 1)).await.unwrap();
        for spins in 0..2_000_u32 {
            {
                let mut call = std::pin::pin!(a.receive(Endpoint::ANY, Timeout::Forever));
                std::future::poll_fn(|cx| {
                    assert!(call.as_mut().poll(cx).is_pending(), "nobody sends");
                    std::task::Poll::Ready(())
                })
                .await;
                (0..spins % 500 * 40).for_each(|_| std::hint::spin_loop());
            }
            let now = a.receive(Endpoint::ANY, Timeout::Now).await.unwrap_err();
            assert_eq!(now.code, Code::AGAIN, "the next call is not stopped");
        }
    }
}
