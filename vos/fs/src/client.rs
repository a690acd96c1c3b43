//! The client: typed calls to a file server.
//!
//! ```
//! use dvs::{DcId, Endpoint};
//! use dvs_api::fs::{FileKind, Ino, What, Who};
//! use dvs_fs::{Client, Server, Volume};
//! # use dvs_disk::Memory;
//! # use dvs_api::fs::Time;
//! # use std::sync::Arc;
//! let process = dvs::alone();
//! let port = process.bind(DcId(0), Endpoint::new(0, 1))?;
//! let disk = Arc::new(Memory::new(64 << 20));
//! let mut server = Server::new(Volume::format(disk, Time::default())?);
//! let serving = std::thread::spawn(move || server.serve(&port));
//!
//! let client = Client::new(process.bind(DcId(0), Endpoint::NONE)?, Endpoint::new(0, 1), 0)?;
//! let what = What { kind: FileKind::File, mode: 0o644, rdev: 0, who: Who::default() };
//! let file = client.make(Ino::ROOT, b"note", &what, b"", true)?.ino;
//! client.write(file, Some(0), b"hello")?;
//! let mut bytes = [0; 10];
//! assert_eq!(client.read(file, 0, &mut bytes)?, 5);
//! client.sync(Some(file))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use dvs_abi::{Code, Endpoint, Timeout};
use dvs_api::Errno;
use dvs_api::codec::{decode_answer, encode_request};
use dvs_api::fs::{
    Allocate, Answer, Attr, IO_BYTES_MAX, Ino, Lock, Op, REQUEST, Rename, Seek, SetAttr, SetX, StatFs, What,
    page,
};
use dvs_ipc::wait::{ThreadWait, Wait};
use dvs_ipc::{Lend, Port};
use std::time::Duration;

/// What came of a call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Longest time of one call.
const CALL_WAIT: Duration = Duration::from_secs(60);

/// A file server as one endpoint sees it. Owns the port it calls from.
pub struct Client<W: Wait = ThreadWait> {
    port: Port<W>,
    server: Endpoint,
    session: u64,
    timeout: Timeout,
}

impl<W: Wait> std::fmt::Debug for Client<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl<W: Wait> Client<W> {
    /// A client of `server`; of the session with this number, or of a new one (zero).
    ///
    /// # Errors
    /// `NXIO`: nobody serves there. `NFILE`: it has too many clients. `STALE`: there is no such session.
    pub fn new(port: Port<W>, server: Endpoint, session: u64) -> Result<Self> {
        let mut client = Client { port, server, session, timeout: Timeout::After(CALL_WAIT) };
        match client.call(&Op::Hello { session }, b"", Lend::Read(&[]))? {
            Answer::Session { session, .. } => client.session = session,
            _ => return Err(Errno::PROTO),
        }
        Ok(client)
    }

    /// Its session: other endpoints of the same program are to be of the same.
    pub fn session(&self) -> u64 {
        self.session
    }

    fn call(&self, op: &Op, text: &[u8], data: Lend<'_>) -> Result<Answer> {
        let (mut m, lent) = encode_request(REQUEST, op, text);
        let mut lends = [data, Lend::Read(text)];
        let lends = if lent { &mut lends[..] } else { &mut lends[..1] };
        self.port.sendrec_with(self.server, &mut m, lends, self.timeout).map_err(|e| match e.code {
            Code::TIMEDOUT => Errno::TIMEDOUT,
            Code::INTR | Code::WOKENUP => Errno::INTR,
            Code::DSTDIED | Code::SRCDIED | Code::NOTCONN => Errno::NXIO,
            _ => Errno::IO,
        })?;
        decode_answer(REQUEST, &m)
    }

    fn plain(&self, op: &Op, text: &[u8]) -> Result<Answer> {
        self.call(op, text, Lend::Read(&[]))
    }

    fn attr_of(&self, op: &Op, text: &[u8]) -> Result<Attr> {
        match self.plain(op, text)? {
            Answer::Attr(attr) => Ok(attr),
            _ => Err(Errno::PROTO),
        }
    }

    fn done(&self, op: &Op, text: &[u8]) -> Result<()> {
        match self.plain(op, text)? {
            Answer::Done | Answer::Attr(_) => Ok(()),
            _ => Err(Errno::PROTO),
        }
    }

    /// See [`Op::Lookup`].
    ///
    /// # Errors
    /// As [`Backend::lookup`](crate::Backend::lookup).
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Attr> {
        self.attr_of(&Op::Lookup { dir }, name)
    }

    /// See [`Op::GetAttr`].
    ///
    /// # Errors
    /// `STALE`.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        self.attr_of(&Op::GetAttr { ino }, b"")
    }

    /// See [`Op::SetAttr`].
    ///
    /// # Errors
    /// As [`Backend::set_attr`](crate::Backend::set_attr).
    pub fn set_attr(&self, ino: Ino, set: &SetAttr) -> Result<Attr> {
        self.attr_of(&Op::SetAttr { ino, set: *set }, b"")
    }

    /// See [`Op::Make`].
    ///
    /// # Errors
    /// As [`Backend::make`](crate::Backend::make).
    pub fn make(&self, dir: Ino, name: &[u8], what: &What, target: &[u8], open: bool) -> Result<Attr> {
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.attr_of(&Op::Make { dir, what: *what, name: length, open }, &[name, target].concat())
    }

    /// See [`Op::Open`].
    ///
    /// # Errors
    /// `STALE`, `NFILE`.
    pub fn open(&self, ino: Ino) -> Result<Attr> {
        self.attr_of(&Op::Open { ino }, b"")
    }

    /// See [`Op::Close`].
    ///
    /// # Errors
    /// `BADF`.
    pub fn close(&self, ino: Ino) -> Result<()> {
        self.done(&Op::Close { ino }, b"")
    }

    /// Reads from a position; how many bytes there were. Fewer than asked only at the end.
    ///
    /// # Errors
    /// As [`Backend::read`](crate::Backend::read).
    pub fn read(&self, ino: Ino, offset: u64, into: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        for part in into.chunks_mut(IO_BYTES_MAX) {
            let (room, at) = (part.len(), offset + done as u64);
            match self.call(&Op::Read { ino, offset: at, length: room as u32 }, b"", Lend::Write(part))? {
                Answer::Bytes { length, .. } if length as usize <= room => done += length as usize,
                _ => return Err(Errno::PROTO),
            }
            if done % IO_BYTES_MAX != 0 {
                break;
            }
        }
        Ok(done)
    }

    /// Writes all at a position, or at the end. What is known of the file then.
    ///
    /// # Errors
    /// As [`Backend::write`](crate::Backend::write).
    pub fn write(&self, ino: Ino, offset: Option<u64>, from: &[u8]) -> Result<Attr> {
        let (mut last, mut done) = (None, 0);
        for part in from.chunks(IO_BYTES_MAX) {
            let at = offset.map(|o| o + done);
            let op = Op::Write { ino, offset: at, length: part.len() as u32 };
            match self.call(&op, b"", Lend::Read(part))? {
                Answer::Bytes { attr, .. } => last = Some(attr),
                _ => return Err(Errno::PROTO),
            }
            done += part.len() as u64;
        }
        last.map_or_else(|| self.attr(ino), Ok)
    }

    /// See [`Op::Unlink`].
    ///
    /// # Errors
    /// As [`Backend::unlink`](crate::Backend::unlink).
    pub fn unlink(&self, dir: Ino, name: &[u8]) -> Result<Attr> {
        self.attr_of(&Op::Unlink { dir }, name)
    }

    /// See [`Op::RmDir`].
    ///
    /// # Errors
    /// As [`Backend::remove_dir`](crate::Backend::remove_dir).
    pub fn remove_dir(&self, dir: Ino, name: &[u8]) -> Result<()> {
        self.done(&Op::RmDir { dir }, name)
    }

    /// See [`Op::Rename`].
    ///
    /// # Errors
    /// As [`Backend::rename`](crate::Backend::rename).
    pub fn rename(&self, from: (Ino, &[u8]), to: (Ino, &[u8]), how: Rename) -> Result<()> {
        let name = u16::try_from(from.1.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.done(&Op::Rename { dir: from.0, to: to.0, how, name }, &[from.1, to.1].concat())
    }

    /// See [`Op::Link`].
    ///
    /// # Errors
    /// As [`Backend::link`](crate::Backend::link).
    pub fn link(&self, ino: Ino, dir: Ino, name: &[u8]) -> Result<Attr> {
        self.attr_of(&Op::Link { ino, dir }, name)
    }

    /// See [`Op::ReadLink`].
    ///
    /// # Errors
    /// `INVAL`: it is none.
    pub fn read_link(&self, ino: Ino) -> Result<Vec<u8>> {
        let mut target = vec![0; dvs_api::fs::TARGET_BYTES_MAX];
        let length = self.length(&Op::ReadLink { ino }, b"", &mut target)?;
        target.truncate(length);
        Ok(target)
    }

    fn length(&self, op: &Op, text: &[u8], into: &mut [u8]) -> Result<usize> {
        let room = into.len();
        match self.call(op, text, Lend::Write(into))? {
            Answer::Length(n) if n as usize <= room || room == 0 => Ok(n as usize),
            _ => Err(Errno::PROTO),
        }
    }

    /// A page of names after a position, of at most so many bytes; whether there are no more.
    ///
    /// # Errors
    /// `NOTDIR`, `INVAL`: no name fits.
    pub fn read_dir(&self, ino: Ino, after: u64, attrs: bool, room: usize) -> Result<(Vec<u8>, bool)> {
        let mut bytes = vec![0; room];
        match self.call(&Op::ReadDir { ino, after, attrs }, b"", Lend::Write(&mut bytes))? {
            Answer::Page { length, last } if length as usize <= room => {
                bytes.truncate(length as usize);
                Ok((bytes, last))
            }
            _ => Err(Errno::PROTO),
        }
    }

    /// All names of a directory.
    ///
    /// # Errors
    /// As [`Client::read_dir`].
    pub fn list(&self, ino: Ino) -> Result<Vec<(page::Entry, Vec<u8>)>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let (bytes, last) = self.read_dir(ino, after, true, 64 << 10)?;
            all.extend(page::entries(&bytes).map(|(e, name)| (e, name.to_vec())));
            match all.last() {
                Some((entry, _)) if !last && entry.position > after => after = entry.position,
                _ => return Ok(all),
            }
        }
    }

    /// The value of an extended attribute; into nothing: only its length.
    ///
    /// # Errors
    /// `NODATA`; `RANGE`: it does not fit.
    pub fn get_x(&self, ino: Ino, name: &[u8], into: &mut [u8]) -> Result<usize> {
        self.length(&Op::GetX { ino }, name, into)
    }

    /// See [`Op::SetX`].
    ///
    /// # Errors
    /// As [`Backend::set_x`](crate::Backend::set_x).
    pub fn set_x(&self, ino: Ino, name: &[u8], value: &[u8], how: SetX) -> Result<()> {
        match self.call(&Op::SetX { ino, how }, name, Lend::Read(value))? {
            Answer::Done => Ok(()),
            _ => Err(Errno::PROTO),
        }
    }

    /// See [`Op::ListX`]; into nothing: only its length.
    ///
    /// # Errors
    /// `RANGE`: it does not fit.
    pub fn list_x(&self, ino: Ino, into: &mut [u8]) -> Result<usize> {
        self.length(&Op::ListX { ino }, b"", into)
    }

    /// See [`Op::RemoveX`].
    ///
    /// # Errors
    /// `NODATA`.
    pub fn remove_x(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.done(&Op::RemoveX { ino }, name)
    }

    /// See [`Op::Allocate`].
    ///
    /// # Errors
    /// As [`Backend::allocate`](crate::Backend::allocate).
    pub fn allocate(&self, ino: Ino, offset: u64, length: u64, how: Allocate) -> Result<Attr> {
        self.attr_of(&Op::Allocate { ino, offset, length, how }, b"")
    }

    /// See [`Op::Seek`].
    ///
    /// # Errors
    /// `NXIO`.
    pub fn seek(&self, ino: Ino, offset: u64, what: Seek) -> Result<u64> {
        match self.plain(&Op::Seek { ino, offset, what }, b"")? {
            Answer::Offset(offset) => Ok(offset),
            _ => Err(Errno::PROTO),
        }
    }

    /// See [`Op::Sync`].
    ///
    /// # Errors
    /// `IO`, `NOSPC`.
    pub fn sync(&self, ino: Option<Ino>) -> Result<()> {
        self.done(&Op::Sync { ino }, b"")
    }

    /// See [`Op::StatFs`].
    ///
    /// # Errors
    /// `IO`.
    pub fn stat_fs(&self) -> Result<StatFs> {
        match self.plain(&Op::StatFs, b"")? {
            Answer::StatFs(s) => Ok(s),
            _ => Err(Errno::PROTO),
        }
    }

    /// See [`Op::SetLock`].
    ///
    /// # Errors
    /// `AGAIN`: somebody has it. `NOLCK`, `INVAL`.
    pub fn set_lock(&self, ino: Ino, lock: &Lock) -> Result<()> {
        self.done(&Op::SetLock { ino, lock: *lock }, b"")
    }

    /// See [`Op::GetLock`].
    ///
    /// # Errors
    /// Of the call.
    pub fn get_lock(&self, ino: Ino, lock: &Lock) -> Result<Option<Lock>> {
        match self.plain(&Op::GetLock { ino, lock: *lock }, b"")? {
            Answer::Lock(found) => Ok(found),
            _ => Err(Errno::PROTO),
        }
    }

    /// The session ends, for all its endpoints.
    ///
    /// # Errors
    /// Of the call.
    pub fn bye(&self) -> Result<()> {
        self.done(&Op::Bye, b"")
    }
}
