//! Shared memory: anonymous files, sealed so that nobody can pull them away, mapped as slices of atomics.
//!
//! # Why seals
//! Whoever maps a file that another process shrinks dies of `SIGBUS`. Every file is sealed against changing
//! its size when it is made, and every descriptor that comes from somebody else is verified before it is
//! mapped: its size, its seals (which cannot be taken off), and that it is an ordinary anonymous file; one of
//! huge pages could fault for want of pages, seals or not.
//!
//! # Status pages
//! A page its owner writes and peers can only read is sealed `FUTURE_WRITE` after the owner mapped it:
//! nobody, the owner included, can map it for writing again.

use core::ptr::NonNull;
use dvs_ipc::host::{Memory, View};
use dvs_ipc::sync::{AtomicU64, Ordering};
use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What every shared file has.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
/// File system type of ordinary anonymous files.
const TMPFS: u64 = 0x0102_1994;

/// Memory mapped for reading and writing; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    region: Region,
}

/// Memory mapped for reading only; unmapped when dropped.
#[derive(Debug)]
pub struct Reading {
    region: Region,
}

impl Mapping {
    /// Makes and maps `bytes` of zeros to be shared for reading and writing.
    ///
    /// # Errors
    /// Of the system: no memory, too many descriptors. `INVAL` for no bytes or half words.
    pub fn create(name: &str, bytes: usize) -> io::Result<(Mapping, OwnedFd)> {
        let file = create(name, bytes)?;
        fcntl_add_seals(&file, SIZE_SEALS)?;
        let region = Region::map(file.as_fd(), bytes, true)?;
        Ok((Mapping { region }, file))
    }

    /// Makes and maps `bytes` of zeros which only this mapping can ever write.
    ///
    /// # Errors
    /// As [`Mapping::create`].
    pub fn create_status(name: &str, bytes: usize) -> io::Result<(Mapping, OwnedFd)> {
        let file = create(name, bytes)?;
        let region = Region::map(file.as_fd(), bytes, true)?;
        fcntl_add_seals(&file, SIZE_SEALS | SealFlags::FUTURE_WRITE)?;
        Ok((Mapping { region }, file))
    }

    /// Maps what [`Mapping::create`] made, here or elsewhere.
    ///
    /// # Errors
    /// `InvalidData` when it is not what it should be, see [`verify`]; otherwise of the system.
    pub fn open(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapping> {
        verify(file, bytes, SIZE_SEALS)?;
        Ok(Mapping { region: Region::map(file, bytes, true)? })
    }
}

impl Reading {
    /// Maps what [`Mapping::create_status`] made elsewhere.
    ///
    /// # Errors
    /// As [`Mapping::open`].
    pub fn open(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Reading> {
        verify(file, bytes, SIZE_SEALS | SealFlags::FUTURE_WRITE)?;
        Ok(Reading { region: Region::map(file, bytes, false)? })
    }
}

impl View for Mapping {
    fn load(&self, index: usize) -> u64 {
        self.region.words().get(index).map_or(0, |w| w.load(Ordering::Relaxed))
    }
}

impl Memory for Mapping {
    fn words(&self) -> &[AtomicU64] {
        self.region.words()
    }
}

impl View for Reading {
    fn load(&self, index: usize) -> u64 {
        // Relaxed is the one ordering Rust allows on read-only pages.
        self.region.words().get(index).map_or(0, |w| w.load(Ordering::Relaxed))
    }
}

/// Checks a descriptor received from somebody else: an ordinary anonymous file of exactly `bytes` with
/// `seals`.
///
/// # Errors
/// `InvalidData` saying what is wrong.
pub fn verify(file: BorrowedFd<'_>, bytes: usize, seals: SealFlags) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let found = match fcntl_get_seals(file) {
        Ok(found) => found,
        Err(Errno::INVAL) => return wrong("the descriptor is no sealable memory".into()),
        Err(e) => return Err(e.into()),
    };
    if !found.contains(seals) {
        return wrong(format!("shared memory lacks the seals {:?}", seals - found));
    }
    if fstatfs(file)?.f_type as u64 != TMPFS {
        return wrong("shared memory is not of ordinary pages".into());
    }
    let size = fstat(file)?.st_size;
    if u64::try_from(size) != Ok(bytes as u64) {
        return wrong(format!("shared memory has {size} bytes instead of {bytes}"));
    }
    Ok(())
}

fn create(name: &str, bytes: usize) -> io::Result<OwnedFd> {
    if bytes == 0 || !bytes.is_multiple_of(8) {
        return Err(Errno::INVAL.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags)?, // before Linux 6.3
        other => other?,
    };
    ftruncate(&file, bytes as u64)?;
    Ok(file)
}

/// One mapping of a file whose size cannot change.
#[derive(Debug)]
struct Region {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the region is memory every thread may reach, and all access to it is atomic.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn map(file: BorrowedFd<'_>, bytes: usize, write: bool) -> io::Result<Region> {
        let access = if write { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: the kernel chooses a free range, so no memory of ours is replaced.
        let start = unsafe { mmap(core::ptr::null_mut(), bytes, access, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Region { start, bytes })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the range was mapped in `map`, is aligned to a page and stays until `drop`, which the
        // borrow of self outlives not. It cannot fault: the file is sealed against shrinking at `bytes` (made
        // so here, or verified). Other processes write to it, but it is seen as atomics only. Of a read-only
        // mapping this slice does not leave the crate: `Reading` does relaxed loads and nothing else.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.bytes / 8) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range `map` got; nobody has a reference into it, as those borrow self.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a range we mapped can be unmapped");
    }
}

#[cfg(test)]
mod tests;
