//! A folder on disk that is served or copied from. The only file here that touches the disk.
//!
//! # No way out
//! Every path is resolved by the kernel *beneath* the folder (`openat2`, `RESOLVE_BENEATH`), so that a link
//! which leads out, even one that is put there between check and use, is refused. Where the kernel cannot
//! (before 5.6, or a sandbox that forbids the call) the path is walked name by name without following any
//! link: stricter, never looser. A whole disk (`/`) has no outside: there, absolute links are resolved too.
//!
//! # A file appears whole or not at all
//!
//! ```text
//!   write ──► .NAME.dvs-part ──commit: length, permissions, time──► rename ──► NAME
//! ```

use crate::entry::{Entry, FileKind, Finish, Hash, Meta, Stamp};
use crate::error::{Cause, Refusal};
use crate::path::{RelPath, part_name};
use crate::side::Side;
use dvs::limits::{FILES_BLOCK_BYTES, FILES_FOLDER_NAMES_MAX, FILES_HASHES_MAX, FILES_PATH_BYTES_MAX};
use rustix::fs::{self, AtFlags, Dir, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries of one page of a list: a page of the longest names still fits a block.
const PAGE_ENTRIES: usize = 2048;

/// A folder.
pub struct Tree {
    root: OwnedFd,
    name: String,
    read_only: bool,
    resolve: ResolveFlags,
    /// The kernel resolves beneath a folder.
    beneath: AtomicBool,
}

impl Tree {
    /// Opens a folder, to be changed or only read.
    ///
    /// # Errors
    /// Of the operating system, for example when it is no folder.
    pub fn open(folder: &Path, read_only: bool) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(folder, flags, Mode::empty())?;
        let whole_disk = folder.canonicalize()? == Path::new("/");
        let bound = if whole_disk { ResolveFlags::IN_ROOT } else { ResolveFlags::BENEATH };
        Ok(Tree {
            root,
            name: "local".to_string(),
            read_only,
            resolve: bound | ResolveFlags::NO_MAGICLINKS,
            beneath: AtomicBool::new(true),
        })
    }

    /// The same without the kernel's help, as on a kernel that has none.
    pub fn walking(self) -> Self {
        self.beneath.store(false, Ordering::Relaxed);
        self
    }

    /// Whether it is only read.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn at(&self, path: &RelPath, flags: OFlags, mode: u32) -> Result<OwnedFd, Refusal> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let bytes = if path.is_root() { b"." } else { path.bytes() };
        if self.beneath.load(Ordering::Relaxed) {
            match fs::openat2(&self.root, bytes, flags, mode, self.resolve) {
                Err(Errno::NOSYS | Errno::PERM) if self.cannot_resolve() => {
                    self.beneath.store(false, Ordering::Relaxed);
                }
                // The kernel asks for another try when something was renamed meanwhile.
                Err(Errno::AGAIN) => return self.walk(path, flags, mode),
                found => return Ok(found?),
            }
        }
        self.walk(path, flags, mode)
    }

    /// Whether even the folder itself cannot be resolved beneath itself.
    fn cannot_resolve(&self) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        fs::openat2(&self.root, ".", flags, Mode::empty(), self.resolve).is_err()
    }

    fn walk(&self, path: &RelPath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Refusal> {
        let Some((folder, name)) = path.split() else {
            return Ok(fs::openat(&self.root, ".", flags, mode)?);
        };
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = fs::openat(&self.root, ".", step, Mode::empty())?;
        for name in folder.bytes().split(|b| *b == b'/').filter(|n| !n.is_empty()) {
            here = fs::openat(&here, name, step, Mode::empty())?;
        }
        Ok(fs::openat(&here, name, flags, mode)?)
    }

    /// The folder a path is in, and its name there.
    fn parent<'p>(&self, path: &'p RelPath) -> Result<(OwnedFd, &'p [u8]), Refusal> {
        let (folder, _) = path.split().ok_or(Refusal::BadPath)?;
        let name = &path.bytes()[path.bytes().iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1)..];
        Ok((self.at(&folder, OFlags::PATH | OFlags::DIRECTORY, 0)?, name))
    }

    fn to_change(&self) -> Result<(), Refusal> {
        if self.read_only { Err(Refusal::ReadOnly) } else { Ok(()) }
    }

    fn regular(&self, path: &RelPath) -> Result<(OwnedFd, Meta), Refusal> {
        // Without NONBLOCK, to open a pipe would wait for its writer.
        let file = self.at(path, OFlags::RDONLY | OFlags::NONBLOCK, 0).map_err(|e| match e {
            Refusal::Os(n) if n == Errno::LOOP.raw_os_error() => Refusal::NotAFile,
            e => e,
        })?;
        let meta = meta_of(&fs::fstat(&file)?);
        if meta.kind == FileKind::File { Ok((file, meta)) } else { Err(Refusal::NotAFile) }
    }

    fn part(&self, path: &RelPath, flags: OFlags) -> Result<(OwnedFd, OwnedFd), Refusal> {
        let (folder, name) = self.parent(path)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let part = fs::openat(&folder, part_name(name), flags, Mode::from_raw_mode(0o600))?;
        if meta_of(&fs::fstat(&part)?).kind != FileKind::File {
            return Err(Refusal::NotAFile);
        }
        Ok((folder, part))
    }

    /// Permissions, time, place.
    fn put_in_place(
        &self,
        folder: BorrowedFd<'_>,
        part: BorrowedFd<'_>,
        path: &RelPath,
        finish: Finish,
    ) -> Result<(), Refusal> {
        let (_, name) = path.split().ok_or(Refusal::BadPath)?;
        fs::fchmod(part, Mode::from_raw_mode(finish.mode & 0o1777))?;
        fs::futimens(part, &times(finish)?)?;
        Ok(fs::renameat(folder, part_name(name), folder, name)?)
    }

    fn do_list(&self, path: &RelPath, after: &[u8]) -> Result<(Vec<Entry>, bool), Refusal> {
        let folder = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK, 0)?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut count = 0;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            count += 1;
            if count > FILES_FOLDER_NAMES_MAX {
                return Err(Refusal::TooMany);
            }
            if name != b"." && name != b".." && name > after {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        let more = names.len() > PAGE_ENTRIES;
        names.truncate(PAGE_ENTRIES);
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            match fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(s) => out.push(Entry { name, meta: meta_of(&s) }),
                Err(Errno::NOENT) => {} // removed meanwhile
                Err(e) => return Err(e.into()),
            }
        }
        Ok((out, more))
    }

    fn do_read(&self, path: &RelPath, offset: u64, into: &mut [u8], stamp: Stamp) -> Result<usize, Refusal> {
        let (file, before) = self.regular(path)?;
        if before.stamp() != stamp {
            return Err(Refusal::Changed);
        }
        let n = read_full(file.as_fd(), offset, into)?;
        let expected = stamp.size.saturating_sub(offset).min(into.len() as u64);
        if meta_of(&fs::fstat(&file)?).stamp() != stamp || n as u64 != expected {
            return Err(Refusal::Changed);
        }
        Ok(n)
    }

    fn do_hashes(&self, path: &RelPath, part: bool, first: u64, count: u32) -> Result<Vec<Hash>, Refusal> {
        let file = match part {
            true => self.part(path, OFlags::RDONLY)?.1,
            false => self.regular(path)?.0,
        };
        let count = count.min(FILES_HASHES_MAX);
        let mut block = vec![0; FILES_BLOCK_BYTES];
        let mut out = Vec::with_capacity(count as usize);
        for i in 0..u64::from(count) {
            let offset = first.checked_add(i).and_then(|b| b.checked_mul(FILES_BLOCK_BYTES as u64));
            let n = read_full(file.as_fd(), offset.ok_or(Refusal::BadRequest)?, &mut block)?;
            if n > 0 {
                out.push(*blake3::hash(&block[..n]).as_bytes());
            }
            if n < block.len() {
                break;
            }
        }
        Ok(out)
    }

    fn do_put(&self, path: &RelPath, data: &[u8], hash: &Hash, finish: Finish) -> Result<(), Refusal> {
        self.to_change()?;
        check(data, hash)?;
        let (folder, part) = self.part(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        write_full(part.as_fd(), 0, data)?;
        self.put_in_place(folder.as_fd(), part.as_fd(), path, finish)
    }

    fn do_commit(&self, path: &RelPath, size: u64, finish: Finish) -> Result<(), Refusal> {
        self.to_change()?;
        let (folder, part) = match self.part(path, OFlags::WRONLY) {
            Err(Refusal::Os(n)) if n == Errno::NOENT.raw_os_error() => {
                // Asked a second time: it is in place already.
                return match self.do_stat(path)? {
                    Some(m) if m.size == size && m.finish().mtime == finish.mtime => Ok(()),
                    _ => Err(Refusal::Incomplete),
                };
            }
            found => found?,
        };
        if meta_of(&fs::fstat(&part)?).size != size {
            return Err(Refusal::Incomplete);
        }
        self.put_in_place(folder.as_fd(), part.as_fd(), path, finish)
    }

    fn do_stat(&self, path: &RelPath) -> Result<Option<Meta>, Refusal> {
        match self.at(path, OFlags::PATH, 0) {
            Ok(file) => Ok(Some(meta_of(&fs::fstat(&file)?))),
            Err(Refusal::Os(n)) if n == Errno::NOENT.raw_os_error() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn do_make_folder(&self, path: &RelPath) -> Result<(), Refusal> {
        self.to_change()?;
        let (parent, name) = self.parent(path)?;
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {
                let found = meta_of(&fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?);
                if found.kind == FileKind::Folder { Ok(()) } else { Err(Refusal::NotAFolder) }
            }
            made => Ok(made?),
        }
    }

    fn do_link(&self, path: &RelPath, target: &[u8]) -> Result<(), Refusal> {
        self.to_change()?;
        if target.is_empty() || target.len() >= FILES_PATH_BYTES_MAX || target.contains(&0) {
            return Err(Refusal::BadPath);
        }
        let (folder, name) = self.parent(path)?;
        let part = part_name(name);
        match fs::unlinkat(&folder, &part, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        fs::symlinkat(target, &folder, &part)?;
        Ok(fs::renameat(&folder, &part, &folder, name)?)
    }

    fn do_read_link(&self, path: &RelPath) -> Result<Vec<u8>, Refusal> {
        let (folder, name) = self.parent(path)?;
        Ok(fs::readlinkat(&folder, name, Vec::new())?.into_bytes())
    }

    fn do_settle(&self, path: &RelPath, finish: Finish) -> Result<(), Refusal> {
        self.to_change()?;
        let folder = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        fs::futimens(&folder, &times(finish)?)?;
        Ok(fs::fchmod(&folder, Mode::from_raw_mode(finish.mode & 0o1777))?)
    }
}

impl Side for Tree {
    fn name(&self) -> &str {
        &self.name
    }

    fn stat(&self, path: &RelPath) -> Result<Option<Meta>, Cause> {
        Ok(self.do_stat(path)?)
    }

    fn list(&self, path: &RelPath, after: &[u8]) -> Result<(Vec<Entry>, bool), Cause> {
        Ok(self.do_list(path, after)?)
    }

    fn read(
        &self,
        path: &RelPath,
        offset: u64,
        into: &mut [u8],
        stamp: Stamp,
    ) -> Result<(usize, Hash), Cause> {
        let n = self.do_read(path, offset, into, stamp)?;
        Ok((n, *blake3::hash(&into[..n]).as_bytes()))
    }

    fn hashes(&self, path: &RelPath, part: bool, first: u64, count: u32) -> Result<Vec<Hash>, Cause> {
        Ok(self.do_hashes(path, part, first, count)?)
    }

    fn write(&self, path: &RelPath, offset: u64, data: &[u8], hash: &Hash) -> Result<(), Cause> {
        self.to_change()?;
        check(data, hash)?;
        let (_, part) = self.part(path, OFlags::WRONLY | OFlags::CREATE)?;
        Ok(write_full(part.as_fd(), offset, data)?)
    }

    fn put(&self, path: &RelPath, data: &[u8], hash: &Hash, finish: Finish) -> Result<(), Cause> {
        Ok(self.do_put(path, data, hash, finish)?)
    }

    fn commit(&self, path: &RelPath, size: u64, finish: Finish) -> Result<(), Cause> {
        Ok(self.do_commit(path, size, finish)?)
    }

    fn discard(&self, path: &RelPath) -> Result<(), Cause> {
        self.to_change()?;
        let (folder, name) = self.parent(path)?;
        match fs::unlinkat(&folder, part_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Refusal::from(e).into()),
        }
    }

    fn make_folder(&self, path: &RelPath) -> Result<(), Cause> {
        Ok(self.do_make_folder(path)?)
    }

    fn link(&self, path: &RelPath, target: &[u8]) -> Result<(), Cause> {
        Ok(self.do_link(path, target)?)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, Cause> {
        Ok(self.do_read_link(path)?)
    }

    fn settle(&self, path: &RelPath, finish: Finish) -> Result<(), Cause> {
        Ok(self.do_settle(path, finish)?)
    }

    fn sync(&self) -> Result<(), Cause> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(fs::syncfs(self.at(&RelPath::default(), flags, 0)?).map_err(Refusal::from)?)
    }
}

fn check(data: &[u8], hash: &Hash) -> Result<(), Refusal> {
    if blake3::hash(data).as_bytes() == hash { Ok(()) } else { Err(Refusal::Corrupt) }
}

/// Times as the kernel takes them; nanoseconds it would read as a command are refused.
fn times(finish: Finish) -> Result<Timestamps, Refusal> {
    if finish.mtime.1 >= 1_000_000_000 {
        return Err(Refusal::BadRequest);
    }
    let at = Timespec { tv_sec: finish.mtime.0, tv_nsec: finish.mtime.1.into() };
    Ok(Timestamps { last_access: at, last_modification: at })
}

fn meta_of(s: &Stat) -> Meta {
    let kind = match fs::FileType::from_raw_mode(s.st_mode) {
        fs::FileType::RegularFile => FileKind::File,
        fs::FileType::Directory => FileKind::Folder,
        fs::FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    Meta {
        kind,
        size: s.st_size.try_into().unwrap_or(0),
        mtime: s.st_mtime,
        mtime_ns: u32::try_from(s.st_mtime_nsec).unwrap_or(0) % 1_000_000_000,
        mode: s.st_mode & 0o1777,
        inode: s.st_ino,
    }
}

fn read_full(file: BorrowedFd<'_>, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while done < into.len() {
        match rustix::io::pread(file, &mut into[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn write_full(file: BorrowedFd<'_>, offset: u64, data: &[u8]) -> Result<(), Refusal> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::pwrite(file, &data[done..], offset.saturating_add(done as u64)) {
            Ok(0) => return Err(Errno::NOSPC.into()),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
