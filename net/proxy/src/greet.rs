//! One connection that was taken: the other side proves who it is, and is handed to the right node's reader;
//! or it knocks, and is answered.
//!
//! ```text
//!            TLS: any key, proved      HELLO, key of a node ──▶ that node's reader
//!  taken ──────────────────────────▶   HELLO, any other     ──▶ REFUSE
//!                                      KNOCK ─▶ Door ─▶ Handler::knock ─▶ KNOCKED or REFUSE, and closed
//! ```
//! A key nobody knows opens nothing: all it can do is to say one frame of bounded size, and the door sees to
//! how often. What it says is not looked at here.

use crate::answer::{Answer, Pending, Verdict};
use crate::conn::{Conn, Raw, lock};
use crate::crypt::Crypt;
use crate::door::{Door, Outcome};
use crate::driver::{Clock, Handler, Keys};
use crate::node::{Accepted, Job, Node};
use crate::reader::{GREET_WAIT, READ_WAIT, UNKNOWN_KEY, broken, say, session_frame};
use crate::records::Records;
use crate::table::Table;
use crate::tls::{Fingerprint, NotPinned};
use dvs_abi::limits::FRAME_BYTES_MAX;
use dvs_wire::{Greeting, Knock, Refusal, RefusalReason, SessionFrame, Versions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// While the daemon thinks about a knock: so often its thread looks whether the other side is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a machine hears that nobody answers.
const NOBODY: &str = "this node takes in nobody now";

pub(crate) struct Greeter {
    table: Arc<Table>,
    keys: Arc<Keys>,
    stop: Arc<AtomicBool>,
    handler: Arc<dyn Handler>,
    clock: Clock,
    versions: Versions,
    knock_wait: Duration,
    door: Mutex<Door>,
    /// The last trouble told.
    said: Mutex<String>,
}

/// Why somebody is not believed: what he hears, and what the log does.
struct Disbelief {
    heard: String,
    logged: String,
}

impl Greeter {
    pub(crate) fn new(
        table: Arc<Table>,
        keys: Arc<Keys>,
        stop: Arc<AtomicBool>,
        handler: Arc<dyn Handler>,
        clock: Clock,
        versions: Versions,
        knock_wait: Duration,
    ) -> Self {
        let (door, said) = Default::default();
        Greeter { table, keys, stop, handler, clock, versions, knock_wait, door, said }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Greets, and tells what is wrong once, until something else is.
    pub(crate) fn run(&self, socket: TcpStream, from: SocketAddr) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Err(e) = self.greet(socket, from) else { return };
        let text = format!("connection from {} refused: {e}", from.ip());
        let mut last = lock(&self.said);
        if *last != text {
            self.handler.trouble(None, &text);
            *last = text;
        }
    }

    fn greet(&self, socket: TcpStream, from: SocketAddr) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        let crypt = self.keys.server().map(Crypt::server).transpose().map_err(broken)?;
        let conn = Conn::new(socket, crypt, READ_WAIT)?;
        let until = Instant::now() + GREET_WAIT;
        let mut records = Records::new();
        let mut raw = conn.handshake(&mut records, until)?;
        match session_frame(&conn, &mut raw, &mut records, FRAME_BYTES_MAX, until)? {
            SessionFrame::Hello(hello) => match self.identify(conn.peer()?, &hello) {
                Ok(node) => {
                    let job = Job::Accept(Box::new(Accepted { conn, raw, records, hello }));
                    node.close(hello.class); // a newer connection replaces the one there may be
                    node.give(hello.class, job);
                    Ok(())
                }
                Err(why) => self.refuse(&conn, RefusalReason::Unknown, why.heard, why.logged),
            },
            SessionFrame::Knock(knock) => self.knocked(&conn, raw, records, from, knock),
            _ => Err(broken("the connection does not start with HELLO or KNOCK")),
        }
    }

    /// The node that speaks, or why it is not believed.
    fn identify(&self, key: Option<Fingerprint>, hello: &Greeting) -> Result<Arc<Node>, Disbelief> {
        if let Some(got) = key
            && !self.table.knows(got)
        {
            let allowed = format!("{} nodes are listed", self.table.all().count());
            let logged = NotPinned { got, allowed }.to_string();
            return Err(Disbelief { heard: UNKNOWN_KEY.to_owned(), logged });
        }
        let both = |text: String| Disbelief { heard: text.clone(), logged: text };
        let node = self.table.get(hello.node);
        let node = node.ok_or_else(|| both(format!("{} is not in this node's list", hello.node)))?;
        match key {
            Some(got) if node.fingerprint != Some(got) => {
                Err(both(format!("the key {got} is not the one of {} in this node's list", hello.node)))
            }
            _ => Ok(node),
        }
    }

    fn refuse(&self, conn: &Conn, why: RefusalReason, heard: String, logged: String) -> io::Result<()> {
        let refusal = Refusal { reason: why, versions: self.versions, boot: 0, text: heard };
        say(conn, SessionFrame::Refuse(refusal))?;
        conn.farewell();
        Err(io::Error::other(logged))
    }

    fn knocked(
        &self,
        conn: &Conn,
        raw: Raw,
        records: Records,
        from: SocketAddr,
        knock: Knock,
    ) -> io::Result<()> {
        let refuse = |why, text: String| self.refuse(conn, why, text.clone(), format!("a knock: {text}"));
        let key = conn.peer()?;
        let version = match self.versions.common(knock.versions()) {
            Ok(version) => version,
            Err(e) => return refuse(RefusalReason::Version, e.to_string()),
        };
        if let Err(busy) = lock(&self.door).come(from.ip(), self.clock.now()) {
            return refuse(RefusalReason::Busy, busy.to_string());
        }
        let mut inside = Inside { greeter: self, from, outcome: Outcome::Neither };
        let (answer, pending) = Answer::new();
        self.handler.knock(key, from, knock.into_payload(), answer);
        match self.verdict(conn, raw, records, &pending)? {
            Some(Verdict::In(bytes)) => {
                inside.outcome = Outcome::In;
                let versions = Versions { min: version, max: version };
                say(conn, SessionFrame::Knocked(Knock::new(versions, bytes).map_err(broken)?))?;
                conn.farewell();
                Ok(())
            }
            Some(Verdict::Refused(why)) => {
                inside.outcome = Outcome::Refused;
                refuse(RefusalReason::Closed, why)
            }
            Some(Verdict::Nobody) => refuse(RefusalReason::Closed, NOBODY.to_owned()),
            None => {
                let text =
                    "this node cannot decide now (is it cut off from the others?); try again".to_owned();
                refuse(RefusalReason::Closed, text)
            }
        }
    }

    /// Waits for the answer, and sees whether somebody still waits for it.
    fn verdict(
        &self,
        conn: &Conn,
        mut raw: Raw,
        mut records: Records,
        pending: &Pending,
    ) -> io::Result<Option<Verdict>> {
        let until = Instant::now() + self.knock_wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(verdict) = pending.wait(left.min(LOOK_EVERY)) {
                return Ok(Some(verdict));
            }
            if left.is_zero() || self.stopped() {
                return Ok(None);
            }
            conn.read(&mut raw, &mut records, false)?;
            if records.held() > 0 {
                return Err(broken("a machine that knocks said more than its knock"));
            }
        }
    }
}

/// Somebody is inside the door; at the end it learns how it went.
struct Inside<'g> {
    greeter: &'g Greeter,
    from: SocketAddr,
    outcome: Outcome,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let now = self.greeter.clock.now();
        lock(&self.greeter.door).done(self.from.ip(), self.outcome, now);
    }
}
