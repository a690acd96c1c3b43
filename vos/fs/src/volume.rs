//! Files on a disk, safe from crashes.
//!
//! ```text
//!  block 0   tables (redb) ───►                       ◄─── anywhere behind: contents of files
//!  label     inodes, names, extents, …                     rows of 4 KiB blocks
//! ```
//! What is known of files stands in tables of a well-kept library; what is in them, in rows of blocks
//! beside. All changes since the last *commit* are one transaction of the tables. Contents are never written
//! over what the last commit names:
//!
//! 1. blocks that wait in memory ([`buffer`]) get free places and are written there, and the disk is flushed;
//! 2. the tables, which name the new places, are committed (and flushed by their library);
//! 3. what only the old tables named is free from here on.
//!
//! So after a crash at any moment the volume is as it was at the last commit, whole. `fsync` is a commit;
//! one also comes when much has changed, and from its server every few seconds.
//!
//! | file | subject |
//! |---|---|
//! | here | opening, commits, what all use |
//! | `record`, `tables` | what is kept of a file; the tables |
//! | `store`, `space` | the disk under the tables; what is free |
//! | `extents`, `buffer`, `contents` | where contents are; what waits; reading and writing |
//! | `names`, `xattrs` | directories; extended attributes |
//! | [`check`] | whether all of it fits together |

mod buffer;
pub mod check;
mod contents;
mod extents;
mod names;
mod record;
mod space;
mod store;
mod tables;
mod xattrs;

use crate::backend::Result;
use buffer::Buffer;
use dvs_api::Errno;
use dvs_api::disk::Device;
use dvs_api::fs::{FileKind, Ino, StatFs, Time, What, Who};
use extents::lost;
use record::Inode;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use space::Space;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Front, Label};
use tables::{EXTENTS, INODES, NAMES, NEXT, NUMBERS, ORDER, ORPHANS, XATTRS};

/// Bytes of a block.
const BLOCK: u64 = dvs_api::disk::BLOCK_BYTES;
/// Smallest disk a volume fits on.
const BLOCKS_MIN: u64 = 1024;
/// Blocks that may wait before they are written; so many more at most while that goes on.
const WAITING_MAX: u64 = 16 << 10;
/// Files whose record may be in memory; more are written to the tables.
const INODES_HELD_MAX: usize = 16 << 10;
/// Changed records after which a commit comes by itself.
const CHANGES_MAX: u64 = 100_000;
/// Memory for the tables' pages.
const CACHE_BYTES: usize = 64 << 20;

/// A file's record in memory.
#[derive(Debug)]
struct Held {
    inode: Inode,
    changed: bool,
}

/// The files of a disk.
pub struct Volume {
    device: Arc<dyn Device>,
    db: Database,
    /// Everything since the last commit. None only after a failure, from which there is no going on.
    open: Option<WriteTransaction>,
    space: Arc<Mutex<Space>>,
    buffer: Buffer,
    inodes: HashMap<u64, Held>,
    /// Files that are open, and how often.
    holds: HashMap<u64, u64>,
    next: u64,
    /// Changes since the last commit.
    changes: u64,
    /// Contents were written to the disk since it was flushed.
    unflushed: bool,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume")
            .field("device", &self.device)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Volume {
    /// Makes a disk a volume without any files. What was on it is gone.
    ///
    /// # Errors
    /// `NOSPC`: the disk is too small (4 MiB are enough). `IO`.
    pub fn format(device: Arc<dyn Device>, now: Time) -> Result<Self> {
        let blocks = device.length() / BLOCK;
        if blocks < BLOCKS_MIN {
            return Err(Errno::NOSPC);
        }
        let label = Label::new(blocks);
        label.write(&*device)?;
        let mut volume = Self::start(device, label)?;
        let what = What { kind: FileKind::Dir, mode: 0o755, rdev: 0, who: Who::default() };
        let root = Inode::new(&what, b"", Ino::ROOT.0, 1, now);
        volume.inodes.insert(Ino::ROOT.0, Held { inode: root, changed: true });
        volume.next = Ino::ROOT.0 + 1;
        volume.commit()?;
        Ok(volume)
    }

    /// The volume on a disk, as it was at its last commit.
    ///
    /// # Errors
    /// `NXIO`: there is none. `IO`: the disk fails, or what is on it is damaged.
    pub fn open(device: Arc<dyn Device>) -> Result<Self> {
        let label = Label::read(&*device)?.ok_or(Errno::NXIO)?;
        let mut volume = Self::start(device, label)?;
        volume.claim()?;
        volume.sweep()?;
        Ok(volume)
    }

    fn start(device: Arc<dyn Device>, label: Label) -> Result<Self> {
        let tables = 1 + label.tables.div_ceil(BLOCK);
        if tables > label.blocks {
            return Err(Errno::IO);
        }
        let space = Arc::new(Mutex::new(Space::new(label.blocks, tables)));
        let front = Front::new(Arc::clone(&device), Arc::clone(&space), label);
        let db = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(front).map_err(lost)?;
        let mut volume = Volume {
            device,
            db,
            open: None,
            space,
            buffer: Buffer::default(),
            inodes: HashMap::new(),
            holds: HashMap::new(),
            next: 0,
            changes: 0,
            unflushed: false,
        };
        volume.begin()?;
        volume.next = {
            let numbers = volume.txn()?.open_table(NUMBERS).map_err(lost)?;
            numbers.get(NEXT).map_err(lost)?.map_or(2, |n| n.value())
        };
        Ok(volume)
    }

    fn begin(&mut self) -> Result<()> {
        let txn = self.db.begin_write().map_err(lost)?;
        // All tables are there from the first commit on.
        txn.open_table(INODES).map_err(lost)?;
        txn.open_table(NAMES).map_err(lost)?;
        txn.open_table(ORDER).map_err(lost)?;
        txn.open_table(EXTENTS).map_err(lost)?;
        txn.open_table(XATTRS).map_err(lost)?;
        txn.open_table(ORPHANS).map_err(lost)?;
        txn.open_table(NUMBERS).map_err(lost)?;
        self.open = Some(txn);
        Ok(())
    }

    fn txn(&self) -> Result<&WriteTransaction> {
        self.open.as_ref().ok_or(Errno::IO)
    }

    fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that the extents name is in use.
    fn claim(&mut self) -> Result<()> {
        let txn = self.db.begin_read().map_err(lost)?;
        let table = txn.open_table(EXTENTS).map_err(lost)?;
        let mut space = self.space();
        for row in table.iter().map_err(lost)? {
            let (first, blocks, _) = row.map_err(lost)?.1.value();
            if blocks == 0 || first.checked_add(blocks).is_none() || !space.claim(first, blocks) {
                return Err(Errno::IO);
            }
        }
        Ok(())
    }

    /// Removes files that had lost their last name and were open when the volume was last used.
    fn sweep(&mut self) -> Result<()> {
        let orphans: Vec<u64> = {
            let table = self.txn()?.open_table(ORPHANS).map_err(lost)?;
            let rows = table.iter().map_err(lost)?;
            rows.map(|row| row.map(|(key, _)| key.value()))
                .collect::<std::result::Result<_, _>>()
                .map_err(lost)?
        };
        for ino in orphans {
            self.erase(ino)?;
        }
        Ok(())
    }

    /// All that was done so far is on the disk for good when this returns.
    ///
    /// # Errors
    /// `NOSPC`: what waits found no place; it waits on. `IO`: nothing can be done with this volume any more
    /// until it is opened again, as of its last commit.
    pub fn commit(&mut self) -> Result<()> {
        self.settle(None)?;
        if self.changes == 0 && !self.inodes.values().any(|h| h.changed) {
            return Ok(());
        }
        self.flush_contents()?;
        self.write_inodes()?;
        {
            let mut numbers = self.txn()?.open_table(NUMBERS).map_err(lost)?;
            numbers.insert(NEXT, self.next).map_err(lost)?;
        }
        let txn = self.open.take().ok_or(Errno::IO)?;
        txn.commit().map_err(lost)?;
        self.changes = 0;
        self.space().committed();
        self.begin()
    }

    fn flush_contents(&mut self) -> Result<()> {
        if std::mem::take(&mut self.unflushed) {
            self.device.flush()?;
        }
        Ok(())
    }

    /// After each change: a commit when much has changed, and room in memory.
    fn changed(&mut self) -> Result<()> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return self.commit();
        }
        if self.buffer.blocks() > WAITING_MAX {
            self.settle(None)?;
        }
        self.make_room()
    }

    // ---- records

    /// A file's record.
    fn inode(&mut self, ino: u64) -> Result<&Inode> {
        self.load(ino)?;
        self.inodes.get(&ino).map(|h| &h.inode).ok_or(Errno::STALE)
    }

    /// The same, to be changed.
    fn inode_mut(&mut self, ino: u64) -> Result<&mut Inode> {
        self.load(ino)?;
        let held = self.inodes.get_mut(&ino).ok_or(Errno::STALE)?;
        held.changed = true;
        Ok(&mut held.inode)
    }

    fn load(&mut self, ino: u64) -> Result<()> {
        if self.inodes.contains_key(&ino) {
            return Ok(());
        }
        let inode: Inode = {
            let table = self.txn()?.open_table(INODES).map_err(lost)?;
            let row = table.get(ino).map_err(lost)?.ok_or(Errno::STALE)?;
            postcard::from_bytes(row.value()).map_err(lost)?
        };
        self.inodes.insert(ino, Held { inode, changed: false });
        Ok(())
    }

    fn write_inodes(&mut self) -> Result<()> {
        let mut changed: Vec<(&u64, &mut Held)> = self.inodes.iter_mut().filter(|(_, h)| h.changed).collect();
        changed.sort_unstable_by_key(|(ino, _)| **ino);
        let txn = self.open.as_ref().ok_or(Errno::IO)?;
        let mut table = txn.open_table(INODES).map_err(lost)?;
        let mut bytes = Vec::new();
        for (ino, held) in changed {
            bytes.clear();
            bytes = postcard::to_extend(&held.inode, bytes).map_err(lost)?;
            table.insert(*ino, &bytes[..]).map_err(lost)?;
            held.changed = false;
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        if self.inodes.len() > INODES_HELD_MAX {
            self.write_inodes()?;
            self.inodes.clear();
        }
        Ok(())
    }

    /// A new file's number and record.
    fn add(&mut self, inode: Inode) -> u64 {
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Held { inode, changed: true });
        ino
    }

    /// A file has lost a name.
    fn lose_name(&mut self, ino: u64, now: Time) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.touched(now);
        inode.links = if inode.kind == FileKind::Dir { 0 } else { inode.links.saturating_sub(1) };
        if inode.links > 0 {
            return Ok(());
        }
        if self.holds.contains_key(&ino) {
            let mut table = self.txn()?.open_table(ORPHANS).map_err(lost)?;
            table.insert(ino, ()).map_err(lost)?;
            return Ok(());
        }
        self.erase(ino)
    }

    /// A file without names that nobody has open is gone.
    fn erase(&mut self, ino: u64) -> Result<()> {
        self.buffer.forget(ino, 0, u64::MAX);
        self.place(ino, 0, u64::MAX >> 1, None)?;
        self.erase_xattrs(ino)?;
        self.inodes.remove(&ino);
        let txn = self.txn()?;
        txn.open_table(INODES).map_err(lost)?.remove(ino).map_err(lost)?;
        txn.open_table(ORPHANS).map_err(lost)?.remove(ino).map_err(lost)?;
        Ok(())
    }

    fn hold_file(&mut self, ino: u64) -> Result<()> {
        self.inode(ino)?;
        *self.holds.entry(ino).or_insert(0) += 1;
        Ok(())
    }

    fn release_file(&mut self, ino: u64) -> Result<()> {
        let Some(count) = self.holds.get_mut(&ino) else { return Ok(()) };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.holds.remove(&ino);
        if self.inode(ino)?.links == 0 {
            self.erase(ino)?;
            self.changed()?;
        }
        Ok(())
    }

    fn usage(&self) -> StatFs {
        let blocks = self.device.length() / BLOCK;
        let space = self.space();
        let free = space.free_blocks().saturating_sub(self.buffer.blocks());
        StatFs { bytes: blocks * BLOCK, free: free * BLOCK, files: u64::MAX >> 1, files_free: u64::MAX >> 1 }
    }
}

mod calls;
#[cfg(test)]
mod tests;
