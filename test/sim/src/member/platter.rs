//! The file of a member's store, and the order in which the member has written, sent and told.
//!
//! A member runs until it has nothing more to do, in no time at all; what it did lies in the journal until
//! the syncs before it are over. So whatever leaves the node is true after a loss of power, as far as the
//! member has seen to it.

use crate::disk::Write;
use dvs_abi::NodeId;
use dvs_log::{Disk, Network};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a member did.
#[derive(Debug)]
pub(super) enum Step<E> {
    /// It wrote.
    Write(Write),
    /// It waited until all was on its disk.
    Sync,
    /// It sent a message to another member.
    Send(NodeId, Vec<u8>),
    /// Its machine said something, or what was asked of it is done.
    Tell(E),
}

#[derive(Debug)]
struct Inner<E> {
    bytes: Vec<u8>,
    /// How many more there is room for.
    free: usize,
    steps: VecDeque<Step<E>>,
}

/// What a member does, in order. Clones are the same.
#[derive(Debug)]
pub(super) struct Outlet<E> {
    file: Arc<str>,
    inner: Arc<Mutex<Inner<E>>>,
}

impl<E> Clone for Outlet<E> {
    fn clone(&self) -> Self {
        Outlet { file: self.file.clone(), inner: self.inner.clone() }
    }
}

impl<E> Outlet<E> {
    pub(super) fn new(file: &str, bytes: Vec<u8>, free: usize) -> Self {
        let inner = Inner { bytes, free, steps: VecDeque::new() };
        Outlet { file: file.into(), inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever owns the member, after all it did before.
    pub(super) fn tell(&self, event: E) {
        self.inner().steps.push_back(Step::Tell(event));
    }

    /// The next thing it did.
    pub(super) fn next(&self) -> Option<Step<E>> {
        self.inner().steps.pop_front()
    }

    pub(super) fn step(&self, step: Step<E>) {
        self.inner().steps.push_back(step);
    }

    pub(super) fn set_free(&self, free: usize) {
        self.inner().free = free;
    }
}

impl<E> Inner<E> {
    fn resize(&mut self, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.bytes.len());
        if more > self.free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.free -= more;
        self.bytes.resize(length, 0);
        Ok(())
    }
}

impl<E: Send + 'static> Disk for Outlet<E> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.inner().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let found = inner.bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let (file, length, old) = (self.file.to_string(), length as usize, inner.bytes.len());
        inner.resize(length)?;
        let write = if length < old { Write::Cut(file, length) } else { Write::Grow(file, length) };
        inner.steps.push_back(Step::Write(write));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let (at, end) = (offset as usize, offset as usize + data.len());
        if end > inner.bytes.len() {
            inner.resize(end)?;
        }
        inner.bytes[at..end].copy_from_slice(data);
        inner.steps.push_back(Step::Write(Write::At(self.file.to_string(), at, data.to_vec())));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner().steps.push_back(Step::Sync);
        Ok(())
    }
}

impl<E: Send + 'static> Network for Outlet<E> {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        self.inner().steps.push_back(Step::Send(to, message));
    }
}
