//! The thread that brings this node's commands into the log, one after the other, each repeated until it is
//! answered.
//!
//! ```text
//!   Daemon ── Order ──► [ queue ] ──► clerk ── propose ──► log
//!      ▲                                │  ▲      │ no leader, no majority, no answer: again
//!      └────────── News::Answered ──────┘  └──────┘
//! ```
//! A command has a number in its node's incarnation, so one that was done without anybody hearing of it is
//! done once and answered twice. It waits as long as there is no majority: whoever asked for it gives up
//! waiting by their own deadline, and may be told only that it is not known whether it will be done.

use super::News;
use super::ledger::{self, Ledger};
use crate::proxy::Waker;
use dvs_abi::limits::DECISIONS_MAX;
use dvs_abi::{Code, NodeId};
use dvs_control::command::{Command, Entry, Refusal, Reply};
use dvs_control::epoch::Epoch;
use dvs_log::{Group, LogError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long one attempt takes at most; between two the clerk looks whether it is to end.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// A command to be brought into the log.
pub(super) struct Order {
    /// Names it in [`News::Answered`].
    pub(super) ticket: u64,
    /// For a `Found` or `Begin`: the incarnation it follows.
    pub(super) follows: Option<Epoch>,
    /// For what the rules want: the incarnation in which they did. Whatever they had in an earlier one is
    /// gone.
    pub(super) of: Option<Epoch>,
    /// Only as long as this node leads.
    pub(super) here: bool,
    /// What is wanted.
    pub(super) command: Command,
}

#[derive(Default)]
struct Desk {
    queue: Mutex<VecDeque<Order>>,
    came: Condvar,
    stop: AtomicBool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clerk.
pub(super) struct Clerk {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Clerk {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(
        me: NodeId,
        group: Arc<Group<Ledger>>,
        news: Sender<News>,
        waker: Waker,
    ) -> std::io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let mut work = Work { desk: desk.clone(), me, group, news, waker, incarnation: None, number: 0 };
        let thread = std::thread::Builder::new().name("dvs-clerk".into()).spawn(move || work.run())?;
        Ok(Clerk { desk, thread: Some(thread) })
    }

    /// Takes an order; false when too many wait.
    pub(super) fn order(&self, order: Order) -> bool {
        let mut queue = self.desk.lock();
        // One that begins the node's incarnation goes before what was meant for the last one.
        if order.follows.is_some() {
            queue.push_front(order);
        } else if queue.len() < DECISIONS_MAX {
            queue.push_back(order);
        } else {
            return false;
        }
        self.desk.came.notify_one();
        true
    }

    /// What waits was wanted by an incarnation that is over: gives back its tickets.
    pub(super) fn clear(&self) -> Vec<u64> {
        self.desk.lock().drain(..).map(|order| order.ticket).collect()
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        {
            let _queue = self.desk.lock();
            self.desk.stop.store(true, Ordering::Release);
            self.desk.came.notify_one();
        }
        // A panic there was reported when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Work {
    desk: Arc<Desk>,
    me: NodeId,
    group: Arc<Group<Ledger>>,
    news: Sender<News>,
    waker: Waker,
    incarnation: Option<Epoch>,
    /// Of the last command of this incarnation.
    number: u64,
}

impl Work {
    fn run(&mut self) {
        while let Some(order) = self.next() {
            let verdict = self.settle(&order);
            let Some((place, answer)) = verdict else { continue };
            if let (Ok(Reply::Begun(epoch)), Some(_)) = (&answer, order.follows) {
                (self.incarnation, self.number) = (Some(*epoch), 0);
            }
            let _ = self.news.send(News::Answered { ticket: order.ticket, place, answer });
            self.waker.wake();
        }
    }

    fn next(&self) -> Option<Order> {
        let queue = self.desk.lock();
        let idle = |q: &mut VecDeque<Order>| q.is_empty() && !self.stopped();
        let mut queue = self.desk.came.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        queue.pop_front().filter(|_| !self.stopped())
    }

    fn stopped(&self) -> bool {
        self.desk.stop.load(Ordering::Acquire)
    }

    /// Lets some time pass before the next attempt.
    fn pause(&self) {
        let queue = self.desk.lock();
        let stays = |_: &mut VecDeque<Order>| !self.stopped();
        let waited = self.desk.came.wait_timeout_while(queue, PAUSE, stays);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Brings a command into the log; nothing if this thread is to end.
    fn settle(&mut self, order: &Order) -> Option<ledger::Verdict> {
        let refuse =
            |code: Code, text: String| Some((Epoch::default(), Err(Refusal { code: code as i32, text })));
        let incarnation = match (order.follows, self.incarnation) {
            (Some(epoch), _) | (None, Some(epoch)) => epoch,
            (None, None) => {
                return refuse(Code::STALE, "this node has not begun yet".into());
            }
        };
        if order.of.is_some_and(|of| of != incarnation) {
            return refuse(Code::STALE, "this node has begun anew since".into());
        }
        if order.follows.is_none() {
            self.number += 1;
        }
        let number = if order.follows.is_some() { 0 } else { self.number };
        let at = super::wall_clock();
        let entry = Entry { from: self.me, incarnation, number, at, command: order.command.clone() };
        let bytes = ledger::encode(&entry);
        while !self.stopped() {
            let done = match order.here {
                true => self.group.propose_here(bytes.clone(), ATTEMPT),
                false => self.group.propose(bytes.clone(), ATTEMPT),
            };
            match done {
                Ok(answer) => match ledger::verdict(&answer) {
                    Some(verdict) => return Some(verdict),
                    None => return refuse(Code::VERSION, "the answer cannot be read".into()),
                },
                // It will not be smaller the next time.
                Err(e @ LogError::TooLarge { .. }) => return refuse(Code::BADRANGE, e.to_string()),
                Err(LogError::NoLeader) if order.here => {
                    return refuse(Code::STALE, "this node does not lead any more".into());
                }
                // Mostly after a while; a leader without a majority knows at once.
                Err(_) => self.pause(),
            }
        }
        None
    }
}
