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
    /// What leads from `synced` to `now`, in order.
    since: Vec<Step>,
    room: Option<u64>,
}

/// A change that is not synced yet.
#[derive(Debug)]
enum Step {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Step {
    /// Does it to `disk`, which may lack steps before.
    fn redo(&self, disk: &mut Vec<u8>) {
        match self {
            Step::Length(length) => disk.resize(*length, 0),
            Step::Write(at, data) => {
                if disk.len() < at + data.len() {
                    disk.resize(at + data.len(), 0);
                }
                disk[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// What a disk writes in one go.
const SECTOR: usize = 512;

impl Ram {
    /// Gives it room for so many bytes, or without end.
    pub fn set_room(&self, room: Option<u64>) {
        self.inner().room = room;
    }

    /// What is left of it if the machine crashes now: another disk, with what was synced.
    pub fn after_crash(&self) -> Ram {
        Ram::of(self.inner().synced.clone())
    }

    /// The same, when some sectors of what was not synced had reached the disk: those for which `lot` says
    /// so.
    pub fn after_tear(&self, mut lot: impl FnMut() -> bool) -> Ram {
        let inner = self.inner();
        let mut left = inner.synced.clone();
        for step in &inner.since {
            match step {
                Step::Length(_) => {
                    if lot() {
                        step.redo(&mut left);
                    }
                }
                Step::Write(at, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if lot() {
                            Step::Write(at + n * SECTOR, sector.to_vec()).redo(&mut left);
                        }
                    }
                }
            }
        }
        Ram::of(left)
    }

    fn of(bytes: Vec<u8>) -> Ram {
        let inner = Inner { now: bytes.clone(), synced: bytes, since: Vec::new(), room: None };
        Ram { inner: Arc::new(Mutex::new(inner)) }
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
        inner.since.push(Step::Length(length));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let span = inner.span(offset, data.len())?;
        inner.since.push(Step::Write(span.start, data.to_vec()));
        inner.now[span].copy_from_slice(data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        for step in std::mem::take(&mut inner.since) {
            step.redo(&mut inner.synced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tear_leaves_what_the_lot_says() {
        let disk = Ram::default();
        disk.set_length(2048).unwrap();
        disk.write(0, &[1; 2048]).unwrap();
        disk.sync().unwrap();
        disk.write(0, &[2; 2048]).unwrap();
        disk.set_length(4096).unwrap();
        let mut count = 0;
        let torn = disk.after_tear(|| {
            count += 1;
            count % 2 == 0
        });
        let mut found = vec![0; 2048];
        torn.read(0, &mut found).unwrap();
        let sectors: Vec<u8> = found.chunks(SECTOR).map(|s| s[0]).collect();
        assert_eq!((sectors, torn.length().unwrap()), (vec![1, 2, 1, 2], 2048));
        assert_eq!(disk.after_crash().length().unwrap(), 2048);
        disk.sync().unwrap();
        assert_eq!(disk.after_crash().length().unwrap(), 4096);
    }
}
