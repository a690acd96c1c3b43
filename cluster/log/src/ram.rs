//! A disk in memory, for tests and simulators: it has as much room as it is given, and a crash takes what was
//! not synced.

use crate::disk::Disk;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory. Clones are the same disk.
///
/// ```
/// use dvs_log::{Disk, Ram};
/// let disk = Ram::default();
/// disk.set_length(2)?;
/// disk.write(0, b"ab")?;
/// disk.sync()?;
/// disk.write(0, b"cd")?;
/// let mut found = [0; 2];
/// disk.after_crash().read(0, &mut found)?;
/// assert_eq!(&found, b"ab");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ram {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    now: Vec<u8>,
    synced: Vec<u8>,
    room: Option<u64>,
}

impl Ram {
    /// Gives it room for so many bytes, or without end.
    pub fn set_room(&self, room: Option<u64>) {
        self.inner().room = room;
    }

    /// What is left of it if the machine crashes now: another disk, with what was synced.
    pub fn after_crash(&self) -> Ram {
        let synced = self.inner().synced.clone();
        Ram { inner: Arc::new(Mutex::new(Inner { now: synced.clone(), synced, room: None })) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fits(&self, end: u64) -> io::Result<()> {
        match self.room {
            Some(room) if end > room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn span(&self, offset: u64, length: usize) -> io::Result<std::ops::Range<usize>> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let to = from.checked_add(length).filter(|to| *to <= self.now.len());
        Ok(from..to.ok_or(io::ErrorKind::UnexpectedEof)?)
    }
}

impl Disk for Ram {
    fn length(&self) -> io::Result<u64> {
        Ok(self.inner().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner();
        let span = inner.span(offset, out.len())?;
        out.copy_from_slice(&inner.now[span]);
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.fits(length)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        inner.now.resize(length, 0);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let span = inner.span(offset, data.len())?;
        inner.now[span].copy_from_slice(data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.synced.clone_from(&inner.now);
        Ok(())
    }
}
