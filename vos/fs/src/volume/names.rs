//! Directories: which name is which file.
//!
//! A name gets a position that no other of its directory has had before; a listing goes by positions, so
//! that it meets every name once that is there all the while, whatever else comes and goes.

use super::Volume;
use super::extents::lost;
use super::record::{Inode, kind_number, kind_of};
use super::tables::{NAMES, ORDER};
use crate::backend::{Name, Result};
use dvs_api::Errno;
use dvs_api::fs::page::Entry;
use dvs_api::fs::{Attr, FileKind, Ino, NAME_BYTES_MAX, Rename, Time, What, Who};
use redb::ReadableTable;

/// Names one file may have.
const LINKS_MAX: u32 = 65_000;
/// Names of a listing that are looked up at once.
const LISTED: usize = 256;

/// What a name's record says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    ino: u64,
    kind: FileKind,
    position: u64,
}

/// That something can be a name.
///
/// # Errors
/// `NAMETOOLONG`, `INVAL`.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    match name {
        b"" => Err(Errno::NOENT),
        b"." | b".." => Err(Errno::EXIST),
        _ if name.iter().any(|b| matches!(b, 0 | b'/')) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

impl Volume {
    fn find(&mut self, at: Name<'_>) -> Result<Option<Found>> {
        self.inode(at.dir.0)?.check_dir()?;
        if at.name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let table = self.txn()?.open_table(NAMES).map_err(lost)?;
        let row = table.get((at.dir.0, at.name)).map_err(lost)?;
        row.map(|row| {
            let (ino, kind, position) = row.value();
            Ok(Found { ino, kind: kind_of(kind)?, position })
        })
        .transpose()
    }

    pub(super) fn look_up(&mut self, at: Name<'_>) -> Result<Attr> {
        let ino = match at.name {
            b"." => at.dir.0,
            b".." => {
                let dir = self.inode(at.dir.0)?;
                dir.check_dir()?;
                dir.parent
            }
            _ => self.find(at)?.ok_or(Errno::NOENT)?.ino,
        };
        self.inode(ino).map(|i| i.attr(ino))
    }

    /// A directory that takes new names: one that was removed does not.
    fn check_takes_names(&mut self, dir: Ino) -> Result<()> {
        let dir = self.inode(dir.0)?;
        dir.check_dir()?;
        if dir.links == 0 { Err(Errno::NOENT) } else { Ok(()) }
    }

    pub(super) fn make_file(&mut self, at: Name<'_>, what: &What, target: &[u8], now: Time) -> Result<Attr> {
        check_name(at.name)?;
        self.check_takes_names(at.dir)?;
        if self.find(at)?.is_some() {
            return Err(Errno::EXIST);
        }
        self.check_room()?;
        let mut what = *what;
        let dir = self.inode(at.dir.0)?;
        if what.kind == FileKind::Dir && dir.links >= u32::MAX - 1 {
            return Err(Errno::MLINK);
        }
        if dir.mode & 0o2000 != 0 {
            what.who.gid = dir.gid;
            what.mode |= if what.kind == FileKind::Dir { 0o2000 } else { 0 };
        }
        let generation = (self.next as u32).wrapping_add(now.ns);
        let ino = self.add(Inode::new(&what, target, at.dir.0, generation, now));
        self.insert(at, ino, what.kind, now)?;
        self.changed()?;
        self.inode(ino).map(|i| i.attr(ino))
    }

    /// Room for what the tables need to grow by a name.
    fn check_room(&mut self) -> Result<()> {
        let enough = |v: &Self| v.space().ready() > v.buffer.blocks() + NAMES_SPARE;
        if !enough(self) {
            self.commit()?;
            if !enough(self) {
                return Err(Errno::NOSPC);
            }
        }
        Ok(())
    }

    /// Adds a name that is free.
    fn insert(&mut self, at: Name<'_>, ino: u64, kind: FileKind, now: Time) -> Result<()> {
        let dir = self.inode_mut(at.dir.0)?;
        dir.positions += 1;
        dir.names += 1;
        dir.size = dir.names;
        dir.links += u32::from(kind == FileKind::Dir);
        dir.changed(now);
        let position = dir.positions;
        self.put(at, Found { ino, kind, position })
    }

    fn put(&mut self, at: Name<'_>, found: Found) -> Result<()> {
        let Found { ino, kind, position } = found;
        let txn = self.txn()?;
        let mut names = txn.open_table(NAMES).map_err(lost)?;
        names.insert((at.dir.0, at.name), (ino, kind_number(kind), position)).map_err(lost)?;
        let mut order = txn.open_table(ORDER).map_err(lost)?;
        order.insert((at.dir.0, position), at.name).map_err(lost)?;
        Ok(())
    }

    /// Removes a name.
    fn take(&mut self, at: Name<'_>, found: Found, now: Time) -> Result<()> {
        {
            let txn = self.txn()?;
            txn.open_table(NAMES).map_err(lost)?.remove((at.dir.0, at.name)).map_err(lost)?;
            txn.open_table(ORDER).map_err(lost)?.remove((at.dir.0, found.position)).map_err(lost)?;
        }
        let dir = self.inode_mut(at.dir.0)?;
        dir.names = dir.names.saturating_sub(1);
        dir.size = dir.names;
        dir.links = dir.links.saturating_sub(u32::from(found.kind == FileKind::Dir));
        dir.changed(now);
        Ok(())
    }

    pub(super) fn remove_name(&mut self, at: Name<'_>, now: Time) -> Result<Attr> {
        let found = self.find_removable(at)?;
        if found.kind == FileKind::Dir {
            return Err(Errno::ISDIR);
        }
        let before = self.inode(found.ino)?.attr(found.ino);
        self.take(at, found, now)?;
        self.lose_name(found.ino, now)?;
        self.changed()?;
        let left =
            Attr { links: before.links.saturating_sub(1), ctime: now, version: before.version + 1, ..before };
        Ok(self.inode(found.ino).map_or(left, |i| i.attr(found.ino)))
    }

    fn find_removable(&mut self, at: Name<'_>) -> Result<Found> {
        match at.name {
            b"." => Err(Errno::INVAL),
            b".." => Err(Errno::NOTEMPTY),
            _ => self.find(at)?.ok_or(Errno::NOENT),
        }
    }

    pub(super) fn remove_directory(&mut self, at: Name<'_>, now: Time) -> Result<()> {
        let found = self.find_removable(at)?;
        let dir = self.inode(found.ino)?;
        dir.check_dir()?;
        if dir.names > 0 {
            return Err(Errno::NOTEMPTY);
        }
        self.take(at, found, now)?;
        self.lose_name(found.ino, now)?;
        self.changed()
    }

    pub(super) fn add_link(&mut self, ino: Ino, at: Name<'_>, now: Time) -> Result<Attr> {
        check_name(at.name)?;
        self.check_takes_names(at.dir)?;
        let inode = self.inode(ino.0)?;
        let (kind, links) = (inode.kind, inode.links);
        if kind == FileKind::Dir {
            return Err(Errno::PERM);
        }
        if links >= LINKS_MAX {
            return Err(Errno::MLINK);
        }
        // Without a name it is on its way out.
        if links == 0 {
            return Err(Errno::NOENT);
        }
        if self.find(at)?.is_some() {
            return Err(Errno::EXIST);
        }
        self.check_room()?;
        let inode = self.inode_mut(ino.0)?;
        inode.links += 1;
        inode.touched(now);
        self.insert(at, ino.0, kind, now)?;
        self.changed()?;
        self.inode(ino.0).map(|i| i.attr(ino.0))
    }

    pub(super) fn rename_file(&mut self, from: Name<'_>, to: Name<'_>, how: Rename, now: Time) -> Result<()> {
        for name in [from.name, to.name] {
            check_name(name).map_err(|e| if e == Errno::EXIST { Errno::BUSY } else { e })?;
        }
        self.check_takes_names(to.dir)?;
        let moved = self.find(from)?.ok_or(Errno::NOENT)?;
        let there = self.find(to)?;
        match (how, there) {
            (Rename::Keep, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            // Two names of one file: nothing is to be done.
            (_, Some(t)) if t.ino == moved.ino => return Ok(()),
            _ => {}
        }
        self.check_above(moved, to.dir)?;
        if how == Rename::Exchange
            && let Some(there) = there
        {
            self.check_above(there, from.dir)?;
            return self.exchange((from, moved), (to, there), now);
        }
        self.check_room()?;
        if let Some(there) = there {
            self.check_replaced(moved, there)?;
            self.take(to, there, now)?;
            self.lose_name(there.ino, now)?;
        }
        self.take(from, moved, now)?;
        self.insert(to, moved.ino, moved.kind, now)?;
        self.moved(moved, to.dir, now)?;
        if how == Rename::Whiteout {
            let what = What { kind: FileKind::Char, mode: 0, rdev: 0, who: Who::default() };
            self.make_file(from, &what, b"", now)?;
        }
        self.changed()
    }

    /// Whether what is there may be replaced.
    fn check_replaced(&mut self, moved: Found, there: Found) -> Result<()> {
        match (moved.kind == FileKind::Dir, there.kind == FileKind::Dir) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            (true, true) if self.inode(there.ino)?.names > 0 => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// A directory does not get below itself.
    fn check_above(&mut self, moved: Found, dir: Ino) -> Result<()> {
        if moved.kind != FileKind::Dir {
            return Ok(());
        }
        let mut at = dir.0;
        while at != Ino::ROOT.0 {
            if at == moved.ino {
                return Err(Errno::INVAL);
            }
            at = self.inode(at)?.parent;
        }
        Ok(())
    }

    fn moved(&mut self, moved: Found, dir: Ino, now: Time) -> Result<()> {
        let inode = self.inode_mut(moved.ino)?;
        inode.touched(now);
        if moved.kind == FileKind::Dir {
            inode.parent = dir.0;
        }
        Ok(())
    }

    fn exchange(&mut self, a: (Name<'_>, Found), b: (Name<'_>, Found), now: Time) -> Result<()> {
        let ((a_at, a), (b_at, b)) = (a, b);
        self.put(a_at, Found { position: a.position, ..b })?;
        self.put(b_at, Found { position: b.position, ..a })?;
        for (dir, came, went) in [(a_at.dir, b, a), (b_at.dir, a, b)] {
            let inode = self.inode_mut(dir.0)?;
            let is_dir = |f: Found| u32::from(f.kind == FileKind::Dir);
            inode.links = (inode.links + is_dir(came)).saturating_sub(is_dir(went));
            inode.changed(now);
            self.moved(came, dir, now)?;
        }
        self.changed()
    }

    pub(super) fn list(
        &mut self,
        ino: Ino,
        mut after: u64,
        take: &mut dyn FnMut(&Entry, &[u8]) -> bool,
    ) -> Result<()> {
        self.inode(ino.0)?.check_dir()?;
        loop {
            let page = self.page(ino.0, after)?;
            for (name, found) in &page {
                let attr = Some(self.inode(found.ino)?.attr(found.ino));
                let Found { ino, kind, position } = *found;
                if !take(&Entry { ino: Ino(ino), kind, position, attr }, name) {
                    return Ok(());
                }
                after = position;
            }
            self.make_room()?;
            if page.len() < LISTED {
                return Ok(());
            }
        }
    }

    fn page(&self, dir: u64, after: u64) -> Result<Vec<(Vec<u8>, Found)>> {
        let txn = self.txn()?;
        let (order, names) = (txn.open_table(ORDER).map_err(lost)?, txn.open_table(NAMES).map_err(lost)?);
        let mut page = Vec::new();
        for row in order.range((dir, after.saturating_add(1))..=(dir, u64::MAX)).map_err(lost)?.take(LISTED) {
            let (key, name) = row.map_err(lost)?;
            let (position, name) = (key.value().1, name.value().to_vec());
            let (ino, kind, _) = names.get((dir, &name[..])).map_err(lost)?.ok_or(Errno::IO)?.value();
            page.push((name, Found { ino, kind: kind_of(kind)?, position }));
        }
        Ok(page)
    }
}

/// Blocks that stay free for the tables when names are added.
const NAMES_SPARE: u64 = 32;
