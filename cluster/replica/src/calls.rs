//! What a replica does with the calls it has taken up. Calls that come together go into the log together;
//! reads that come together share one barrier.
//!
//! ```text
//!  call ──► prepare ──► propose ──┬─► answer
//!              ▲                  ├─ not done: nobody leads ─► wait a little, again
//!              └── again ◄────────┴─ nobody knows: the duplicate table will
//!  query ─► barrier (one for all that came before it) ─► look at the state ─► answer
//! ```
//! Apart from the threads around it, so that the simulator drives it on virtual time.

use crate::call::{CallName, Done};
use crate::passive::Planned;
use crate::service::{Outcome, Service};
use dvs_abi::Effect;
use dvs_log::{LogError, Node};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One attempt to have something logged, or a barrier, takes so long at most.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Who waits for a read barrier.
type Barred = oneshot::Sender<Result<(), LogError>>;

/// The calls of one replica.
pub struct Calls<M> {
    node: Node<M>,
    /// Who waits for a read barrier; nobody runs one if there is no list.
    barriers: Mutex<Option<Vec<Barred>>>,
    /// Calls that are planned: one at a time.
    planning: tokio::sync::Mutex<()>,
}

impl<M: Service> Calls<M> {
    /// Those of the replica with this member of the group.
    pub fn new(node: Node<M>) -> Arc<Self> {
        Arc::new(Calls { node, barriers: Mutex::default(), planning: tokio::sync::Mutex::default() })
    }

    /// Has a call done, whoever leads, as long as its caller waits.
    pub async fn call(self: &Arc<Self>, mut name: CallName, request: &[u8], until: Instant) -> Outcome {
        // One that is planned is planned on what the one before has changed.
        let _alone = if M::PLANS { Some(self.planning.lock().await) } else { None };
        let mut maybe = false;
        loop {
            let error = match self.attempt(name, request, until).await {
                // Somebody else was first, or parts were dropped; nothing was done.
                Ok(Done::Replan | Done::Incomplete) if Instant::now() < until => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(Done::Replan | Done::Incomplete) if !maybe => return Outcome::Full,
                Ok(done) => return done.into(),
                Err(error) => error,
            };
            match error.effect() {
                Effect::Yes => return Outcome::AnswerTooLarge,
                Effect::Unknown => (maybe, name.again) = (true, true),
                Effect::No => {}
            }
            match outcome(&error, maybe) {
                Some(outcome) => return outcome,
                None if Instant::now() + PAUSE >= until => return given_up(&error, maybe),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        name: CallName,
        request: &[u8],
        until: Instant,
    ) -> Result<Done, LogError> {
        if M::PLANS {
            self.barrier(until).await?;
        }
        match self.node.read(|m| m.prepare(name, request)) {
            Planned::Done(done) => Ok(done),
            Planned::Log(entry) => self.propose(entry, until).await,
            Planned::Parts(entries) => {
                let mut done = Done::Incomplete;
                for entry in entries {
                    done = self.propose(entry, until).await?;
                    if !matches!(&done, Done::Answer(a) if a.is_empty()) {
                        // The last one; or it was done before, or has to begin anew.
                        return Ok(done);
                    }
                }
                Ok(done)
            }
        }
    }

    async fn propose(&self, entry: Vec<u8>, until: Instant) -> Result<Done, LogError> {
        let within = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
        Ok(Done::decode(&self.node.propose(entry, within).await?))
    }

    /// What the state here says.
    pub fn look(&self, request: &[u8]) -> Outcome {
        self.node.read(|m| m.query(request)).map_or(Outcome::Malformed, Outcome::Answer)
    }

    /// Answers what changes nothing, by a state that has all that was answered before.
    pub async fn query(self: &Arc<Self>, request: &[u8], until: Instant) -> Outcome {
        loop {
            match self.barrier(until).await {
                Ok(()) => return self.look(request),
                Err(error) => match outcome(&error, false) {
                    Some(outcome) => return outcome,
                    None if Instant::now() + PAUSE >= until => return given_up(&error, false),
                    None => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }

    /// A read barrier that begins after this call. While one is under way, all that come wait for one more.
    async fn barrier(self: &Arc<Self>, until: Instant) -> Result<(), LogError> {
        let (tell, told) = oneshot::channel();
        let runs = {
            let mut waiting = self.barriers();
            let runs = waiting.is_some();
            waiting.get_or_insert_default().push(tell);
            runs
        };
        if !runs {
            tokio::spawn(self.clone().run_barriers());
        }
        tokio::time::timeout_at(until, told)
            .await
            .unwrap_or(Ok(Err(LogError::NoLeader)))
            .unwrap_or(Err(LogError::NoLeader))
    }

    fn barriers(&self) -> MutexGuard<'_, Option<Vec<Barred>>> {
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs barriers until nobody waits for one.
    async fn run_barriers(self: Arc<Self>) {
        while let Some(list) = self.take_barred() {
            let passed = self.node.read_barrier(ATTEMPT).await;
            list.into_iter().for_each(|w| drop(w.send(passed.clone())));
        }
    }

    /// Those who wait for a barrier now; if nobody does, the next one who comes has barriers run again.
    fn take_barred(&self) -> Option<Vec<Barred>> {
        let mut waiting = self.barriers();
        let list = std::mem::take(waiting.as_mut()?);
        if list.is_empty() {
            *waiting = None;
        }
        (!list.is_empty()).then_some(list)
    }
}

/// What a caller is told of an error; nothing if it is to be tried again.
fn outcome(error: &LogError, maybe: bool) -> Option<Outcome> {
    match error {
        LogError::TooLarge { .. } => Some(Outcome::TooLarge),
        LogError::Stopped(_) | LogError::Store { .. } => {
            Some(if maybe { Outcome::EndedUnknown } else { Outcome::Ended })
        }
        _ => None,
    }
}

/// What a caller is told when its time is over.
fn given_up(error: &LogError, maybe: bool) -> Outcome {
    match error {
        _ if maybe => Outcome::Unknown,
        LogError::NoQuorum => Outcome::NoQuorum,
        LogError::Full => Outcome::Full,
        _ => Outcome::NoLeader,
    }
}
