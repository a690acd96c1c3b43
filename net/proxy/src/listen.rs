//! The listening side: takes connections, has them prove who they are, hands them to the right node's reader.
//!
//! Everything here happens before the other side is known, so it is bounded: so many greetings at a time,
//! so long and so many bytes each; what breaks a bound is closed without an answer and without disturbing
//! anybody.

use crate::conn::{Conn, lock};
use crate::crypt::Crypt;
use crate::driver::Keys;
use crate::node::{Accepted, Job, Node};
use crate::reader::{GREET_WAIT, READ_WAIT, expect_hello, say, session_frame};
use crate::records::Records;
use crate::table::Table;
use dvs_wire::{Greeting, Refusal, RefusalReason, SessionFrame, VERSIONS};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// Connections that may be greeting at the same time.
const GREETINGS_MAX: usize = 64;
/// Stack of a thread that only greets.
const STACK_BYTES: usize = 256 << 10;

pub(crate) struct Listener {
    pub socket: TcpListener,
    pub table: Arc<Table>,
    pub keys: Arc<Keys>,
    pub stop: Arc<AtomicBool>,
    pub trouble: Arc<dyn crate::driver::Handler>,
    /// The last trouble told.
    pub said: Mutex<String>,
}

impl Listener {
    /// Runs until `stop`.
    pub(crate) fn run(self) {
        let greeting = Arc::new(AtomicUsize::new(0));
        let this = Arc::new(self);
        while !this.stop.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(&this.socket, PollFlags::IN)];
            let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if !matches!(poll(&mut fds, Some(&tick)), Ok(1)) {
                continue;
            }
            let Ok((socket, from)) = this.socket.accept() else { continue };
            if greeting.load(Ordering::Relaxed) >= GREETINGS_MAX {
                continue; // closed
            }
            greeting.fetch_add(1, Ordering::Relaxed);
            let (that, count) = (Arc::clone(&this), Arc::clone(&greeting));
            let body = move || {
                if let Err(e) = that.greet(socket) {
                    that.say(format!("connection from {} refused: {e}", from.ip()));
                }
                count.fetch_sub(1, Ordering::Relaxed);
            };
            if thread::Builder::new()
                .name("dvs-greet".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(body)
                .is_err()
            {
                greeting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells what is wrong once, until something else is.
    fn say(&self, text: String) {
        let mut last = lock(&self.said);
        if *last != text {
            self.trouble.trouble(None, &text);
            *last = text;
        }
    }

    fn greet(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        let crypt = match self.keys.server()? {
            Some(config) => Some(Crypt::server(config).map_err(|e| io::Error::other(e.to_string()))?),
            None => None,
        };
        let conn = Conn::new(socket, crypt, READ_WAIT)?;
        let until = Instant::now() + GREET_WAIT;
        let mut records = Records::new();
        let mut raw = conn.handshake(&mut records, until)?;
        let hello = expect_hello(session_frame(&conn, &mut raw, &mut records, until)?)?;
        match self.identify(&conn, &hello)? {
            Ok(node) => {
                let job = Job::Accept(Box::new(Accepted { conn, raw, records, hello }));
                node.close(hello.class); // a newer connection replaces the one there may be
                node.give(hello.class, job);
                Ok(())
            }
            Err(text) => {
                let refusal = Refusal {
                    reason: RefusalReason::Unknown,
                    versions: VERSIONS,
                    boot: 0,
                    text: text.clone(),
                };
                say(&conn, SessionFrame::Refuse(refusal))?;
                conn.farewell();
                Err(io::Error::other(text))
            }
        }
    }

    /// The node that speaks, or why it is not believed.
    fn identify(&self, conn: &Conn, hello: &Greeting) -> io::Result<Result<Arc<Node>, String>> {
        let Some(node) = self.table.get(hello.node) else {
            return Ok(Err(format!("{} is not in this node's list", hello.node)));
        };
        let Some(got) = conn.peer()? else { return Ok(Ok(node)) };
        if node.fingerprint == Some(got) {
            Ok(Ok(node))
        } else {
            Ok(Err(format!("the key {got} is not the one of {} in this node's list", hello.node)))
        }
    }
}
