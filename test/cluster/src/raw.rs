//! A session by hand: what a process that does not use the library, or means harm, can do.

use crate::{DC, WATCHDOG_NS};
use dvs::Deadline;
use dvs_ipc::bell::{BELL_BYTES, Ringer};
use dvs_ipc::control::{self, Answer, BindKind, Event, FromDaemon, Numbered, Request, WireError};
use dvs_ipc::link::{LINK_BYTES, Side};
use dvs_linux::clock;
use dvs_linux::memory::{Mapping, Reading};
use dvs_linux::socket::{Received, Socket};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Memory shared with another session.
pub struct Shore {
    /// Lanes.
    pub memory: Mapping,
    /// Which side we are.
    pub side: Side,
    /// The peer's bell, all of it.
    pub bell: Arc<Mapping>,
    /// Rings it as it should be rung.
    pub ringer: Ringer,
    /// The number to ring with.
    pub bell_link: u16,
}

/// A session.
pub struct Raw {
    /// The control socket.
    pub socket: Socket,
    /// Links by our number.
    pub links: HashMap<u16, Shore>,
    /// Lanes through which others call us, as link and number.
    pub incoming: Vec<(u16, u8)>,
    /// Lanes through which we call.
    pub outgoing: Vec<(u16, u8)>,
    replies: HashMap<u64, Result<Answer, WireError>>,
    next: u64,
    _memories: Vec<(Mapping, OwnedFd)>,
}

/// A point after which something hangs.
pub fn watchdog() -> Deadline {
    Deadline::from_ns(clock::now() + WATCHDOG_NS)
}

impl Raw {
    /// Attaches as a program does; the error of the daemon, if it refuses.
    ///
    /// # Errors
    /// When the daemon refuses or is not there.
    pub fn attach(path: &Path, name: &str) -> std::io::Result<Raw> {
        let socket = Socket::connect(path)?;
        let bell = Mapping::create("bell", BELL_BYTES)?;
        let status = Mapping::create_status("status", BELL_BYTES)?;
        let board = Mapping::create("board", 4096)?;
        let hello = Request::Hello { version: control::VERSION, name: name.into() };
        let bytes = encode(1, hello);
        let fds = [bell.1.as_fd(), status.1.as_fd(), board.1.as_fd()];
        socket.send(&bytes, &fds, watchdog())?;
        let mut raw = Raw {
            socket,
            links: HashMap::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            replies: HashMap::new(),
            next: 1,
            _memories: vec![bell, status, board],
        };
        raw.wait_reply(1)?.map_err(|e| std::io::Error::other(format!("{e:?}")))?;
        Ok(raw)
    }

    /// Sends a request; its number.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn start(&mut self, request: Request) -> std::io::Result<u64> {
        self.next += 1;
        self.socket.send(&encode(self.next, request), &[], watchdog())?;
        Ok(self.next)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn call(&mut self, request: Request) -> std::io::Result<Result<Answer, WireError>> {
        let id = self.start(request)?;
        self.wait_reply(id)
    }

    fn wait_reply(&mut self, id: u64) -> std::io::Result<Result<Answer, WireError>> {
        loop {
            if let Some(answer) = self.replies.remove(&id) {
                return Ok(answer);
            }
            match self.socket.receive(watchdog())? {
                Some(record) => self.read(record),
                None => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Reads what is there without waiting.
    pub fn pump(&mut self) {
        while let Ok(Some(record)) = self.socket.try_receive() {
            self.read(record);
        }
        self.replies.clear();
    }

    fn read(&mut self, Received { bytes, fds }: Received) {
        match control::decode(&bytes) {
            Ok(FromDaemon::Reply { id, result }) => drop(self.replies.insert(id, result)),
            Ok(FromDaemon::Event(Event::Link { link, side, bell_link, .. })) => {
                if let Some(shore) = shore(&fds, side, bell_link) {
                    self.links.insert(link, shore);
                }
            }
            Ok(FromDaemon::Event(Event::LaneOpened { link, lane, .. })) => self.incoming.push((link, lane)),
            _ => {}
        }
    }

    /// Binds an endpoint.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn bind(&mut self, endpoint: i32) -> std::io::Result<Result<i32, WireError>> {
        let (kind, name) = (BindKind::Own, String::new());
        let bind = Request::Bind { kind, dc: DC.0, endpoint, pid: 0, node: 0, name, board: 0 };
        Ok(self.call(bind)?.map(|answer| match answer {
            Answer::Bound { endpoint, .. } => endpoint,
            other => panic!("{other:?}"),
        }))
    }

    /// Opens a lane.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn open(&mut self, from: i32, to: i32) -> std::io::Result<Result<(), WireError>> {
        let open = Request::OpenLane { dc: DC.0, from, to, remaining: u64::MAX };
        Ok(self.call(open)?.map(|answer| {
            if let Answer::Lane { link, lane, .. } = answer {
                self.outgoing.push((link, lane));
            }
        }))
    }
}

/// A record.
pub fn encode(id: u64, request: Request) -> Vec<u8> {
    control::encode(&Numbered { id, request }).expect("a small record")
}

fn shore(fds: &[OwnedFd], side: u8, bell_link: u16) -> Option<Shore> {
    let [memory, bell, status] = fds else { return None };
    let memory = Mapping::open(memory.as_fd(), LINK_BYTES).ok()?;
    let bell = Arc::new(Mapping::open(bell.as_fd(), BELL_BYTES).ok()?);
    let status = Arc::new(Reading::open(status.as_fd(), BELL_BYTES).ok()?);
    let ringer = Ringer::new(bell.clone(), status)?;
    let side = if side == 0 { Side::A } else { Side::B };
    Some(Shore { memory, side, bell, ringer, bell_link })
}
