//! The loop: waits for descriptors, feeds the state machine, carries out its commands.
//!
//! | part | subject |
//! |---|---|
//! | `sessions` | programs: who is let in, what they say and are told |
//! | `proxied` | the proxy that stands in for other nodes |
//! | `boards` | who waits for whom |

mod boards;
mod proxied;
mod sessions;

use crate::cluster::{ControlPlane, first_generation};
use crate::config::Config;
use crate::conn::Conn;
use crate::desk::{Desk, NodeRecord};
use crate::log::Log;
use crate::moves::Moves;
use crate::paths::{self, Runtime};
use crate::programs::{self, Programs};
use crate::proxy::{Door, ToProxy, Waker};
use crate::shared::SharedLinks;
use crate::watch::Watch;
use dvs_abi::{Code, Deadline, Endpoint, Error};
use dvs_ipc::control::Event as Told;
use dvs_kern::node::Node;
use dvs_kern::node::event::{Command, Event, PROXY, SessionId};
use dvs_linux::clock;
use dvs_linux::epoll::{Event as Ready, Interest, Poller};
use dvs_linux::socket::Listener;
use rustix::process::Signal;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records read from one session before the others have their turn.
const RECORDS_A_TURN: usize = 16;
/// Boards read so lately are not read again.
const BOARDS_FRESH_NS: u64 = 1_000_000;
/// How long the end of a daemon waits for a majority to know of it.
const FAREWELL_NS: u64 = 500_000_000;
/// A program of ours that closed its socket is given so long to end: then its exit code is known.
const LEAVING_NS: u64 = 100_000_000;

/// What a descriptor in the poller belongs to: kind in the high half of the token, number in the low.
mod token {
    pub(crate) const SESSIONS: u64 = 1 << 32;
    pub(crate) const ADMINS: u64 = 2 << 32;
    pub(crate) const SESSION: u64 = 3 << 32;
    pub(crate) const PROCESS: u64 = 4 << 32;
    pub(crate) const WATCHED: u64 = 5 << 32;
    pub(crate) const ADMIN: u64 = 6 << 32;
    pub(crate) const WAKER: u64 = 7 << 32;
    pub(crate) const SIGNALS: u64 = 8 << 32;
    pub(crate) const NUMBER: u64 = u32::MAX as u64;
}

/// A node's daemon.
pub struct Daemon {
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) plane: ControlPlane,
    pub(crate) log: Log,
    pub(crate) desk: Desk,
    pub(crate) programs: Programs,
    pub(crate) moves: Moves,
    pub(crate) started: u64,
    /// Of the node's key, printed by `dvs status`; empty without TLS.
    pub(crate) fingerprint: String,
    runtime: Runtime,
    pub(crate) poller: Poller,
    sessions_at: Listener,
    admins_at: Listener,
    pub(crate) conns: HashMap<SessionId, Conn>,
    watch: Watch,
    links: SharedLinks,
    pub(crate) door: Option<Door>,
    waker: Waker,
    stop: Arc<AtomicBool>,
    signals: Option<OwnedFd>,
    next_session: SessionId,
    /// Drawn at its start: with the number of a session it names one in all lives of this node.
    life: u64,
    /// Until when the node's lease holds, as programs were told last.
    pub(crate) lease_said: u64,
    later: VecDeque<Event>,
    doomed: Vec<(SessionId, String)>,
    /// Sessions that closed their sockets, and until when their process has time to end.
    leaving: VecDeque<(u64, SessionId)>,
    /// Nobody is let in: there are no descriptors.
    deaf: bool,
    /// Programs are let in: this daemon has begun.
    open: bool,
    /// Why it ends, if that is an error.
    pub(crate) failed: Option<String>,
    boards_at: u64,
}

/// Stops a daemon from another thread or a signal handler's thread.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// Asks the daemon to end in order.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Daemon {
    /// Takes the node's folders, and is one of its system's nodes again, or founds or joins one; `echo` = log
    /// to standard error too.
    ///
    /// # Errors
    /// As [`Runtime::claim`]; what is in the node's folder cannot be used; of the system.
    pub fn new(config: Config, echo: bool) -> io::Result<Daemon> {
        let dir = config.runtime_dir.clone().unwrap_or_else(|| paths::runtime_dir(&config.node));
        let runtime = Runtime::claim(&dir)?;
        let poller = Poller::new()?;
        let waker = Waker::new()?;
        let started = clock::now();
        let plane = ControlPlane::start(&config, &waker)?;
        // Only now: whoever can connect finds a node.
        let sessions_at = Listener::bind(&paths::session_socket(runtime.dir()))?;
        let admins_at = Listener::bind(&paths::admin_socket(runtime.dir()))?;
        poller.add(&admins_at, token::ADMINS, Interest::Read)?;
        poller.add(waker.fd(), token::WAKER, Interest::Read)?;
        let generation = first_generation(started);
        let node = Node::new(plane.node_config(std::process::id(), generation));
        let fingerprint = plane.fingerprint();
        let mut daemon = Daemon {
            node,
            plane,
            config,
            log: Log::new(echo),
            desk: Desk::default(),
            programs: Programs::default(),
            moves: Moves::default(),
            started,
            fingerprint,
            runtime,
            poller,
            sessions_at,
            admins_at,
            conns: HashMap::new(),
            watch: Watch::default(),
            links: SharedLinks::default(),
            door: None,
            waker,
            stop: Arc::default(),
            signals: None,
            next_session: PROXY,
            life: crate::proxy::random()? as u64,
            lease_said: 0,
            later: VecDeque::new(),
            doomed: Vec::new(),
            leaving: VecDeque::new(),
            deaf: false,
            open: false,
            failed: None,
            boards_at: 0,
        };
        daemon.open_door()?;
        Ok(daemon)
    }

    /// Opens the door to the other nodes, if this node listens anywhere.
    pub(crate) fn open_door(&mut self) -> io::Result<()> {
        self.door = self.plane.open(&self.config, &self.waker)?;
        self.connect_all();
        Ok(())
    }

    /// The node's folder.
    pub fn dir(&self) -> &Path {
        self.runtime.dir()
    }

    /// The configuration it runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Something to stop the daemon with.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: self.stop.clone(), waker: self.waker.clone() }
    }

    /// Something to wake the daemon with after a message was put into its door.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Ends in order when `signals` (of [`dvs_linux::signal::termination`]) becomes readable.
    ///
    /// # Errors
    /// Of the system: out of descriptors.
    pub fn end_on(&mut self, signals: OwnedFd) -> io::Result<()> {
        self.poller.add(&signals, token::SIGNALS, Interest::Read)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Serves until it is stopped; then tells every session, and removes what it made.
    ///
    /// # Errors
    /// Of the system: waiting failed.
    pub fn run(mut self) -> io::Result<()> {
        self.log.add("daemon", format!("node {} serves in {}", self.config.node, self.dir().display()));
        let mut ready = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let deadline = self.next_deadline();
            match self.poller.wait(&mut ready, deadline) {
                Err(e) if e.kind() == ErrorKind::Interrupted => ready.clear(),
                done => done?,
            }
            for r in &ready {
                self.on_ready(*r);
            }
            self.drain_proxy();
            self.drain_news();
            if deadline.passed(clock::now()) {
                self.feed(Event::Tick);
                self.plane_expire();
                self.desk_expire();
                self.programs_expire();
                self.moves_expire(clock::now());
                self.leaving_expire();
            }
            self.settle();
            self.desk_follow();
        }
        self.shut();
        self.failed.take().map_or(Ok(()), |text| Err(io::Error::other(text)))
    }

    fn next_deadline(&self) -> Deadline {
        let leaving = self.leaving.front().map(|(at, _)| *at);
        let (node, plane) = (self.node.next_deadline(), self.plane.next_deadline());
        let (desk, programs) = (self.desk.next_deadline(), self.programs.next_deadline());
        let next = [node, plane, desk, programs, self.moves.next_deadline(), leaving];
        next.into_iter().flatten().min().map_or(Deadline::NEVER, Deadline::from_ns)
    }

    /// Ends in order.
    fn shut(&mut self) {
        self.log.add("daemon", "ends");
        let sessions: Vec<SessionId> = self.conns.keys().copied().collect();
        for s in sessions {
            self.tell(s, Told::Closing, Vec::new());
        }
        self.programs_close();
        self.desk_close();
        self.settle();
        self.say_farewell();
        self.plane.halt();
        self.plane.closed();
        if let Some(door) = &self.door {
            door.tell(ToProxy::Stop);
        }
        self.door = None;
    }

    /// Has the log say that this node ends, so that the others need not wait for its lease to be over.
    fn say_farewell(&mut self) {
        let until = Deadline::from_ns(clock::now() + FAREWELL_NS);
        let mut ready = Vec::new();
        self.farewell();
        while self.plane.says_farewell() && !until.passed(clock::now()) {
            if self.poller.wait(&mut ready, until).is_err() {
                return;
            }
            for r in ready.iter().filter(|r| r.token == token::WAKER) {
                self.on_ready(*r);
            }
            self.drain_proxy();
            self.drain_news();
        }
    }

    /// Drops the sessions that must go.
    fn settle(&mut self) {
        while let Some((s, why)) = self.doomed.pop() {
            self.drop_session(s, &why);
        }
    }

    fn on_ready(&mut self, r: Ready) {
        let number = (r.token & token::NUMBER) as u32;
        match r.token & !token::NUMBER {
            token::SESSIONS => self.accept_session(),
            token::ADMINS => self.accept_admin(),
            token::SESSION => {
                if r.writable {
                    self.flush(number);
                }
                if r.readable {
                    self.read_session(number, RECORDS_A_TURN);
                }
            }
            token::PROCESS => {
                // What it had said before its end counts, above all how it ends.
                self.read_session(number, usize::MAX);
                self.drop_session(number, "its process ended");
            }
            token::WATCHED => {
                if let Some(fd) = self.watch.held.remove(&number) {
                    let _ = self.poller.remove(&fd);
                }
                self.feed(Event::PidGone { pid: number });
            }
            token::ADMIN => self.admin_ready(number, r),
            token::WAKER => self.waker.clear(),
            token::SIGNALS => self.stop.store(true, Ordering::Release),
            programs::PROCESS => self.program_news(number),
            programs::OUTPUT => self.program_output(number, 0),
            programs::ERRORS => self.program_output(number, 1),
            _ => {}
        }
    }

    /// Lets the state machine decide and does what it says.
    pub(crate) fn feed(&mut self, event: Event) {
        self.later.push_back(event);
        while let Some(event) = self.later.pop_front() {
            for command in self.node.handle(event, clock::now()) {
                self.execute(command);
            }
        }
    }

    fn execute(&mut self, mut command: Command) {
        match &mut command {
            Command::Tell { event: Told::LaneOpened { binding, .. }, .. } => {
                *binding = binding.wrapping_add(self.life);
            }
            Command::Tell { event: Told::Instance { dc, endpoint, may, after }, .. } => {
                *after = self.after_lease(*dc, Endpoint::from_raw(*endpoint).slot(), *may);
            }
            _ => {}
        }
        match command {
            Command::Reply { session, id, result } => self.answer(session, id, result),
            Command::Tell { session: PROXY, event, attach } => self.tell_proxy(event, attach),
            Command::Tell { session, event, attach } => {
                // Without descriptors the link failed; it is taken back by the event that says so.
                if let Some(fds) = self.fds(attach) {
                    self.tell(session, event, fds);
                }
            }
            Command::CreateLink { link } => {
                if let Err(e) = self.links.create(link) {
                    self.log.add("daemon", format!("no memory for a link: {e}"));
                    self.later.push_back(Event::LinkFailed { link });
                }
            }
            Command::DropLink { link } => self.links.remove(link),
            Command::CloseLane { link, lane } => self.links.close(link, lane),
            Command::ResetLane { link, lane } => self.links.reset(link, lane),
            Command::Decide { ticket, want } => self.decide_want(ticket, want),
            Command::Control { node, record } => self.send_node(node, &NodeRecord::Rules(record)),
            Command::Copy { session, id, from, to, length } => {
                let sides = self.copy_end(from).zip(self.copy_end(to));
                match (sides, &self.door) {
                    (Some((from, to)), Some(_)) => self.post(ToProxy::Copy { session, id, from, to, length }),
                    _ => self.answer(session, id, Err(Error::early(Code::SRCDIED).into())),
                }
            }
            Command::StandsBy { dc, slot } => self.move_standby(dc, slot),
            Command::MoveReport { session, request, id, report } => {
                self.move_report(session, request, id, report);
            }
            Command::Signal { pid } => {
                self.signal(pid, Signal::TERM);
            }
            Command::WatchPid { pid } => self.watch_pid(pid),
            Command::Close { session, why } => self.doomed.push((session, why.into())),
            Command::Log(text) => self.log.add("node", text),
        }
    }

    fn watch_pid(&mut self, pid: u32) {
        let held = self.watch.hold(pid);
        let added = match self.watch.held.get(&pid) {
            Some(fd) if held => self.poller.add(fd, token::WATCHED | pid as u64, Interest::Read),
            _ => Err(ErrorKind::NotFound.into()),
        };
        // Held already is as good as held now.
        if added.is_err_and(|e| e.kind() != ErrorKind::AlreadyExists) {
            self.watch.held.remove(&pid);
            self.later.push_back(Event::PidGone { pid });
        }
    }

    /// Signals a process that has a session or is held; true when it was.
    pub(crate) fn signal(&mut self, pid: u32, signal: Signal) -> bool {
        if pid == std::process::id() {
            return false;
        }
        match self.conns.values().find(|c| c.peer.pid == pid) {
            Some(conn) => conn.pidfd.signal(signal).is_ok(),
            None => self.watch.signal(pid, signal),
        }
    }
}
