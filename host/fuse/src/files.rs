//! What the kernel asks, as calls to the file server.

use crate::convert::{attr, file_type, kind_of_mode, set_time};
use crate::pool::Pool;
use dvs_api::Errno;
use dvs_api::fs::{
    Allocate, Attr, FileKind, Ino, Lock, LockKind, Rename, Seek, SetAttr, SetX, What, Who, page,
};
use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

/// Bytes of one request of the kernel.
const REQUEST_BYTES: u32 = 1 << 20;
/// Between two tries for a lock that another has.
const LOCK_AGAIN: Duration = Duration::from_millis(10);
/// Positions of `.` and `..` in a listing; the server's begin behind them.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// The files of one mount.
#[derive(Debug)]
pub(crate) struct Files {
    pub pool: Pool,
    /// How long the kernel may believe what it was told.
    pub ttl: Duration,
    pub writeback: bool,
}

fn failed(e: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(e.0)
}

fn generation(a: &Attr) -> Generation {
    Generation(u64::from(a.generation))
}

impl Files {
    fn entry(&self, reply: ReplyEntry, made: Result<Attr, Errno>) {
        match made {
            Ok(a) => reply.entry(&self.ttl, &attr(&a), generation(&a)),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn attr(&self, reply: ReplyAttr, got: Result<Attr, Errno>) {
        match got {
            Ok(a) => reply.attr(&self.ttl, &attr(&a)),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn make(
        &self,
        request: &Request,
        at: (INodeNo, &OsStr),
        what: (FileKind, u32, u32),
        target: &[u8],
    ) -> Result<Attr, Errno> {
        self.make_open(request, at, what, target, false)
    }

    fn make_open(
        &self,
        request: &Request,
        (dir, name): (INodeNo, &OsStr),
        (kind, mode, rdev): (FileKind, u32, u32),
        target: &[u8],
        open: bool,
    ) -> Result<Attr, Errno> {
        let who = Who { uid: request.uid(), gid: request.gid() };
        let what = What { kind, mode: (mode & 0o7777) as u16, rdev, who };
        self.pool.with(|c| c.make(Ino(dir.0), name.as_bytes(), &what, target, open))
    }

    fn lock(&self, ino: INodeNo, lock: Lock, sleep: bool) -> Result<(), Errno> {
        loop {
            match self.pool.with(|c| c.set_lock(Ino(ino.0), &lock)) {
                // tidy: what it waits for is on another node, which tells nobody
                Err(Errno::AGAIN) if sleep => thread::sleep(LOCK_AGAIN),
                done => return done,
            }
        }
    }

    /// Names from a position on, `.` and `..` among them, until one is not taken.
    fn list(
        &self,
        ino: INodeNo,
        offset: u64,
        mut take: impl FnMut(&page::Entry, u64, &[u8]) -> bool,
    ) -> Result<(), Errno> {
        let here = Ino(ino.0);
        if offset < DOT_DOT {
            let dots = [(DOT, &b"."[..]), (DOT_DOT, &b".."[..])];
            for (position, name) in dots.into_iter().filter(|(p, _)| *p > offset) {
                let found = self.pool.with(|c| c.lookup(here, name))?;
                let entry = page::Entry { ino: found.ino, kind: found.kind, position, attr: Some(found) };
                if take(&entry, position, name) {
                    return Ok(());
                }
            }
        }
        let mut after = offset.saturating_sub(DOT_DOT);
        loop {
            let (bytes, last) = self.pool.with(|c| c.read_dir(here, after, true, 16 << 10))?;
            for (entry, name) in page::entries(&bytes) {
                if take(&entry, entry.position + DOT_DOT, name) {
                    return Ok(());
                }
                after = entry.position;
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// A lock as the kernel says it.
fn lock(owner: LockOwner, (start, end): (u64, u64), typ: i32, pid: u32) -> Result<Lock, Errno> {
    let kind = match typ {
        0 => Some(LockKind::Shared),
        1 => Some(LockKind::Exclusive),
        2 => None,
        _ => return Err(Errno::INVAL),
    };
    Ok(Lock { owner: owner.0, pid, kind, start, end, whole: false })
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_POSIX_LOCKS
            | InitFlags::FUSE_FLOCK_LOCKS
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_BIG_WRITES
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS;
        if self.writeback {
            wanted |= InitFlags::FUSE_WRITEBACK_CACHE;
        }
        // What this kernel does not have is done without.
        let _ = config.add_capabilities(wanted & config.capabilities());
        let _ = config.set_max_write(REQUEST_BYTES);
        let _ = config.set_max_readahead(REQUEST_BYTES);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, self.pool.with(|c| c.lookup(Ino(parent.0), name.as_bytes())));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(reply, self.pool.with(|c| c.attr(Ino(ino.0))));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mode = mode.map(|m| (m & 0o7777) as u16);
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        let set = SetAttr { mode, uid, gid, size, atime, mtime };
        self.attr(reply, self.pool.with(|c| c.set_attr(Ino(ino.0), &set)));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.pool.with(|c| c.read_link(Ino(ino.0))) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = kind_of_mode(mode) else { return reply.error(failed(Errno::INVAL)) };
        self.entry(reply, self.make(request, (parent, name), (kind, mode, rdev), b""));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        self.entry(reply, self.make(request, (parent, name), (FileKind::Dir, mode, 0), b""));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.pool.with(|c| c.unlink(Ino(parent.0), name.as_bytes()).map(|_| ())));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.pool.with(|c| c.remove_dir(Ino(parent.0), name.as_bytes())));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        self.entry(reply, self.make(request, (parent, name), (FileKind::Symlink, 0o777, 0), target));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = if flags == RenameFlags::RENAME_NOREPLACE {
            Rename::Keep
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            Rename::Exchange
        } else if flags == RenameFlags::RENAME_WHITEOUT {
            Rename::Whiteout
        } else if flags.is_empty() {
            Rename::Replace
        } else {
            return reply.error(failed(Errno::INVAL));
        };
        let (from, to) = ((Ino(parent.0), name.as_bytes()), (Ino(new_parent.0), new_name.as_bytes()));
        empty(reply, self.pool.with(|c| c.rename(from, to, how)));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, self.pool.with(|c| c.link(Ino(ino.0), Ino(parent.0), name.as_bytes())));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let truncate = flags.0 & TRUNCATE != 0;
        let opened = self.pool.with(|c| {
            c.open(Ino(ino.0))?;
            if truncate {
                c.set_attr(Ino(ino.0), &SetAttr { size: Some(0), ..SetAttr::default() })?;
            }
            Ok(())
        });
        match opened {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        match self.pool.with(|c| c.read(Ino(ino.0), offset, &mut bytes)) {
            Ok(n) => reply.data(&bytes[..n]),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // With its own cache of what is written, the kernel has said where that is.
        let append = flags.0 & APPEND != 0 && !self.writeback;
        match self.pool.with(|c| c.write(Ino(ino.0), (!append).then_some(offset), data)) {
            Ok(_) => reply.written(data.len() as u32),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        // Whoever closes a file gives up all locks of its process on it.
        let all = Lock { owner: owner.0, pid: 0, kind: None, start: 0, end: u64::MAX, whole: false };
        empty(reply, self.lock(ino, all, false));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(owner) = owner {
            let all = Lock { owner: owner.0, pid: 0, kind: None, start: 0, end: u64::MAX, whole: true };
            let _ = self.lock(ino, all, false);
        }
        empty(reply, self.pool.with(|c| c.close(Ino(ino.0))));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.pool.with(|c| c.sync(Some(Ino(ino.0)))));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.pool.with(|c| c.sync(Some(Ino(ino.0)))));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(ino, offset, |entry, position, name| {
            reply.add(INodeNo(entry.ino.0), position, file_type(entry.kind), OsStr::from_bytes(name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(ino, offset, |entry, position, name| {
            let Some(found) = &entry.attr else { return true };
            let (ino, name) = (INodeNo(entry.ino.0), OsStr::from_bytes(name));
            reply.add(ino, position, name, &self.ttl, &attr(found), generation(found))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.pool.with(dvs_fs::Client::stat_fs) {
            Ok(s) => {
                let (blocks, free) = (s.bytes / 4096, s.free / 4096);
                reply.statfs(blocks, free, free, s.files, s.files_free, 4096, 255, 4096);
            }
            Err(e) => reply.error(failed(e)),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let how = match flags {
            0 => SetX::Any,
            1 => SetX::Create,
            2 => SetX::Replace,
            _ => return reply.error(failed(Errno::INVAL)),
        };
        empty(reply, self.pool.with(|c| c.set_x(Ino(ino.0), name.as_bytes(), value, how)));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let mut value = vec![0; size as usize];
        let got = self.pool.with(|c| c.get_x(Ino(ino.0), name.as_bytes(), &mut value));
        xattr(reply, got, &value);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let mut names = vec![0; size as usize];
        let got = self.pool.with(|c| c.list_x(Ino(ino.0), &mut names));
        xattr(reply, got, &names);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.pool.with(|c| c.remove_x(Ino(ino.0), name.as_bytes())));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make_open(request, (parent, name), (FileKind::File, mode, 0), b"", true) {
            Ok(a) => reply.created(&self.ttl, &attr(&a), generation(&a), FileHandle(0), FopenFlags::empty()),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn getlk(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let found = lock(owner, (start, end), typ, pid)
            .and_then(|lock| self.pool.with(|c| c.get_lock(Ino(ino.0), &lock)));
        match found {
            Ok(Some(l)) => {
                let typ = i32::from(l.kind == Some(LockKind::Exclusive));
                reply.locked(l.start, l.end, typ, l.pid);
            }
            Ok(None) => reply.locked(start, end, UNLOCKED, 0),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn setlk(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        match lock(owner, (start, end), typ, pid) {
            Ok(lock) => empty(reply, self.lock(ino, lock, sleep)),
            Err(e) => reply.error(failed(e)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let how = match mode {
            0 => Allocate::Extend,
            1 => Allocate::Keep,
            3 => Allocate::Punch,
            0x10 => Allocate::Zero,
            _ => return reply.error(failed(Errno::OPNOTSUPP)),
        };
        empty(reply, self.pool.with(|c| c.allocate(Ino(ino.0), offset, length, how).map(|_| ())));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let what = match whence {
            3 => Seek::Data,
            4 => Seek::Hole,
            _ => return reply.error(failed(Errno::INVAL)),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(failed(Errno::NXIO)) };
        match self.pool.with(|c| c.seek(Ino(ino.0), offset, what)) {
            Ok(offset) => reply.offset(offset as i64),
            Err(e) => reply.error(failed(e)),
        }
    }
}

/// Flags of `open`, as Linux has them on every machine this runs on.
const TRUNCATE: i32 = 0o1000;
const APPEND: i32 = 0o2000;
/// The type of a lock that is none.
const UNLOCKED: i32 = 2;

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(failed(e)),
    }
}

fn xattr(reply: ReplyXattr, got: Result<usize, Errno>, value: &[u8]) {
    match got {
        Ok(n) if value.is_empty() => reply.size(n as u32),
        Ok(n) => reply.data(&value[..n]),
        Err(e) => reply.error(failed(e)),
    }
}
