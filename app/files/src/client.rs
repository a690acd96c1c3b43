//! The client: typed calls to a server, and so a [`Side`] of a copy.

use crate::entry::{Entry, Finish, Hash, Meta, Stamp, read_page};
use crate::error::Cause;
use crate::path::RelPath;
use crate::protocol::{Answer, Op, decode_answer, encode_request};
use crate::side::Side;
use dvs::limits::{FILES_BLOCK_BYTES, FILES_HASHES_MAX, FILES_PATH_BYTES_MAX};
use dvs::{Endpoint, Lend, Port, Timeout, Wait};
use std::cell::RefCell;
use std::time::Duration;

/// A server as one client sees it. Owns the port it calls from.
pub struct Client<W: Wait> {
    port: Port<W>,
    server: Endpoint,
    name: String,
    timeout: Timeout,
    page: RefCell<Vec<u8>>,
}

impl<W: Wait> Client<W> {
    /// Calls `server`, called `name` in messages, with 30 seconds a call.
    pub fn new(port: Port<W>, server: Endpoint, name: &str) -> Self {
        let timeout = Timeout::After(Duration::from_secs(30));
        Client { port, server, name: name.to_string(), timeout, page: RefCell::new(Vec::new()) }
    }

    /// The same with another time limit for each call.
    pub fn with_timeout(self, timeout: Timeout) -> Self {
        Client { timeout, ..self }
    }

    /// Asks whether the service is there; whether it only reads.
    ///
    /// # Errors
    /// Of the call, `Version` when another one is spoken.
    pub fn hello(&self) -> Result<bool, Cause> {
        match self.call(&Op::Hello, b"", Lend::Read(&[]))? {
            Answer::Hello { read_only, .. } => Ok(read_only),
            _ => Err(Cause::BadAnswer),
        }
    }

    fn call(&self, op: &Op, text: &[u8], data: Lend<'_>) -> Result<Answer, Cause> {
        let (mut m, lent) = encode_request(op, text);
        let mut lends = [data, Lend::Read(text)];
        let lends = if lent { &mut lends[..] } else { &mut lends[..1] };
        self.port.sendrec_with(self.server, &mut m, lends, self.timeout)?;
        Ok(decode_answer(&m).ok_or(Cause::BadAnswer)??)
    }

    fn done(&self, op: &Op, text: &[u8], data: &[u8]) -> Result<(), Cause> {
        match self.call(op, text, Lend::Read(data))? {
            Answer::Done => Ok(()),
            _ => Err(Cause::BadAnswer),
        }
    }
}

impl<W: Wait> Side for Client<W> {
    fn name(&self) -> &str {
        &self.name
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Meta>, Cause> {
        match self.call(&Op::Stat, path.bytes(), Lend::Read(&[]))? {
            Answer::Meta(m) => Ok(m),
            _ => Err(Cause::BadAnswer),
        }
    }

    fn list(&self, path: &RelPath, after: &[u8]) -> Result<(Vec<Entry>, bool), Cause> {
        let mut page = self.page.borrow_mut();
        page.resize(FILES_BLOCK_BYTES, 0);
        let text = [path.bytes(), after].concat();
        match self.call(&Op::List { after: after.len() as u16 }, &text, Lend::Write(&mut page))? {
            Answer::Page { count, bytes, more } => {
                let bytes = page.get(..bytes as usize).ok_or(Cause::BadAnswer)?;
                let list = read_page(bytes, count as usize, after).ok_or(Cause::BadAnswer)?;
                // A server that says "more" and gives nothing would keep us for ever.
                if list.is_empty() && more { Err(Cause::BadAnswer) } else { Ok((list, more)) }
            }
            _ => Err(Cause::BadAnswer),
        }
    }

    fn read(
        &self,
        path: &RelPath,
        offset: u64,
        into: &mut [u8],
        stamp: Stamp,
    ) -> Result<(usize, Hash), Cause> {
        let op = Op::Read { offset, length: into.len() as u32, stamp };
        let room = into.len();
        match self.call(&op, path.bytes(), Lend::Write(into))? {
            Answer::Data { length, hash } if length as usize <= room => Ok((length as usize, hash)),
            _ => Err(Cause::BadAnswer),
        }
    }

    fn hashes(&self, path: &RelPath, part: bool, first: u64, count: u32) -> Result<Vec<Hash>, Cause> {
        let count = count.min(FILES_HASHES_MAX);
        let mut hashes = vec![[0; 32]; count as usize];
        let lend = Lend::Write(hashes.as_flattened_mut());
        match self.call(&Op::Hashes { first, count, part }, path.bytes(), lend)? {
            Answer::Hashes { count: n } if n <= count => {
                hashes.truncate(n as usize);
                Ok(hashes)
            }
            _ => Err(Cause::BadAnswer),
        }
    }

    fn write(&self, path: &RelPath, offset: u64, data: &[u8], hash: &Hash) -> Result<(), Cause> {
        self.done(&Op::Write { offset, length: data.len() as u32, hash: *hash }, path.bytes(), data)
    }

    fn put(&self, path: &RelPath, data: &[u8], hash: &Hash, finish: Finish) -> Result<(), Cause> {
        self.done(&Op::Put { length: data.len() as u32, hash: *hash, finish }, path.bytes(), data)
    }

    fn commit(&self, path: &RelPath, size: u64, finish: Finish) -> Result<(), Cause> {
        self.done(&Op::Commit { size, finish }, path.bytes(), &[])
    }

    fn discard(&self, path: &RelPath) -> Result<(), Cause> {
        self.done(&Op::Discard, path.bytes(), &[])
    }

    fn make_folder(&self, path: &RelPath) -> Result<(), Cause> {
        self.done(&Op::MakeFolder, path.bytes(), &[])
    }

    fn link(&self, path: &RelPath, target: &[u8]) -> Result<(), Cause> {
        let text = [path.bytes(), target].concat();
        self.done(&Op::Link { target: target.len() as u16 }, &text, &[])
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, Cause> {
        let mut target = vec![0; FILES_PATH_BYTES_MAX];
        match self.call(&Op::ReadLink, path.bytes(), Lend::Write(&mut target))? {
            Answer::Target(n) if n as usize <= target.len() => {
                target.truncate(n as usize);
                Ok(target)
            }
            _ => Err(Cause::BadAnswer),
        }
    }

    fn settle(&self, path: &RelPath, finish: Finish) -> Result<(), Cause> {
        self.done(&Op::Settle { finish }, path.bytes(), &[])
    }

    fn sync(&self) -> Result<(), Cause> {
        self.done(&Op::Sync, b"", &[])
    }
}
