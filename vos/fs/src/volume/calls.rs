//! A volume as a back end.

use super::Volume;
use crate::backend::{Backend, Name, Result};
use dvs_api::Errno;
use dvs_api::fs::page::Entry;
use dvs_api::fs::{
    Allocate, Attr, FileKind, Ino, Rename, Seek, SetAttr, SetTime, SetX, StatFs, TARGET_BYTES_MAX, Time, What,
};

fn time(set: SetTime, now: Time) -> Time {
    match set {
        SetTime::Now => now,
        SetTime::To(time) => time,
    }
}

impl Backend for Volume {
    fn lookup(&mut self, at: Name<'_>) -> Result<Attr> {
        self.look_up(at)
    }

    fn attr(&mut self, ino: Ino) -> Result<Attr> {
        self.inode(ino.0).map(|i| i.attr(ino.0))
    }

    fn set_attr(&mut self, ino: Ino, set: &SetAttr, now: Time) -> Result<Attr> {
        if let Some(size) = set.size {
            self.set_size(ino.0, size, now)?;
        }
        let inode = self.inode_mut(ino.0)?;
        inode.mode = set.mode.map_or(inode.mode, |m| m & 0o7777);
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        inode.atime = set.atime.map_or(inode.atime, |t| time(t, now));
        inode.mtime = set.mtime.map_or(inode.mtime, |t| time(t, now));
        inode.touched(now);
        let attr = inode.attr(ino.0);
        self.changed()?;
        Ok(attr)
    }

    fn make(&mut self, at: Name<'_>, what: &What, target: &[u8], now: Time) -> Result<Attr> {
        if target.len() > TARGET_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if (what.kind == FileKind::Symlink) == target.is_empty() {
            return Err(if target.is_empty() { Errno::NOENT } else { Errno::INVAL });
        }
        self.make_file(at, what, target, now)
    }

    fn hold(&mut self, ino: Ino) -> Result<()> {
        self.hold_file(ino.0)
    }

    fn release(&mut self, ino: Ino) {
        // What cannot be removed now is when the volume is opened next.
        let _ = self.release_file(ino.0);
    }

    fn read(&mut self, ino: Ino, offset: u64, into: &mut [u8], now: Time) -> Result<usize> {
        let n = self.read_at(ino.0, offset, into)?;
        let inode = self.inode(ino.0)?;
        // As Linux does it by default: once after each change, and once a day.
        if inode.atime <= inode.mtime || inode.atime <= inode.ctime || inode.atime.s + 86_400 < now.s {
            self.inode_mut(ino.0)?.atime = now;
        }
        Ok(n)
    }

    fn write(&mut self, ino: Ino, offset: Option<u64>, from: &[u8], now: Time) -> Result<Attr> {
        self.write_at(ino.0, offset, from, now)?;
        self.attr(ino)
    }

    fn unlink(&mut self, at: Name<'_>, now: Time) -> Result<Attr> {
        self.remove_name(at, now)
    }

    fn remove_dir(&mut self, at: Name<'_>, now: Time) -> Result<()> {
        self.remove_directory(at, now)
    }

    fn rename(&mut self, from: Name<'_>, to: Name<'_>, how: Rename, now: Time) -> Result<()> {
        self.rename_file(from, to, how, now)
    }

    fn link(&mut self, ino: Ino, at: Name<'_>, now: Time) -> Result<Attr> {
        self.add_link(ino, at, now)
    }

    fn read_link(&mut self, ino: Ino) -> Result<Vec<u8>> {
        let inode = self.inode(ino.0)?;
        if inode.kind == FileKind::Symlink { Ok(inode.target.clone()) } else { Err(Errno::INVAL) }
    }

    fn read_dir(&mut self, ino: Ino, after: u64, take: &mut dyn FnMut(&Entry, &[u8]) -> bool) -> Result<()> {
        self.list(ino, after, take)
    }

    fn parent(&mut self, ino: Ino) -> Result<Ino> {
        let inode = self.inode(ino.0)?;
        inode.check_dir()?;
        Ok(Ino(inode.parent))
    }

    fn get_x(&mut self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        self.xattr(ino.0, name)
    }

    fn set_x(&mut self, ino: Ino, name: &[u8], value: &[u8], how: SetX, now: Time) -> Result<()> {
        self.set_xattr(ino.0, name, value, how, now)
    }

    fn list_x(&mut self, ino: Ino) -> Result<Vec<u8>> {
        self.xattrs(ino.0)
    }

    fn remove_x(&mut self, ino: Ino, name: &[u8], now: Time) -> Result<()> {
        self.remove_xattr(ino.0, name, now)
    }

    fn allocate(&mut self, ino: Ino, offset: u64, length: u64, how: Allocate, now: Time) -> Result<Attr> {
        let end = offset.checked_add(length).filter(|_| length > 0).ok_or(Errno::INVAL)?;
        if end > dvs_api::fs::FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        self.allocate_range(ino.0, offset..end, how, now)?;
        self.attr(ino)
    }

    fn seek(&mut self, ino: Ino, offset: u64, what: Seek) -> Result<u64> {
        self.seek_from(ino.0, offset, what)
    }

    fn sync(&mut self, _ino: Option<Ino>) -> Result<()> {
        self.commit()
    }

    fn stat_fs(&mut self) -> Result<StatFs> {
        Ok(self.usage())
    }
}
