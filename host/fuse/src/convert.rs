//! Between the words of the kernel and those of the file server.

use dvs_api::fs::{Attr, FileKind, Time};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Dir => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::Char => FileType::CharDevice,
        FileKind::Block => FileType::BlockDevice,
    }
}

/// What `mknod` wants, by the upper bits of its mode; nothing it could not be asked for.
pub(crate) fn kind_of_mode(mode: u32) -> Option<FileKind> {
    Some(match mode & 0o170_000 {
        0o100_000 | 0 => FileKind::File,
        0o010_000 => FileKind::Fifo,
        0o140_000 => FileKind::Socket,
        0o020_000 => FileKind::Char,
        0o060_000 => FileKind::Block,
        _ => return None,
    })
}

fn system_time(t: Time) -> SystemTime {
    let part = Duration::from_nanos(u64::from(t.ns));
    let whole = Duration::from_secs(t.s.unsigned_abs());
    let base = if t.s < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|b| b.checked_add(part)).unwrap_or(UNIX_EPOCH)
}

pub(crate) fn time(t: SystemTime) -> Time {
    match t.duration_since(UNIX_EPOCH) {
        Ok(d) => Time { s: d.as_secs() as i64, ns: d.subsec_nanos() },
        Err(before) => {
            let d = before.duration();
            match d.subsec_nanos() {
                0 => Time { s: -(d.as_secs() as i64), ns: 0 },
                ns => Time { s: -(d.as_secs() as i64) - 1, ns: 1_000_000_000 - ns },
            }
        }
    }
}

pub(crate) fn set_time(t: TimeOrNow) -> dvs_api::fs::SetTime {
    match t {
        TimeOrNow::Now => dvs_api::fs::SetTime::Now,
        TimeOrNow::SpecificTime(t) => dvs_api::fs::SetTime::To(time(t)),
    }
}

pub(crate) fn attr(a: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(a.ino.0),
        size: a.size,
        blocks: a.stored / 512,
        atime: system_time(a.atime),
        mtime: system_time(a.mtime),
        ctime: system_time(a.ctime),
        crtime: system_time(a.btime),
        kind: file_type(a.kind),
        perm: a.mode,
        nlink: a.links,
        uid: a.uid,
        gid: a.gid,
        rdev: a.rdev,
        blksize: 128 << 10,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{system_time, time};
    use dvs_api::fs::Time;

    #[test]
    fn times_before_and_after_1970_come_back() {
        for (s, ns) in [(0, 0), (5, 7), (-1, 999_999_999), (-5, 0), (1 << 33, 1)] {
            assert_eq!(time(system_time(Time { s, ns })), Time { s, ns });
        }
    }
}
