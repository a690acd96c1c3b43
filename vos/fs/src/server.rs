//! The server: takes one request after another from a port and does it on a back end.
//!
//! A client is a *session*: it may have several endpoints (a mount has one a thread), and what it has open
//! and locked is its own until it says goodbye or is gone. All it reads from a request is checked: the
//! message by the codec, the lent ranges by the port, the numbers of files by the back end.

use crate::backend::{Backend, Name, Result};
use crate::locks::Locks;
use dvs_abi::{Code, Endpoint, Grant, Kind, Message, Timeout};
use dvs_api::Errno;
use dvs_api::codec::{Text, decode_request, encode_answer};
use dvs_api::fs::{Answer, IO_BYTES_MAX, Ino, Op, REQUEST, Time, XATTR_VALUE_BYTES_MAX, page, split};
use dvs_ipc::Port;
use dvs_ipc::wait::Wait;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// Clients at a time.
const SESSIONS_MAX: usize = 4096;
/// Files one client may have open.
const OPEN_MAX: usize = 1 << 20;
/// Longest text of a request: two names, or a name and a target.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// So long what was done may stay in memory.
const COMMIT_AFTER: Duration = Duration::from_secs(5);

/// One client.
#[derive(Debug, Default)]
struct Session {
    open: HashMap<Ino, u64>,
    endpoints: Vec<(Endpoint, u64)>,
}

/// The server of a back end.
#[derive(Debug)]
pub struct Server<B> {
    backend: B,
    sessions: HashMap<u64, Session>,
    /// Which session an endpoint (and its binding) belongs to.
    of: HashMap<(Endpoint, u64), u64>,
    locks: HashMap<Ino, Locks>,
    buffer: Vec<u8>,
    life: u64,
    committed: SystemTime,
}

/// A request with its client's memory at hand.
struct Job<'a, W: Wait> {
    port: &'a Port<W>,
    client: Endpoint,
    session: u64,
    grants: Vec<Grant>,
    now: Time,
}

impl<B: Backend> Server<B> {
    /// A server of these files.
    pub fn new(backend: B) -> Self {
        let life = RandomState::new().hash_one(0) | 1;
        let buffer = vec![0; IO_BYTES_MAX];
        let committed = SystemTime::now();
        let (sessions, of, locks) = Default::default();
        Server { backend, sessions, of, locks, buffer, life, committed }
    }

    /// Its files, when it serves no more.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Serves until the port ends; why it did (`SHUTDOWN` when it was asked to). What was done is kept for
    /// good then.
    pub fn serve<W: Wait>(&mut self, port: &Port<W>) -> dvs_abi::Error {
        let mut m = Message::default();
        loop {
            match port.receive(Endpoint::ANY, &mut m, Timeout::After(COMMIT_AFTER)) {
                // Whoever only sends, or notifies, waits for no answer.
                Ok(()) if m.kind() == Some(Kind::Request) => {
                    let client = m.source();
                    let mut answer = self.answer(port, &m);
                    // A client that went away meanwhile is not the server's problem.
                    let _ = port.reply(client, &mut answer, Timeout::Forever);
                }
                Ok(()) => {}
                Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR | Code::TIMEDOUT) => {}
                Err(e) => {
                    // Said to whoever asks for it next.
                    let _ = self.backend.sync(None);
                    return e;
                }
            }
            self.commit_now_and_then();
        }
    }

    fn commit_now_and_then(&mut self) {
        let now = SystemTime::now();
        if now.duration_since(self.committed).is_ok_and(|d| d < COMMIT_AFTER) {
            return;
        }
        self.committed = now;
        // One that fails is told to whoever syncs next.
        let _ = self.backend.sync(None);
    }

    /// Does what a request asks.
    pub fn answer<W: Wait>(&mut self, port: &Port<W>, m: &Message) -> Message {
        let done = self.serve_one(port, m);
        encode_answer(REQUEST, &done)
    }

    fn serve_one<W: Wait>(&mut self, port: &Port<W>, m: &Message) -> Result<Answer> {
        let (op, text) = decode_request::<Op>(REQUEST, m)?;
        let client = (m.source(), m.binding());
        if let Op::Hello { session } = op {
            return self.hello(client, session);
        }
        let session = *self.of.get(&client).ok_or(Errno::STALE)?;
        let job = Job { port, client: m.source(), session, grants: port.grants_of(m.source()), now: now() };
        let lent;
        let text = match text {
            Text::Inline(bytes) => bytes,
            Text::Lent => {
                lent = job.text()?;
                &lent
            }
        };
        match op {
            Op::Read { .. } | Op::Write { .. } | Op::Allocate { .. } | Op::Seek { .. } | Op::Sync { .. } => {
                self.contents(&job, op)
            }
            Op::Make { .. } | Op::Unlink { .. } | Op::RmDir { .. } | Op::Rename { .. } | Op::Link { .. } => {
                self.names(&job, op, text)
            }
            Op::GetX { .. } | Op::SetX { .. } | Op::ListX { .. } | Op::RemoveX { .. } => {
                self.xattrs(&job, op, text)
            }
            Op::Open { .. } | Op::Close { .. } | Op::SetLock { .. } | Op::GetLock { .. } | Op::Bye => {
                self.keep(&job, op)
            }
            _ => self.look(&job, op, text),
        }
    }

    // ---- clients

    fn hello(&mut self, client: (Endpoint, u64), session: u64) -> Result<Answer> {
        // Another process had that endpoint before.
        let before: Vec<_> = self.of.keys().filter(|c| c.0 == client.0 && **c != client).copied().collect();
        before.into_iter().for_each(|c| self.leave(c));
        // One that asks for another session has left its own.
        if self.of.get(&client).is_some_and(|of| *of != session) {
            self.leave(client);
        }
        let session = match session {
            0 if self.sessions.len() >= SESSIONS_MAX => return Err(Errno::NFILE),
            0 => {
                let drawn = RandomState::new().hash_one(self.sessions.len()) | 1;
                self.sessions.insert(drawn, Session::default());
                drawn
            }
            known => known,
        };
        let there = self.sessions.get_mut(&session).ok_or(Errno::STALE)?;
        if self.of.insert(client, session).is_none() {
            there.endpoints.push(client);
        }
        Ok(Answer::Session { session, life: self.life })
    }

    /// An endpoint is a client's no more; with the last one the client is gone.
    fn leave(&mut self, client: (Endpoint, u64)) {
        let Some(number) = self.of.remove(&client) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.endpoints.retain(|e| *e != client);
        if session.endpoints.is_empty() {
            self.end(number);
        }
    }

    fn end(&mut self, number: u64) {
        let Some(session) = self.sessions.remove(&number) else { return };
        self.of.retain(|_, of| *of != number);
        for (ino, count) in session.open {
            (0..count).for_each(|_| self.backend.release(ino));
        }
        self.locks.retain(|_, locks| {
            locks.forget(number);
            !locks.is_empty()
        });
    }

    fn session(&mut self, number: u64) -> Result<&mut Session> {
        self.sessions.get_mut(&number).ok_or(Errno::STALE)
    }

    fn open(&mut self, number: u64, ino: Ino) -> Result<()> {
        if self.session(number)?.open.len() >= OPEN_MAX {
            return Err(Errno::NFILE);
        }
        self.backend.hold(ino)?;
        *self.session(number)?.open.entry(ino).or_insert(0) += 1;
        Ok(())
    }

    fn keep<W: Wait>(&mut self, job: &Job<'_, W>, op: Op) -> Result<Answer> {
        match op {
            Op::Open { ino } => {
                self.open(job.session, ino)?;
                return self.backend.attr(ino).map(Answer::Attr);
            }
            Op::Close { ino } => {
                let open = &mut self.session(job.session)?.open;
                let count = open.get_mut(&ino).ok_or(Errno::BADF)?;
                *count -= 1;
                if *count == 0 {
                    open.remove(&ino);
                }
                self.backend.release(ino);
            }
            Op::SetLock { ino, lock } => {
                self.backend.attr(ino)?;
                let locks = self.locks.entry(ino).or_default();
                let done = locks.set(job.session, &lock);
                if locks.is_empty() {
                    self.locks.remove(&ino);
                }
                done?;
            }
            Op::GetLock { ino, lock } => {
                let found = self.locks.get(&ino).and_then(|l| l.in_the_way(job.session, &lock));
                return Ok(Answer::Lock(found));
            }
            Op::Bye => self.end(job.session),
            _ => return Err(Errno::NOSYS),
        }
        Ok(Answer::Done)
    }

    // ---- files

    fn look<W: Wait>(&mut self, job: &Job<'_, W>, op: Op, text: &[u8]) -> Result<Answer> {
        Ok(match op {
            Op::Lookup { dir } => Answer::Attr(self.backend.lookup(Name { dir, name: text })?),
            Op::GetAttr { ino } => Answer::Attr(self.backend.attr(ino)?),
            Op::SetAttr { ino, set } => Answer::Attr(self.backend.set_attr(ino, &set, job.now)?),
            Op::ReadLink { ino } => {
                let target = self.backend.read_link(ino)?;
                job.give(&target)?;
                Answer::Length(target.len() as u32)
            }
            Op::ReadDir { ino, after, attrs } => {
                let room = job.room()?.min(IO_BYTES_MAX);
                let (mut bytes, mut last) = (Vec::new(), true);
                self.backend.read_dir(ino, after, &mut |entry, name| {
                    let entry = page::Entry { attr: entry.attr.filter(|_| attrs), ..*entry };
                    last = page::push(&mut bytes, room, &entry, name);
                    last
                })?;
                if bytes.is_empty() && !last {
                    return Err(Errno::INVAL);
                }
                job.give(&bytes)?;
                Answer::Page { length: bytes.len() as u32, last }
            }
            Op::StatFs => Answer::StatFs(self.backend.stat_fs()?),
            _ => return Err(Errno::NOSYS),
        })
    }

    fn names<W: Wait>(&mut self, job: &Job<'_, W>, op: Op, text: &[u8]) -> Result<Answer> {
        let now = job.now;
        match op {
            Op::Make { dir, what, name, open } => {
                let (name, target) = split(text, name)?;
                let attr = self.backend.make(Name { dir, name }, &what, target, now)?;
                if open {
                    self.open(job.session, attr.ino)?;
                }
                Ok(Answer::Attr(attr))
            }
            Op::Unlink { dir } => self.backend.unlink(Name { dir, name: text }, now).map(Answer::Attr),
            Op::RmDir { dir } => {
                self.backend.remove_dir(Name { dir, name: text }, now).map(|()| Answer::Done)
            }
            Op::Rename { dir, to, how, name } => {
                let (old, new) = split(text, name)?;
                let (from, to) = (Name { dir, name: old }, Name { dir: to, name: new });
                self.backend.rename(from, to, how, now).map(|()| Answer::Done)
            }
            Op::Link { ino, dir } => self.backend.link(ino, Name { dir, name: text }, now).map(Answer::Attr),
            _ => Err(Errno::NOSYS),
        }
    }

    fn contents<W: Wait>(&mut self, job: &Job<'_, W>, op: Op) -> Result<Answer> {
        match op {
            Op::Read { ino, offset, length } => {
                let into = self.buffer.get_mut(..length as usize).ok_or(Errno::INVAL)?;
                let n = self.backend.read(ino, offset, into, job.now)?;
                job.give(&into[..n])?;
                let attr = self.backend.attr(ino)?;
                Ok(Answer::Bytes { length: n as u32, attr })
            }
            Op::Write { ino, offset, length } => {
                let data = job.take(&mut self.buffer, length)?;
                let attr = self.backend.write(ino, offset, data, job.now)?;
                Ok(Answer::Bytes { length, attr })
            }
            Op::Allocate { ino, offset, length, how } => {
                self.backend.allocate(ino, offset, length, how, job.now).map(Answer::Attr)
            }
            Op::Seek { ino, offset, what } => self.backend.seek(ino, offset, what).map(Answer::Offset),
            Op::Sync { ino } => self.backend.sync(ino).map(|()| Answer::Done),
            _ => Err(Errno::NOSYS),
        }
    }

    fn xattrs<W: Wait>(&mut self, job: &Job<'_, W>, op: Op, name: &[u8]) -> Result<Answer> {
        let list = match op {
            Op::SetX { ino, how } => {
                let length = job.room()?;
                if length > XATTR_VALUE_BYTES_MAX {
                    return Err(Errno::NOSPC);
                }
                let value = job.take(&mut self.buffer, length as u32)?;
                return self.backend.set_x(ino, name, value, how, job.now).map(|()| Answer::Done);
            }
            Op::RemoveX { ino } => {
                return self.backend.remove_x(ino, name, job.now).map(|()| Answer::Done);
            }
            Op::GetX { ino } => self.backend.get_x(ino, name)?,
            Op::ListX { ino } => self.backend.list_x(ino)?,
            _ => return Err(Errno::NOSYS),
        };
        // Without room its length is asked for.
        if job.room().is_ok_and(|room| room > 0) {
            job.give(&list)?;
        }
        Ok(Answer::Length(list.len() as u32))
    }
}

/// The time of this node.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { s: since.as_secs() as i64, ns: since.subsec_nanos() }
}

impl<W: Wait> Job<'_, W> {
    fn text(&self) -> Result<Vec<u8>> {
        let grant = self.grants.get(1).ok_or(Errno::PROTO)?;
        let length = usize::try_from(grant.length).unwrap_or(usize::MAX);
        if length > TEXT_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut text = vec![0; length];
        self.port.copy_in(self.client, grant.address, &mut text).map_err(|_| Errno::IO)?;
        Ok(text)
    }

    fn room(&self) -> Result<usize> {
        let grant = self.grants.first().ok_or(Errno::PROTO)?;
        Ok(usize::try_from(grant.length).unwrap_or(usize::MAX))
    }

    fn give(&self, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let grant = self.grants.first().ok_or(Errno::PROTO)?;
        if data.len() as u64 > grant.length {
            return Err(Errno::RANGE);
        }
        self.port.copy_out(self.client, grant.address, data).map_err(|_| Errno::IO)
    }

    fn take<'b>(&self, buffer: &'b mut [u8], length: u32) -> Result<&'b [u8]> {
        let into = buffer.get_mut(..length as usize).ok_or(Errno::INVAL)?;
        if into.is_empty() {
            return Ok(into);
        }
        let grant = self.grants.first().ok_or(Errno::PROTO)?;
        if u64::from(length) > grant.length {
            return Err(Errno::PROTO);
        }
        self.port.copy_in(self.client, grant.address, into).map_err(|_| Errno::IO)?;
        Ok(into)
    }
}

#[cfg(test)]
mod tests {
    use super::Server;
    use crate::volume::Volume;
    use dvs_abi::Endpoint;
    use dvs_api::Errno;
    use dvs_api::fs::{Answer, Time};
    use dvs_disk::Memory;
    use std::sync::Arc;

    fn session(answer: Result<Answer, Errno>) -> u64 {
        match answer {
            Ok(Answer::Session { session, .. }) => session,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_has_one_session_however_often_it_says_hello() {
        let volume = Volume::format(Arc::new(Memory::new(64 << 20)), Time::default()).unwrap();
        let mut server = Server::new(volume);
        let (a, b) = ((Endpoint::new(0, 30), 1), (Endpoint::new(0, 31), 1));
        let mut last = 0;
        for _ in 0..10_000 {
            last = session(server.hello(a, 0));
        }
        assert_eq!(server.sessions.len(), 1);
        assert_eq!(session(server.hello(b, last)), last);
        // Another process at the same endpoint; what the first had ends with its last endpoint.
        let other = session(server.hello((a.0, 2), 0));
        assert!(other != last && server.sessions.len() == 2);
        server.leave(b);
        assert_eq!(server.sessions.len(), 1);
        assert_eq!(server.hello(b, last), Err(Errno::STALE));
    }
}
