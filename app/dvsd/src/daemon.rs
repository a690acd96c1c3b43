//! The loop: waits for descriptors, feeds the state machine, carries out its commands.

use crate::boards::BoardRecord;
use crate::cluster::{ControlPlane, first_generation};
use crate::config::Config;
use crate::conn::{Conn, Fds, Memories, Wrote};
use crate::desk::{Desk, NodeRecord};
use crate::log::Log;
use crate::moves::Moves;
use crate::paths::{self, Runtime};
use crate::programs::{self, Programs};
use crate::proxy::{CopyEnd, Door, FromProxy, ToProxy, Waker};
use crate::shared::{Progress, SharedLinks};
use crate::watch::{self, Watch};
use dvs_abi::limits::{NAME_BYTES, PROCESS_SESSIONS_MAX, PROXY_TURN_MAX, SESSIONS_MAX};
use dvs_abi::{Code, Deadline, Endpoint, Error, NodeId};
use dvs_ipc::bell::Ringer;
use dvs_ipc::control::{self, Answer, Event as Told, FromDaemon, Numbered, ProcInfo, Request, WireError};
use dvs_kern::node::dc::Dc;
use dvs_kern::node::descriptor::Descriptor;
use dvs_kern::node::event::{Attach, Command, CopySide, Event, PROXY, SessionId};
use dvs_kern::node::{Node, Waiting};
use dvs_linux::clock;
use dvs_linux::epoll::{Event as Ready, Interest, Poller};
use dvs_linux::memory::Mapping;
use dvs_linux::pidfd::PidFd;
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

    pub(crate) fn session_number(&mut self) -> SessionId {
        // Numbers are not used again while they are in use; 32 bits of them come round after years.
        loop {
            self.next_session = self.next_session.wrapping_add(1).max(1);
            if !self.conns.contains_key(&self.next_session) && !self.desk.has(self.next_session) {
                return self.next_session;
            }
        }
    }

    fn accept_session(&mut self) {
        let socket = match self.sessions_at.try_accept() {
            Ok(socket) => socket,
            Err(e) => return self.go_deaf(&e),
        };
        if self.conns.len() >= SESSIONS_MAX {
            return self.log.add("session", format!("refused: there are {SESSIONS_MAX} already"));
        }
        let (Ok(peer), number) = (socket.peer(), self.session_number()) else { return };
        // The table is for all processes: none takes it whole.
        if self.conns.values().filter(|c| c.peer.pid == peer.pid).count() >= PROCESS_SESSIONS_MAX {
            let text = format!("refused: pid {} has {PROCESS_SESSIONS_MAX} already", peer.pid);
            return self.log.add("session", text);
        }
        let Ok(pidfd) = PidFd::open(peer.pid) else { return };
        let added = self
            .poller
            .add(&socket, token::SESSION | number as u64, Interest::Read)
            .and_then(|()| self.poller.add(&pidfd, token::PROCESS | number as u64, Interest::Read));
        match added {
            Ok(()) => drop(self.conns.insert(number, Conn::new(socket, peer, pidfd))),
            Err(e) => self.log.add("session", format!("refused pid {}: {e}", peer.pid)),
        }
    }

    pub(crate) fn next_admin(&mut self) -> Option<dvs_linux::socket::Socket> {
        self.admins_at.try_accept().map_err(|e| self.go_deaf(&e)).ok()
    }

    /// Out of descriptors: nobody is let in until somebody has left, or the loop would find the same one at
    /// the door for ever.
    fn go_deaf(&mut self, e: &io::Error) {
        let nobody = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted);
        if nobody || self.deaf {
            return;
        }
        self.log.add("daemon", format!("lets nobody in until somebody leaves: {e}"));
        if self.open {
            let _ = self.poller.remove(&self.sessions_at);
        }
        let _ = self.poller.remove(&self.admins_at);
        self.deaf = true;
    }

    /// This daemon has begun: programs are let in.
    pub(crate) fn open_to_programs(&mut self) {
        if !std::mem::replace(&mut self.open, true) && !self.deaf {
            let _ = self.poller.add(&self.sessions_at, token::SESSIONS, Interest::Read);
        }
    }

    /// Somebody left.
    pub(crate) fn hear_again(&mut self) {
        if std::mem::take(&mut self.deaf) {
            if self.open {
                let _ = self.poller.add(&self.sessions_at, token::SESSIONS, Interest::Read);
            }
            let _ = self.poller.add(&self.admins_at, token::ADMINS, Interest::Read);
        }
    }

    fn read_session(&mut self, s: SessionId, records: usize) {
        for _ in 0..records {
            let Some(conn) = self.conns.get(&s) else { return };
            if conn.is_behind() && records != usize::MAX {
                return;
            }
            match conn.socket.try_receive() {
                Ok(Some(record)) => {
                    let Ok(numbered) = control::decode::<Numbered>(&record.bytes) else {
                        return self.drop_session(s, "it sent something that is no record");
                    };
                    self.on_record(s, numbered, record.fds);
                }
                Ok(None) => return self.socket_closed(s),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => return self.drop_session(s, &format!("its socket failed: {e}")),
            }
        }
    }

    /// A session closed its socket: mostly because its process is ending. Of a program of this daemon the
    /// exit code is known in a moment, and belongs into the notices of its end.
    fn socket_closed(&mut self, s: SessionId) {
        let Some(conn) = self.conns.get_mut(&s) else { return };
        let pid = conn.peer.pid;
        if !conn.leaving && self.programs.has_pid(pid) && self.programs.code_of(pid).is_none() {
            conn.leaving = true;
            let _ = self.poller.remove(&conn.socket);
            return self.leaving.push_back((clock::now() + LEAVING_NS, s));
        }
        self.drop_session(s, "it closed its socket");
    }

    fn leaving_expire(&mut self) {
        let now = clock::now();
        while let Some((_, s)) = self.leaving.pop_front_if(|(at, _)| *at <= now) {
            if self.conns.get(&s).is_some_and(|c| c.leaving) {
                self.drop_session(s, "it closed its socket");
            }
        }
    }

    fn on_record(&mut self, s: SessionId, numbered: Numbered, fds: Vec<OwnedFd>) {
        let Numbered { id, request } = numbered;
        let Some(conn) = self.conns.get_mut(&s) else { return };
        let (pid, uid) = (conn.peer.pid, conn.peer.uid);
        match (&request, &conn.memories) {
            (Request::Hello { version, name }, None) => {
                if *version < control::VERSION {
                    self.answer(s, id, Err(Error::early(Code::VERSION).into()));
                    return self.doomed.push((s, "it speaks no version of ours".into()));
                }
                match Memories::open(fds) {
                    Ok(memories) => {
                        conn.memories = Some(memories);
                        conn.tell_lease(self.lease_said);
                    }
                    Err(e) => {
                        self.answer(s, id, Err(Error::early(Code::INVAL).into()));
                        return self.doomed.push((s, format!("its memories are not as they must be: {e}")));
                    }
                }
                let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES).collect();
                self.log.add("session", format!("{s}: {name}, pid {pid}"));
                let operator = uid == 0 || uid == dvs_linux::paths::uid();
                self.feed(Event::Connected { session: s, id, pid, operator, name });
            }
            (_, None) => self.doomed.push((s, "it did not say hello first".into())),
            (Request::Bind { pid: other, .. }, _)
                if *other != 0 && *other != pid && !watch::may_bind(uid, *other) =>
            {
                self.answer(s, id, Err(Error::early(Code::BADPID).into()));
            }
            _ => {
                if let Request::Withdraw { id } = request {
                    self.post(ToProxy::Withdraw { session: s, id });
                }
                match request {
                    // Asked by the thousand: it may be told what others were told just now.
                    Request::DeadlockCheck { .. } => self.refresh_boards(),
                    // Judged by who waits for whom at this moment.
                    Request::MigrateStart { .. } => self.read_boards(true),
                    Request::Wakeup { .. } | Request::ProcInfo { .. } => self.read_boards(false),
                    _ => {}
                }
                self.feed(Event::Request { session: s, id, request });
            }
        }
    }

    pub(crate) fn drop_session(&mut self, s: SessionId, why: &str) {
        let Some(conn) = self.conns.remove(&s) else { return };
        let _ = self.poller.remove(&conn.socket);
        let _ = self.poller.remove(&conn.pidfd);
        if conn.memories.is_some() {
            let code = conn.ended.or_else(|| self.programs.code_of(conn.peer.pid));
            let ended = code.map_or(String::new(), |c| format!(" (exit code {c})"));
            self.log.add("session", format!("{s}: pid {} is gone: {why}{ended}", conn.peer.pid));
            self.post(ToProxy::Gone { session: s });
            self.feed(Event::Died { session: s, code });
            self.move_session_over(s);
        }
        drop(conn);
        self.hear_again();
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

    pub(crate) fn answer(&mut self, s: SessionId, id: u64, mut result: Result<Answer, WireError>) {
        if let Ok(Answer::Proc(info)) = &mut result {
            self.add_counters(info);
        }
        if s == PROXY {
            self.post(ToProxy::Reply { id, result });
        } else if id == 0 {
            // Nobody waits for it.
        } else if self.desk.has(s) {
            self.desk_answer(s, id, result);
        } else {
            self.write(s, &FromDaemon::Reply { id, result }, Vec::new());
        }
    }

    pub(crate) fn tell(&mut self, s: SessionId, event: Told, fds: Fds) {
        if !self.desk.has(s) {
            self.write(s, &FromDaemon::Event(event), fds);
        }
    }

    fn write(&mut self, s: SessionId, record: &FromDaemon, fds: Fds) {
        let Some(conn) = self.conns.get_mut(&s) else { return };
        let Ok(bytes) = control::encode(record) else {
            return self.doomed.push((s, "an answer to it is too long".into()));
        };
        match conn.write(bytes, fds) {
            Ok(Wrote::All) => {}
            Ok(Wrote::Waits) => self.listen_to(s),
            Err(e) => self.doomed.push((s, e.to_string())),
        }
    }

    /// Waits for a session that has something to read: for its requests too, unless it is behind.
    fn listen_to(&self, s: SessionId) {
        if let Some(conn) = self.conns.get(&s) {
            let interest = if conn.is_behind() { Interest::Write } else { Interest::ReadWrite };
            let _ = self.poller.modify(&conn.socket, token::SESSION | s as u64, interest);
        }
    }

    fn flush(&mut self, s: SessionId) {
        let Some(conn) = self.conns.get_mut(&s) else { return };
        match conn.flush() {
            Ok(Wrote::All) => {
                let _ = self.poller.modify(&conn.socket, token::SESSION | s as u64, Interest::Read);
            }
            Ok(Wrote::Waits) => self.listen_to(s),
            Err(e) => self.doomed.push((s, e.to_string())),
        }
    }

    /// The descriptors that go with a record; `None` when they are not there any more.
    fn fds(&self, attach: Option<Attach>) -> Option<Fds> {
        let Some(Attach { link, peer }) = attach else { return Some(Vec::new()) };
        let memory = self.links.file(link)?;
        let (bell, status) = if peer == PROXY {
            let door = self.door.as_ref()?;
            (door.bell.clone(), door.status.clone())
        } else {
            let memories = self.conns.get(&peer)?.memories.as_ref()?;
            (memories.bell.clone(), memories.status.clone())
        };
        Some(vec![memory, bell, status])
    }

    fn tell_proxy(&mut self, event: Told, attach: Option<Attach>) {
        let message = match (event, attach) {
            (Told::Link { link, side, bell_link, peer_pid }, Some(attach)) => {
                let Some((memory, ringer)) = self.proxy_link(attach) else { return };
                ToProxy::Link { number: link, side, bell_link, peer_pid, memory, ringer }
            }
            (event, _) => {
                let node = self.callee_node(&event);
                ToProxy::Told(event, node)
            }
        };
        self.post(message);
    }

    /// Where the callee of a lane that was opened is.
    fn callee_node(&self, event: &Told) -> Option<NodeId> {
        let Told::LaneOpened { dc, to, .. } = event else { return None };
        let container = self.node.containers().find(|(n, _)| n == dc)?.1;
        Some(container.find(Endpoint::from_raw(*to)).ok()?.node)
    }

    fn proxy_link(&self, attach: Attach) -> Option<(Arc<Mapping>, Ringer)> {
        let memory: Arc<Mapping> = self.links.mapping(attach.link)?;
        Some((memory, self.conns.get(&attach.peer)?.memories.as_ref()?.ringer.clone()))
    }

    fn copy_end(&self, side: CopySide) -> Option<CopyEnd> {
        Some(match side {
            CopySide::Own { pid, address } => CopyEnd::Own { pid, address },
            CopySide::Here { pid, link, lane, seq, address } => {
                CopyEnd::Here { pid, memory: self.links.mapping(link)?, lane, seq, address }
            }
            CopySide::There { number, lane, seq, address } => CopyEnd::There { number, lane, seq, address },
        })
    }

    fn post(&mut self, message: ToProxy) {
        if let Some(door) = &self.door
            && !door.tell(message)
        {
            self.log.add("node", "the proxy ended");
            self.plane.closed();
            self.door = None;
            self.unlink_all();
        }
    }

    pub(crate) fn send_node(&mut self, node: u16, record: &NodeRecord) {
        match control::encode(record) {
            Ok(bytes) => self.post(ToProxy::Control { node, bytes }),
            Err(e) => self.log.add("node", format!("a record to node {node} is too long: {e}")),
        }
    }

    fn drain_proxy(&mut self) {
        for _ in 0..PROXY_TURN_MAX {
            let Some(message) = self.door.as_ref().and_then(Door::next) else { return };
            match message {
                FromProxy::Up { node } => self.node_linked(node),
                FromProxy::Down { node } => self.node_unlinked(node),
                FromProxy::Knock { key, from, payload, answer } => self.knocked(key, from, &payload, answer),
                FromProxy::Control { node, bytes } => match control::decode(&bytes) {
                    Ok(record) => self.on_node_record(node, record),
                    Err(_) => self.log.add("node", format!("node {node} sent something that is no record")),
                },
                FromProxy::Open { id, node, dc, from, to, remaining } => {
                    self.feed(Event::ProxyOpen { id, node, dc, from, to, remaining });
                }
                FromProxy::Notice { dc, from, to, value } => {
                    self.feed(Event::ProxyNotice { dc, source: from, endpoint: to, value });
                }
                FromProxy::Free { link, lane } => {
                    let request = Request::FreeLane { link, lane };
                    self.feed(Event::Request { session: PROXY, id: 0, request });
                }
                FromProxy::Copied { session, id, result } => {
                    self.answer(session, id, result.map(|()| Answer::Done).map_err(WireError::from));
                }
                FromProxy::Log(text) => self.log.add("node", text),
            }
        }
        // The rest after the others had their turn.
        self.waker.wake();
    }

    pub(crate) fn board_record(&self, session: SessionId, index: u32) -> Option<BoardRecord> {
        self.conns.get(&session)?.memories.as_ref()?.board.record(index)
    }

    /// Reads all boards, unless that was done just now.
    pub(crate) fn refresh_boards(&mut self) {
        if clock::now().saturating_sub(self.boards_at) >= BOARDS_FRESH_NS {
            self.read_boards(false);
        }
    }

    /// `owed` = callers on other nodes that await an answer of an endpoint here, too.
    fn read_boards(&mut self, owed: bool) {
        self.boards_at = clock::now();
        let mut waiting: Vec<Waiting> = Vec::new();
        for (dc, container) in self.node.containers() {
            for d in container.descriptors() {
                waiting.extend(self.waiting(dc, d));
                if owed {
                    waiting.extend(self.owed(dc, container, d));
                }
            }
        }
        self.feed(Event::Boards(waiting));
    }

    /// What a bound endpoint waits for. A caller does not run when its message is consumed or answered, so
    /// its board goes on saying what it was when it went to sleep: of a call through a lane, the lane says
    /// more.
    pub(crate) fn waiting(&self, dc: u16, d: &Descriptor) -> Option<Waiting> {
        let record = self.board_record(d.session?, d.board)?;
        let mut w = record.waiting(dc, d.endpoint.raw())?;
        if w.state != control::board::RECEIVING
            && let Some((link, lane)) = self.node.open_lane_of(dc, w.endpoint, w.peer)
        {
            match self.links.progress(link, lane) {
                Progress::Waits => {}
                Progress::Consumed => w.state = control::board::AWAITING,
                Progress::Over => return None,
            }
        }
        Some(w)
    }

    /// Callers on other nodes that await the answer of an endpoint here: their boards are there, but their
    /// calls are in lanes here.
    fn owed<'a>(
        &'a self,
        dc: u16,
        container: &'a Dc,
        d: &'a Descriptor,
    ) -> impl Iterator<Item = Waiting> + 'a {
        let (endpoint, state) = (d.endpoint.raw(), control::board::AWAITING);
        let lanes = d.lanes.iter().filter(|_| d.is_local());
        lanes.filter_map(move |(link, number)| {
            let lane = self.node.lane_of(*link, *number).filter(|l| l.to == endpoint)?;
            let far = container.bound(Endpoint::from_raw(lane.from).slot())?.is_remote();
            let owes = far && self.links.progress(*link, *number) == Progress::Consumed;
            owes.then_some(Waiting { dc, endpoint: lane.from, state, peer: endpoint, since: 0, call: 0 })
        })
    }

    pub(crate) fn add_counters(&self, info: &mut ProcInfo) {
        let bound = self.node.containers().find(|(n, _)| *n == info.dc).and_then(|(_, c)| c.bound(info.slot));
        let record = bound.and_then(|d| self.board_record(d.session?, d.board));
        if let Some(record) = record.filter(|r| r.endpoint == info.endpoint) {
            [info.sent_local, info.sent_remote, info.copies_local, info.copies_remote] = record.counters;
        }
    }
}
