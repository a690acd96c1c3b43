//! What a volume keeps of a file.

use super::BLOCK;
use crate::backend::Result;
use dvs_api::Errno;
use dvs_api::fs::{Attr, FileKind, Ino, Time, What};
use serde::{Deserialize, Serialize};

/// All of a file but its names, contents and extended attributes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct Inode {
    pub kind: FileKind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub size: u64,
    /// Blocks of the disk it has.
    pub blocks: u64,
    pub rdev: u32,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    pub btime: Time,
    pub generation: u32,
    pub version: u64,
    /// Of a directory: where it is.
    pub parent: u64,
    /// Of a directory: the position its last new name got, and how many names it has.
    pub positions: u64,
    pub names: u64,
    /// Of a symbolic link.
    pub target: Vec<u8>,
}

impl Inode {
    /// A new one without a name.
    pub fn new(what: &What, target: &[u8], parent: u64, generation: u32, now: Time) -> Self {
        let dir = what.kind == FileKind::Dir;
        Inode {
            kind: what.kind,
            mode: what.mode & 0o7777,
            uid: what.who.uid,
            gid: what.who.gid,
            links: if dir { 2 } else { 1 },
            size: target.len() as u64,
            blocks: 0,
            rdev: what.rdev,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            generation,
            version: 1,
            parent: if dir { parent } else { 0 },
            positions: 0,
            names: 0,
            target: target.to_vec(),
        }
    }

    /// As others see it.
    pub fn attr(&self, ino: u64) -> Attr {
        let Inode { kind, mode, uid, gid, links, size, rdev, .. } = *self;
        let Inode { atime, mtime, ctime, btime, generation, version, .. } = *self;
        let stored = self.blocks * BLOCK;
        let ino = Ino(ino);
        Attr {
            ino,
            kind,
            mode,
            uid,
            gid,
            links,
            size,
            stored,
            rdev,
            atime,
            mtime,
            ctime,
            btime,
            generation,
            version,
        }
    }

    /// Its contents or names have changed.
    pub fn changed(&mut self, now: Time) {
        (self.mtime, self.ctime) = (now, now);
        self.version += 1;
    }

    /// Something else of it has changed.
    pub fn touched(&mut self, now: Time) {
        self.ctime = now;
        self.version += 1;
    }

    /// That it is a directory.
    pub fn check_dir(&self) -> Result<()> {
        if self.kind == FileKind::Dir { Ok(()) } else { Err(Errno::NOTDIR) }
    }

    /// That it has contents.
    pub fn check_file(&self) -> Result<()> {
        match self.kind {
            FileKind::File => Ok(()),
            FileKind::Dir => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }
}

/// The kind of a file as a number of its name's record.
pub(super) fn kind_number(kind: FileKind) -> u8 {
    kind as u8
}

/// And back.
pub(super) fn kind_of(number: u8) -> Result<FileKind> {
    Ok(match number {
        0 => FileKind::File,
        1 => FileKind::Dir,
        2 => FileKind::Symlink,
        3 => FileKind::Fifo,
        4 => FileKind::Socket,
        5 => FileKind::Char,
        6 => FileKind::Block,
        _ => return Err(Errno::IO),
    })
}
