//! A daemon in a folder of its own, and sessions that speak to it record by record.
#![allow(dead_code, missing_docs)] // each test file uses its part

pub mod net;

use dvs_abi::{Deadline, Endpoint};
use dvs_ipc::bell::BELL_BYTES;
use dvs_ipc::control::{self, Answer, BindKind, Event, FromDaemon, Numbered, Request, WireError};
use dvs_linux::clock;
use dvs_linux::memory::Mapping;
use dvs_linux::socket::{Received, Socket};
use dvsd::client::AdminClient;
use dvsd::daemon::Stopper;
use dvsd::{Config, Daemon, paths};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;

/// Long enough for a loaded machine; only a hang reaches it.
pub const WATCHDOG_NS: u64 = 30_000_000_000;

pub fn watchdog() -> Deadline {
    Deadline::from_ns(clock::now() + WATCHDOG_NS)
}

/// A daemon on a thread of this process. Bindings of this process's sessions are refused then (the daemon
/// does not bind itself), so tests that bind start it as a process: [`Process`].
pub struct Server {
    pub dir: PathBuf,
    stopper: Stopper,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    _base: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Server {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("n");
        let data_dir = Some(base.path().join("data"));
        let config = Config { runtime_dir: Some(dir.clone()), data_dir, ..Config::default() };
        let daemon = Daemon::new(config, false).unwrap();
        let stopper = daemon.stopper();
        let thread = Some(std::thread::spawn(move || daemon.run()));
        Server { dir, stopper, thread, _base: base }
    }

    pub fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A daemon as a process, killed at the end.
pub struct Process {
    pub dir: PathBuf,
    pub child: std::process::Child,
    base: tempfile::TempDir,
}

impl Process {
    pub fn start() -> Process {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("n");
        let child = Process::spawn(base.path(), &dir);
        let p = Process { dir, child, base };
        p.wait_ready();
        p
    }

    fn spawn(base: &std::path::Path, dir: &std::path::Path) -> std::process::Child {
        let file = base.join("dvs.toml");
        std::fs::write(&file, format!("runtime_dir = {dir:?}\ndata_dir = {:?}\n", base.join("data")))
            .unwrap();
        std::process::Command::new(env!("CARGO_BIN_EXE_dvsd"))
            .arg(&file)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait_ready(&self) {
        let end = watchdog();
        while AdminClient::connect(&paths::admin_socket(&self.dir)).is_err() {
            assert!(!end.passed(clock::now()), "the daemon does not start");
            std::thread::yield_now();
        }
    }

    /// Kills it and starts it again in the same folder.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Process::spawn(self.base.path(), &self.dir);
        self.wait_ready();
    }

    pub fn admin(&self) -> AdminClient {
        AdminClient::connect(&paths::admin_socket(&self.dir)).unwrap()
    }

    pub fn session(&self, name: &str) -> Session {
        Session::open(&self.dir, name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session by hand.
pub struct Session {
    pub socket: Socket,
    pub welcome: Answer,
    pub events: VecDeque<(Event, Vec<OwnedFd>)>,
    replies: VecDeque<(u64, Result<Answer, WireError>)>,
    next: u64,
    _memories: Vec<(Mapping, OwnedFd)>,
}

impl Session {
    pub fn open(dir: &std::path::Path, name: &str) -> Session {
        let socket = Socket::connect(&paths::session_socket(dir)).unwrap();
        let bell = Mapping::create("bell", BELL_BYTES).unwrap();
        let status = Mapping::create_status("status", BELL_BYTES).unwrap();
        let board = Mapping::create("board", 64 * 64).unwrap();
        let hello = Request::Hello { version: control::VERSION, name: name.into() };
        let fds = [bell.1.as_fd(), status.1.as_fd(), board.1.as_fd()];
        let bytes = control::encode(&Numbered { id: 1, request: hello }).unwrap();
        socket.send(&bytes, &fds, watchdog()).unwrap();
        let mut s = Session {
            socket,
            welcome: Answer::Done,
            events: VecDeque::new(),
            replies: VecDeque::new(),
            next: 1,
            _memories: vec![bell, status, board],
        };
        s.welcome = s.wait_reply(1).unwrap();
        s
    }

    /// Sends a request without waiting; its number.
    pub fn start(&mut self, request: Request) -> u64 {
        self.next += 1;
        let bytes = control::encode(&Numbered { id: self.next, request }).unwrap();
        self.socket.send(&bytes, &[], watchdog()).unwrap();
        self.next
    }

    /// Reads one record; false at the end.
    pub fn read(&mut self) -> bool {
        let Some(Received { bytes, fds }) = self.socket.receive(watchdog()).expect("watchdog") else {
            return false;
        };
        match control::decode(&bytes).unwrap() {
            FromDaemon::Reply { id, result } => self.replies.push_back((id, result)),
            FromDaemon::Event(Event::Mark { mark }) => {
                let heard = Numbered { id: 0, request: Request::Heard { mark } };
                self.socket.send(&control::encode(&heard).unwrap(), &[], watchdog()).unwrap();
            }
            FromDaemon::Event(e) => self.events.push_back((e, fds)),
        }
        true
    }

    pub fn wait_reply(&mut self, id: u64) -> Result<Answer, WireError> {
        loop {
            if let Some(i) = self.replies.iter().position(|(n, _)| *n == id) {
                return self.replies.remove(i).unwrap().1;
            }
            assert!(self.read(), "the daemon closed the socket");
        }
    }

    pub fn call(&mut self, request: Request) -> Result<Answer, WireError> {
        let id = self.start(request);
        self.wait_reply(id)
    }

    pub fn event(&mut self) -> (Event, Vec<OwnedFd>) {
        while self.events.is_empty() {
            assert!(self.read(), "the daemon closed the socket");
        }
        self.events.pop_front().unwrap()
    }

    pub fn make_dc(&mut self, dc: u16) {
        let name = format!("dc{dc}");
        let none = Endpoint::NONE.raw();
        self.call(Request::DcInit {
            dc,
            name,
            procs: 4096,
            tasks: 35,
            sysprocs: 64,
            warn: none,
            warn_type: 0,
            nodes: vec![],
        })
        .unwrap();
    }

    pub fn bind(&mut self, dc: u16, endpoint: i32) -> Result<i32, WireError> {
        let kind = BindKind::Own;
        match self.call(Request::Bind {
            kind,
            dc,
            endpoint,
            pid: 0,
            node: 0,
            name: "test".into(),
            board: 0,
        })? {
            Answer::Bound { endpoint, .. } => Ok(endpoint),
            other => panic!("{other:?}"),
        }
    }
}
