//! Runs a movable server: as the instance of its service, or as one that stands by until it comes.
//!
//! ```text
//!            bind                                    an order to go            the log: it is there
//!  start ─────────► serves ◄──────────────────────────► leaves ────────────────────► moved: ends, or
//!    │ it is elsewhere ▲        the move is not to be                                stands by
//!    ▼                 │ the log: it is here                                            │
//!  stands by ◄─────────┼──────────────────────────────────────────────────────────────┘
//!    └─── takes over ──┘
//! ```
//! One thread serves, one request at a time. Another one sends the state while it does, and looks at the
//! server between two requests only. When callers are held, the thread that serves has nothing in its hands:
//! what was taken up was answered, what was not is with its caller, and goes to the target.

use crate::come;
use crate::gate::Gate;
use crate::leave::{self, Left};
use crate::server::HandOver;
use dvs_abi::{Code, DcId, Endpoint, Error, Kind, Message, NodeId, Result, Timeout};
use dvs_ipc::{Port, Process};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a movable server is run.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// So much that is left is sent while callers are held, in bytes.
    pub small: u64,
    /// Rounds before that, at most.
    pub rounds_max: u32,
    /// After it has moved away it stands by, so that it can come back.
    pub stays: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { small: 128 << 10, rounds_max: 12, stays: false }
    }
}

/// What a host does, told as it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// It is the instance and serves.
    Serves,
    /// It stands by, with this endpoint of its own.
    StandsBy(Endpoint),
    /// It begins to move there.
    Leaves(NodeId),
    /// It does not move after all.
    Stays,
    /// It has moved there.
    Moved(NodeId),
}

/// Why a host has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its service is on this node now.
    Moved(NodeId),
    /// The service is served by somebody else: its node was taken for lost meanwhile.
    Elsewhere,
    /// It was asked to end.
    Asked,
}

/// A host of one server.
///
/// ```no_run
/// # use dvs_migrate::{HandOver, Host, Ended};
/// # fn run(process: &dvs_ipc::Process, server: impl HandOver) -> dvs_abi::Result<()> {
/// use dvs_abi::{DcId, Endpoint};
/// // process: dvs::attach("counter")?
/// match Host::new(process, DcId(0), Endpoint::new(0, 10)).run(server)? {
///     Ended::Moved(node) => println!("goes on at {node}"),
///     other => println!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Host<'a> {
    pub(crate) process: &'a Process,
    pub(crate) dc: DcId,
    pub(crate) service: Endpoint,
    pub(crate) manner: Manner,
    news: Option<&'a (dyn Fn(News) + Sync)>,
}

/// What the threads of a host share.
pub(crate) struct Desk<'a, S> {
    server: &'a Mutex<S>,
    /// Who wants the server and does not serve stands here; the thread that serves passes by before each
    /// request. Locks are not fair: it would not let go of the server for long enough otherwise.
    door: Mutex<()>,
    pub(crate) gate: Gate,
    /// How the move that ended it did.
    pub(crate) left: Mutex<Option<Left>>,
}

impl<S> Desk<'_, S> {
    /// Has a look at the server between two requests.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        let _first = lock(&self.door);
        look(&mut lock(self.server))
    }

    /// The server, for its next request.
    fn serve(&self) -> MutexGuard<'_, S> {
        drop(lock(&self.door));
        lock(self.server)
    }
}

/// A server that panicked has ended its thread, and with it the program.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Host<'a> {
    /// Of the service at this endpoint of a container.
    pub fn new(process: &'a Process, dc: DcId, service: Endpoint) -> Self {
        Host { process, dc, service, manner: Manner::default(), news: None }
    }

    /// In another manner than the usual one.
    pub fn manner(self, manner: Manner) -> Self {
        Host { manner, ..self }
    }

    /// Tells what it does.
    pub fn news(self, news: &'a (dyn Fn(News) + Sync)) -> Self {
        Host { news: Some(news), ..self }
    }

    pub(crate) fn tell(&self, news: News) {
        if let Some(tell) = self.news {
            tell(news);
        }
    }

    /// Serves until the service has moved away, or the program is asked to end. If the service is served
    /// already, waits until it comes here.
    ///
    /// # Errors
    /// Of binding the service's endpoint, or one of its own; `DVSINIT`: the daemon is gone.
    pub fn run<S: HandOver>(&self, server: S) -> Result<Ended> {
        let server = Mutex::new(server);
        let mut bound = match self.process.bind(self.dc, self.service) {
            Err(e) if e.code == Code::SLOTUSED => come::stand_by(self, &server),
            bound => bound,
        };
        loop {
            let port = match bound {
                Err(e) if e.code == Code::SHUTDOWN => return Ok(Ended::Asked),
                bound => bound?,
            };
            self.tell(News::Serves);
            let ended = self.serve(port, &server)?;
            match ended {
                Ended::Moved(_) if self.manner.stays => {
                    lock(&server).reset();
                    bound = come::stand_by(self, &server);
                }
                ended => return Ok(ended),
            }
        }
    }

    fn serve<S: HandOver>(&self, port: Port, server: &Mutex<S>) -> Result<Ended> {
        let desk = Desk { server, door: Mutex::new(()), gate: Gate::new(), left: Mutex::new(None) };
        let ended = std::thread::scope(|s| {
            // Without a daemon there is nowhere to move to.
            if !self.process.is_alone() {
                s.spawn(|| leave::watch(self, &desk));
            }
            let ended = requests(&port, &desk);
            desk.gate.over();
            ended
        });
        match (lock(&desk.left).take(), ended) {
            (Some(Left::Moved(node)), _) => Ok(Ended::Moved(node)),
            (Some(Left::Elsewhere), _) => Ok(Ended::Elsewhere),
            (None, Some(e)) if e.code == Code::SHUTDOWN => Ok(Ended::Asked),
            (None, Some(e)) => Err(e),
            (None, None) => Ok(Ended::Asked),
        }
    }
}

/// Serves until it must not any more; the error that ended it, if one did.
fn requests<S: HandOver>(port: &Port, desk: &Desk<'_, S>) -> Option<Error> {
    let mut m = Message::default();
    while desk.gate.pass() {
        match port.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
            Ok(()) if m.kind() == Some(Kind::Request) => {
                let caller = m.source();
                desk.serve().request(port, &mut m);
                // A caller that went away meanwhile is not the server's problem.
                let _ = port.reply(caller, &mut m, Timeout::Forever);
            }
            Ok(()) => desk.serve().told(port, &m),
            Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR | Code::TIMEDOUT) => {}
            // It is elsewhere by the log; the other thread hears so, too, and says how.
            Err(e) if matches!(e.code, Code::RMTPROC | Code::NOTBIND) => {
                desk.gate.ask(|| {});
                return if desk.gate.pass() { Some(e) } else { None };
            }
            Err(e) => return Some(e),
        }
    }
    None
}
