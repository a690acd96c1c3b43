//! The reader thread of one stream: makes or takes over a connection, then delivers what arrives until it
//! ends.
//!
//! Waiting: after traffic it polls the socket before it blocks, see [`crate::polling`]. The reader of the
//! message stream lets the router look at what else there may be to do meanwhile, since whoever got a message
//! is about to answer it: then one awake thread serves both directions.

use crate::conn::{Conn, Raw, lock};
use crate::crypt::Crypt;
use crate::driver::Keys;
use crate::node::{Accepted, Job, Node};
use crate::polling::{BULK_POLL_NS, LATELY_NS, MESSAGE_POLL_NS, Next, Polling};
use crate::records::{Records, write_record};
use crate::squeeze::unpack;
use crate::stream::{Outgoing, Payload, StreamError};
use dvs_wire::greeting::GREETING_BYTES_MAX;
use dvs_wire::{Frame, Frames, RecordHead, SessionFrame, StreamClass};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longest time for connecting, and for greeting.
pub(crate) const GREET_WAIT: Duration = Duration::from_secs(2);
/// A blocking read returns after so long to look around.
pub(crate) const READ_WAIT: Duration = Duration::from_millis(500);

pub(crate) fn broken(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

/// Runs until the node stops.
pub(crate) fn run(node: &Node, class: StreamClass, keys: &Keys) {
    while let Some(job) = node.take(class) {
        let made = match job {
            Job::Dial => dial(node, class, keys),
            Job::Accept(accepted) => accept(node, class, *accepted),
        };
        node.obey();
        match made {
            Ok(Some((conn, id, raw, records))) => {
                let conn = Arc::new(conn);
                node.install(class, &conn, id);
                let mut reader = Reader::new(node, class, &conn, id, (raw, records));
                let end = reader.deliver();
                drop(reader);
                node.remove(class, &conn, id);
                if !matches!(end, Err(Ended::Io(ref e)) if e.kind() == io::ErrorKind::UnexpectedEof)
                    && !node.stopped()
                {
                    node.say(format!(
                        "connection with {}: {}",
                        node.id,
                        end.err().map_or_else(String::new, |e| e.to_string())
                    ));
                }
            }
            Ok(None) => {}
            Err(e) => node.say(format!("connecting with {} at {}: {e}", node.id, node.address())),
        }
        node.obey();
    }
}

type Made = Option<(Conn, u64, Raw, Records)>;

fn dial(node: &Node, class: StreamClass, keys: &Keys) -> io::Result<Made> {
    let result = greet(node, class, keys);
    if result.is_err() {
        lock(&node.peer).dial_failed(class, node.clock.now());
    }
    result
}

fn greet(node: &Node, class: StreamClass, keys: &Keys) -> io::Result<Made> {
    let socket = TcpStream::connect_timeout(&node.address(), GREET_WAIT)?;
    let crypt = match keys.client(node)? {
        Some(config) => Some(Crypt::client(config).map_err(broken)?),
        None => None,
    };
    let conn = Conn::new(socket, crypt, READ_WAIT)?;
    let until = Instant::now() + GREET_WAIT;
    let mut records = Records::new();
    let mut raw = conn.handshake(&mut records, until)?;
    let hello = lock(&node.peer).hello(class);
    say(&conn, SessionFrame::Hello(hello))?;
    let answer = session_frame(&conn, &mut raw, &mut records, GREETING_BYTES_MAX, until).map_err(explain)?;
    let now = node.clock.now();
    match answer {
        SessionFrame::Welcome(g) if g.class == class => {
            let id = lock(&node.peer).on_welcome(&g, now);
            Ok(id.map(|id| (conn, id, raw, records)))
        }
        SessionFrame::Refuse(r) => {
            lock(&node.peer).on_refuse(&hello, &r, now);
            node.say(format!(
                "{} refuses the connection: {} (it speaks versions {})",
                node.id, r.text, r.versions
            ));
            Ok(None)
        }
        _ => Err(broken("no WELCOME came as answer to HELLO")),
    }
}

/// What a node is told whose key is in no list.
pub(crate) const UNKNOWN_KEY: &str =
    "the other node refuses this node's key (is its fingerprint in that node's list?)";

/// The acceptor looks at our key after our handshake is over, so its alert comes in place of WELCOME.
fn explain(e: io::Error) -> io::Error {
    if e.to_string().contains("alert") { broken(format!("{e}: {UNKNOWN_KEY}")) } else { e }
}

fn accept(node: &Node, class: StreamClass, a: Accepted) -> io::Result<Made> {
    let answer = lock(&node.peer).on_hello(&a.hello, node.clock.now());
    match answer {
        Ok((welcome, id)) => {
            node.obey(); // closes the connections of a session that ended by this
            let conn = a.conn;
            if let Err(e) = say(&conn, SessionFrame::Welcome(welcome)) {
                lock(&node.peer).lost(class, id, node.clock.now());
                return Err(e);
            }
            Ok(Some((conn, id, a.raw, a.records)))
        }
        Err(refusal) => {
            node.say(format!("refused a connection of {}: {}", node.id, refusal.text));
            say(&a.conn, SessionFrame::Refuse(refusal))?;
            a.conn.farewell();
            Ok(None)
        }
    }
}

/// Sends a session frame on a connection that no writer has yet.
pub(crate) fn say(conn: &Conn, frame: SessionFrame) -> io::Result<()> {
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    write_record(&Outgoing { ack: 0, payload: Payload::Session(frame) }, &mut plain);
    let n = conn.seal(&plain, &mut out, 0)?;
    conn.write_all(&out[..n])
}

/// Waits for the greeting; anything else, and anything larger than `limit`, is an error.
pub(crate) fn session_frame(
    conn: &Conn,
    raw: &mut Raw,
    records: &mut Records,
    limit: usize,
    until: Instant,
) -> io::Result<SessionFrame> {
    loop {
        if let Some(head) = records.peek().map_err(broken)? {
            if !head.session || head.length as usize > limit {
                return Err(broken("no greeting at the start of the connection"));
            }
            if let Some((_, payload)) = records.next_record().map_err(broken)? {
                return SessionFrame::decode(payload).map_err(broken);
            }
        }
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no greeting came in time"));
        }
        conn.read(raw, records, true)?;
    }
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<dvs_wire::WireError> for Ended {
    fn from(e: dvs_wire::WireError) -> Self {
        Ended::Stream(e.into())
    }
}

struct Reader<'n> {
    node: &'n Node,
    class: StreamClass,
    conn: &'n Conn,
    id: u64,
    records: Records,
    raw: Raw,
    /// Unpacked payload.
    plain: Vec<u8>,
    polling: Polling,
    /// When something for a program came last.
    for_programs: u64,
    /// The router is looked after while polling.
    watching: bool,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl<'n> Reader<'n> {
    fn new(
        node: &'n Node,
        class: StreamClass,
        conn: &'n Conn,
        id: u64,
        (raw, records): (Raw, Records),
    ) -> Self {
        let polling = Polling::new(match class {
            StreamClass::Message => MESSAGE_POLL_NS,
            StreamClass::Bulk => BULK_POLL_NS,
        });
        Reader {
            node,
            class,
            conn,
            id,
            records,
            raw,
            plain: Vec::new(),
            polling,
            for_programs: 0,
            watching: false,
        }
    }

    /// Delivers until the connection ends.
    fn deliver(&mut self) -> Result<(), Ended> {
        loop {
            let taken = self.take();
            match taken {
                Ok(false) if self.records.partial() => {
                    lock(&self.node.peer).noise(self.class, self.id, self.node.clock.now());
                }
                Ok(false) => {}
                Ok(true) | Err(_) => {
                    self.node.handler.batch_end(self.node.id);
                    for class in StreamClass::ALL {
                        self.node.flush(class);
                    }
                }
            }
            taken?;
            self.wait()?;
            if self.node.stopped() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Delivers all whole records that are here; whether there were any.
    fn take(&mut self) -> Result<bool, Ended> {
        let mut any = false;
        while let Some((head, payload)) = self.records.next_record()? {
            any = true;
            let payload = if head.lz4 {
                unpack(payload, &mut self.plain)?;
                &self.plain[..]
            } else {
                payload
            };
            if record(self.node, self.class, self.id, &head, payload)? {
                self.for_programs = self.node.clock.now();
            }
        }
        Ok(any)
    }

    fn read(&mut self, wait: bool) -> io::Result<bool> {
        self.conn.read(&mut self.raw, &mut self.records, wait)
    }

    /// Waits for bytes, or for half a second.
    fn wait(&mut self) -> io::Result<()> {
        // However much there is to read: nobody else looks while we watch.
        if self.watching {
            self.node.handler.look(self.node.id);
        }
        if self.read(false)? || self.poll()? {
            return Ok(());
        }
        self.unwatch();
        self.read(true).map(|_| ())
    }

    /// Polls the socket, and the router's doorbell, for a while; whether bytes came.
    fn poll(&mut self) -> io::Result<bool> {
        let node = self.node;
        let mut now = node.clock.now();
        let quiet = now.saturating_sub(self.for_programs) > LATELY_NS;
        if quiet || !self.polling.begin(now) {
            return Ok(false);
        }
        if !self.watching && self.class == StreamClass::Message {
            self.watching = node.handler.watch(node.id);
        }
        loop {
            let looked = self.watching && node.handler.look(node.id);
            if self.read(false)? {
                self.polling.found();
                return Ok(true);
            }
            now = node.clock.now();
            if looked {
                // An answer to what was sent just now may be as long in coming.
                self.polling.found();
                self.polling.begin(now);
                continue;
            }
            match self.polling.next(now) {
                Next::Look => std::hint::spin_loop(),
                Next::Yield => {
                    std::thread::yield_now();
                    self.polling.gave(now, node.clock.now());
                }
                Next::Block => return Ok(false),
            }
            if node.stopped() {
                return Ok(false);
            }
        }
    }

    fn unwatch(&mut self) {
        if std::mem::take(&mut self.watching) {
            self.node.handler.unwatch(self.node.id);
        }
    }
}

/// Takes one record; whether something in it was for a program.
fn record(
    node: &Node,
    class: StreamClass,
    id: u64,
    head: &RecordHead,
    payload: &[u8],
) -> Result<bool, Ended> {
    let half = node.half(class);
    let _delivery = lock(&half.delivery);
    let now = node.clock.now();
    let (received, credit) = lock(&node.peer).begin(class, id, head, now)?;
    if credit {
        node.credit_came(class);
    }
    let (mut last, mut for_programs) = (received, false);
    if head.session {
        let frame = SessionFrame::decode(payload)?;
        lock(&node.peer).session_frame(class, &frame, now)?;
    } else {
        for (n, frame) in (head.first..).zip(Frames::new(payload)) {
            let frame = frame?;
            if n > received {
                for_programs |= !matches!(frame, Frame::Control { .. });
                node.handler.frame(node.id, &frame);
                last = n;
            }
        }
    }
    half.frames_in.fetch_add(last - received, Ordering::Relaxed);
    lock(&node.peer).end(class, id, last, payload.len(), node.clock.now())?;
    Ok(for_programs)
}
