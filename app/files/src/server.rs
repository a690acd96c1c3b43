//! The server: takes one request after another from a port and does it on a tree.
//!
//! It keeps nothing between two requests, so that any number of servers (threads, coroutines, processes) may
//! serve the same tree and a client may turn to any of them. All it reads from a request is checked: the
//! message by
//! [`crate::protocol`], the path by [`RelPath`], the lent ranges by the port.

use crate::entry::write_page;
use crate::error::{Cause, Refusal};
use crate::path::RelPath;
use crate::protocol::{Answer, Op, TEXT_BYTES_MAX, Text, decode_request, encode_answer, split_text};
use crate::side::Side;
use crate::tree::Tree;
use dvs::limits::{FILES_BLOCK_BYTES, FILES_HASHES_MAX};
use dvs::{Code, Endpoint, Grant, Kind, Message, Port, Timeout, Wait};

/// One worker: a tree and a buffer.
pub struct Server {
    tree: Tree,
    buffer: Vec<u8>,
}

/// A request with its client's memory at hand.
struct Job<'a, W: Wait> {
    port: &'a Port<W>,
    client: Endpoint,
    grants: Vec<Grant>,
}

impl Server {
    /// A server of this tree.
    pub fn new(tree: Tree) -> Self {
        Server { tree, buffer: vec![0; FILES_BLOCK_BYTES] }
    }

    /// Serves until the port ends; why it did (`SHUTDOWN` when it was asked to).
    pub fn serve<W: Wait>(&mut self, port: &Port<W>) -> dvs::Error {
        let mut m = Message::default();
        loop {
            match port.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
                // Whoever only sends, or notifies, waits for no answer.
                Ok(()) if m.kind() == Some(Kind::Request) => {
                    let client = m.source();
                    let mut answer = self.answer(port, &m);
                    // A client that went away meanwhile is not the server's problem.
                    let _ = port.reply(client, &mut answer, Timeout::Forever);
                }
                Ok(()) => {}
                Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR | Code::TIMEDOUT) => {}
                Err(e) => return e,
            }
        }
    }

    /// Does what a request asks.
    pub fn answer<W: Wait>(&mut self, port: &Port<W>, m: &Message) -> Message {
        let client = m.source();
        let job = Job { port, client, grants: port.grants_of(client) };
        let done = self.serve_one(&job, m).map_err(|cause| match cause {
            Cause::Refused(r) => r,
            Cause::Call(e) => Refusal::Copy(e.code as i32),
            Cause::BadAnswer => Refusal::BadRequest,
        });
        encode_answer(&done)
    }

    fn serve_one<W: Wait>(&mut self, job: &Job<'_, W>, m: &Message) -> Result<Answer, Cause> {
        let (op, text) = decode_request(m)?;
        let lent;
        let text = match text {
            Text::Inline(bytes) => bytes,
            Text::Lent => {
                lent = job.lent_text()?;
                &lent
            }
        };
        let second = match op {
            Op::List { after } => after,
            Op::Link { target } => target,
            _ => 0,
        };
        let (path, more) = split_text(text, second)?;
        match op {
            Op::Hello | Op::Stat | Op::List { .. } | Op::ReadLink => self.look(job, op, &path, more),
            Op::Read { .. } | Op::Hashes { .. } => self.read(job, op, &path),
            _ => self.change(job, op, &path, more),
        }
    }

    fn look<W: Wait>(
        &mut self,
        job: &Job<'_, W>,
        op: Op,
        path: &RelPath,
        more: &[u8],
    ) -> Result<Answer, Cause> {
        Ok(match op {
            Op::Stat => Answer::Meta(self.tree.stat(path)?),
            Op::List { .. } => {
                let room = job.room()?.min(self.buffer.len());
                let (list, left) = self.tree.list(path, more)?;
                let (count, used) = write_page(&list, &mut self.buffer[..room]);
                if count == 0 && !list.is_empty() {
                    return Err(Refusal::NoBuffer.into());
                }
                job.give(&self.buffer[..used])?;
                Answer::Page { count: count as u32, bytes: used as u32, more: left || count < list.len() }
            }
            Op::ReadLink => {
                let target = self.tree.read_link(path)?;
                job.give(&target)?;
                Answer::Target(target.len() as u32)
            }
            _ => Answer::Hello { block: FILES_BLOCK_BYTES as u32, read_only: self.tree.is_read_only() },
        })
    }

    fn read<W: Wait>(&mut self, job: &Job<'_, W>, op: Op, path: &RelPath) -> Result<Answer, Cause> {
        match op {
            Op::Read { offset, length, stamp } => {
                let into = self.buffer.get_mut(..length as usize).ok_or(Refusal::BadRequest)?;
                let (n, hash) = self.tree.read(path, offset, into, stamp)?;
                job.give(&into[..n])?;
                Ok(Answer::Data { length: n as u32, hash })
            }
            Op::Hashes { first, count, part } if count <= FILES_HASHES_MAX => {
                let hashes = self.tree.hashes(path, part, first, count)?;
                job.give(hashes.as_flattened())?;
                Ok(Answer::Hashes { count: hashes.len() as u32 })
            }
            _ => Err(Refusal::BadRequest.into()),
        }
    }

    fn change<W: Wait>(
        &mut self,
        job: &Job<'_, W>,
        op: Op,
        path: &RelPath,
        more: &[u8],
    ) -> Result<Answer, Cause> {
        // Refused before the data is fetched.
        if self.tree.is_read_only() {
            return Err(Refusal::ReadOnly.into());
        }
        match op {
            Op::Write { offset, length, hash } => {
                let data = job.take(&mut self.buffer, length)?;
                self.tree.write(path, offset, data, &hash)?;
            }
            Op::Put { length, hash, finish } => {
                let data = job.take(&mut self.buffer, length)?;
                self.tree.put(path, data, &hash, finish)?;
            }
            Op::Commit { size, finish } => self.tree.commit(path, size, finish)?,
            Op::Discard => self.tree.discard(path)?,
            Op::MakeFolder => self.tree.make_folder(path)?,
            Op::Link { .. } => self.tree.link(path, more)?,
            Op::Settle { finish } => self.tree.settle(path, finish)?,
            Op::Sync => self.tree.sync()?,
            _ => return Err(Refusal::BadRequest.into()),
        }
        Ok(Answer::Done)
    }
}

impl<W: Wait> Job<'_, W> {
    fn lent_text(&self) -> Result<Vec<u8>, Cause> {
        let grant = self.grants.get(1).ok_or(Refusal::NoBuffer)?;
        let length = usize::try_from(grant.length).unwrap_or(usize::MAX);
        if length > TEXT_BYTES_MAX {
            return Err(Refusal::BadPath.into());
        }
        let mut text = vec![0; length];
        self.port.copy_in(self.client, grant.address, &mut text)?;
        Ok(text)
    }

    fn room(&self) -> Result<usize, Refusal> {
        let grant = self.grants.first().ok_or(Refusal::NoBuffer)?;
        Ok(usize::try_from(grant.length).unwrap_or(usize::MAX))
    }

    fn give(&self, data: &[u8]) -> Result<(), Cause> {
        let grant = self.grants.first().ok_or(Refusal::NoBuffer)?;
        if (data.len() as u64) > grant.length {
            return Err(Refusal::NoBuffer.into());
        }
        Ok(self.port.copy_out(self.client, grant.address, data)?)
    }

    fn take<'b>(&self, buffer: &'b mut [u8], length: u32) -> Result<&'b [u8], Cause> {
        let into = buffer.get_mut(..length as usize).ok_or(Refusal::BadRequest)?;
        let grant = self.grants.first().ok_or(Refusal::NoBuffer)?;
        if u64::from(length) > grant.length {
            return Err(Refusal::NoBuffer.into());
        }
        self.port.copy_in(self.client, grant.address, into)?;
        Ok(into)
    }
}
