//! Sessions of programs: who is let in, what is read from them and written to them, and their end.
//!
//! A record that does not fit a session's socket waits in its `Conn`; who is behind is not read from until it
//! has taken what waits.

use super::{Daemon, LEAVING_NS, token};
use crate::conn::{Conn, Fds, Memories, Wrote};
use crate::proxy::ToProxy;
use crate::watch;
use dvs_abi::limits::{NAME_BYTES, PROCESS_SESSIONS_MAX, SESSIONS_MAX};
use dvs_abi::{Code, Error};
use dvs_ipc::control::{self, Answer, Event as Told, FromDaemon, Numbered, Request, WireError};
use dvs_kern::node::event::{Attach, Event, PROXY, SessionId};
use dvs_linux::clock;
use dvs_linux::epoll::Interest;
use dvs_linux::pidfd::PidFd;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

impl Daemon {
    pub(crate) fn session_number(&mut self) -> SessionId {
        // Numbers are not used again while they are in use; 32 bits of them come round after years.
        loop {
            self.next_session = self.next_session.wrapping_add(1).max(1);
            if !self.conns.contains_key(&self.next_session) && !self.desk.has(self.next_session) {
                return self.next_session;
            }
        }
    }

    pub(super) fn accept_session(&mut self) {
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

    pub(super) fn read_session(&mut self, s: SessionId, records: usize) {
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

    pub(super) fn leaving_expire(&mut self) {
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

    pub(super) fn flush(&mut self, s: SessionId) {
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
    pub(super) fn fds(&self, attach: Option<Attach>) -> Option<Fds> {
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
}
