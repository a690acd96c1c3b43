//! Files: what the file server is asked and what it answers.
//!
//! ```text
//! Lookup(dir) "name" ─► Attr            Make(dir, what) "name" ─► Attr        Open(ino) ─► Opened
//! Read(ino, offset) ─► bytes by the first range lent; Write the same way round
//! ```
//! A file is named by its number ([`Ino`]), which is not given to another file as long as anybody has it
//! open; [`Attr::generation`] tells two files apart that had a number one after the other. Who calls says in
//! whose name ([`Who`]); the server believes those it trusts (see `dvs_fs::server`).
//!
//! Source: facts §5.1 (the calls of the reference's file server), and what today's programs use beyond them.

use serde::{Deserialize, Serialize};

/// Type of a request.
pub const REQUEST: i32 = 0x4701;
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a target of a symbolic link.
pub const TARGET_BYTES_MAX: usize = 4095;
/// Bytes of the name of an extended attribute.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// Bytes of the value of an extended attribute.
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes one request reads or writes.
pub const IO_BYTES_MAX: usize = 1 << 20;
/// Longest file, bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 46;

/// The number of a file.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(pub u64);

impl Ino {
    /// The directory in which all others are.
    pub const ROOT: Ino = Ino(1);
}

/// What a file is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Bytes.
    File,
    /// Names of others.
    Dir,
    /// The name of another.
    Symlink,
    /// A named pipe; the kernel of each node has the pipe itself.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// A point in time, since 1970.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Time {
    /// Seconds.
    pub s: i64,
    /// Nanoseconds beyond them.
    pub ns: u32,
}

/// All that is known of a file but its contents.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Permissions: the lower twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes it takes on the disk.
    pub stored: u64,
    /// Which device, if it is one.
    pub rdev: u32,
    /// Last read.
    pub atime: Time,
    /// Contents last changed.
    pub mtime: Time,
    /// Anything last changed.
    pub ctime: Time,
    /// Made.
    pub btime: Time,
    /// Tells it from others that had its number before.
    pub generation: u32,
    /// Rises with every change of contents or names.
    pub version: u64,
}

/// In whose name something is asked.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Group: that of what is made.
    pub gid: u32,
}

/// What a new file is to be.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct What {
    /// Its kind.
    pub kind: FileKind,
    /// Permissions; masked already.
    pub mode: u16,
    /// Which device.
    pub rdev: u32,
    /// Whose.
    pub who: Who,
}

/// A time to be set.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// The server's now.
    Now,
    /// This.
    To(Time),
}

/// What is to be changed.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SetAttr {
    /// Permissions.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length: cut, or lengthened by a hole.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<SetTime>,
    /// Last changed.
    pub mtime: Option<SetTime>,
}

/// What a rename does about a name that is taken.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rename {
    /// It is replaced.
    Replace,
    /// The rename fails.
    Keep,
    /// The two change places.
    Exchange,
    /// As `Replace`; a whiteout (a character device 0/0) stays behind.
    Whiteout,
}

/// What to look for in a sparse file.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// The next byte that is stored.
    Data,
    /// The next that is not; the end of a file is a hole.
    Hole,
}

/// What to do with a range of a file.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocate {
    /// Space for all of it; the file grows if it is too short.
    Extend,
    /// Space for all of it; the length stays.
    Keep,
    /// It reads as zeros and takes no space; the length stays.
    Punch,
    /// It reads as zeros; the file grows if it is too short.
    Zero,
}

/// What a new value of an extended attribute expects.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetX {
    /// Nothing.
    Any,
    /// That there is none.
    Create,
    /// That there is one.
    Replace,
}

/// Which kind of lock.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Others may share it.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// A range of bytes of a file that somebody locks, both ends included, or a whole file (`flock`).
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Who within the client: a process, or an open file.
    pub owner: u64,
    /// Its process, for those who ask who has it.
    pub pid: u32,
    /// What it wants; nothing: to give it back.
    pub kind: Option<LockKind>,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// Of the kind that whole files have; the two kinds do not see each other.
    pub whole: bool,
}

/// What is asked. *Name* and *second* are parts of the text; *data* is the first range lent.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Whoever asks is a client from here on.
    Hello {
        /// The client it belongs to: one that has several endpoints has one session. Zero: a new one.
        session: u64,
    },
    /// The client ends, with all its endpoints: what it had open and locked is free.
    Bye,
    /// Name in a directory.
    Lookup {
        /// There.
        dir: Ino,
    },
    /// What is known of a file.
    GetAttr {
        /// Which.
        ino: Ino,
    },
    /// Changes what is known of it.
    SetAttr {
        /// Which.
        ino: Ino,
        /// What.
        set: SetAttr,
    },
    /// A new file under a name; of a symbolic link the target is behind the name.
    Make {
        /// There.
        dir: Ino,
        /// What.
        what: What,
        /// Bytes of the name.
        name: u16,
        /// It is open for whoever made it.
        open: bool,
    },
    /// A file is used from here on: it stays when its last name goes.
    Open {
        /// Which.
        ino: Ino,
    },
    /// It is used no more.
    Close {
        /// Which.
        ino: Ino,
    },
    /// Bytes into data.
    Read {
        /// Of it.
        ino: Ino,
        /// From here on.
        offset: u64,
        /// At most so many.
        length: u32,
    },
    /// Data into it.
    Write {
        /// Into it.
        ino: Ino,
        /// From here on; nothing: at its end, wherever that is.
        offset: Option<u64>,
        /// So many.
        length: u32,
    },
    /// A name goes, and with the last one the file.
    Unlink {
        /// There.
        dir: Ino,
    },
    /// An empty directory goes.
    RmDir {
        /// There.
        dir: Ino,
    },
    /// A file gets another name, which is behind the old one.
    Rename {
        /// There.
        dir: Ino,
        /// The new one there.
        to: Ino,
        /// If that is taken.
        how: Rename,
        /// Bytes of the old name.
        name: u16,
    },
    /// A file gets one more name.
    Link {
        /// Which.
        ino: Ino,
        /// There.
        dir: Ino,
    },
    /// Where a symbolic link leads, into data.
    ReadLink {
        /// Which.
        ino: Ino,
    },
    /// Names of a directory into data, see [`crate::fs::page`].
    ReadDir {
        /// Which.
        ino: Ino,
        /// After the name with this position; zero from the beginning.
        after: u64,
        /// With what is known of each.
        attrs: bool,
    },
    /// An attribute's value into data; without room its length is answered.
    GetX {
        /// Of it.
        ino: Ino,
    },
    /// An attribute gets the value in data.
    SetX {
        /// Of it.
        ino: Ino,
        /// What it expects.
        how: SetX,
    },
    /// Names of all attributes into data, each ended by a zero.
    ListX {
        /// Of it.
        ino: Ino,
    },
    /// An attribute goes.
    RemoveX {
        /// Of it.
        ino: Ino,
    },
    /// Space.
    Allocate {
        /// In it.
        ino: Ino,
        /// From here on.
        offset: u64,
        /// So many bytes.
        length: u64,
        /// What.
        how: Allocate,
    },
    /// The next data or hole.
    Seek {
        /// In it.
        ino: Ino,
        /// From here on.
        offset: u64,
        /// Which of them.
        what: Seek,
    },
    /// What was done to a file, or to all, is on the disk for good when this is answered.
    Sync {
        /// Which; nothing: all.
        ino: Option<Ino>,
    },
    /// How much there is and how much is left.
    StatFs,
    /// A lock is taken or given back. Who would have to wait is told `AGAIN`.
    SetLock {
        /// Of it.
        ino: Ino,
        /// Which.
        lock: Lock,
    },
    /// Who has a lock that is in the way.
    GetLock {
        /// Of it.
        ino: Ino,
        /// Of this one.
        lock: Lock,
    },
}

/// What is answered.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// A session.
    Session {
        /// Its number.
        session: u64,
        /// Which life of the server this is: another one has forgotten what was not on the disk.
        life: u64,
    },
    /// What is known of a file.
    Attr(Attr),
    /// So many bytes, in data or written.
    Bytes {
        /// So many.
        length: u32,
        /// What is known of the file after it.
        attr: Attr,
    },
    /// So many bytes; what more there would be does not fit.
    Length(u32),
    /// Names in data.
    Page {
        /// So many bytes of data.
        length: u32,
        /// There are no more.
        last: bool,
    },
    /// A position.
    Offset(u64),
    /// The file system.
    StatFs(StatFs),
    /// The lock that is in the way, if there is one.
    Lock(Option<Lock>),
}

/// How much there is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StatFs {
    /// Bytes.
    pub bytes: u64,
    /// Bytes left.
    pub free: u64,
    /// Files there may be.
    pub files: u64,
    /// Files there may still be.
    pub files_free: u64,
}

/// Splits a text after `first` bytes.
///
/// # Errors
/// `PROTO` when it is shorter.
pub fn split(text: &[u8], first: u16) -> Result<(&[u8], &[u8]), crate::Errno> {
    text.split_at_checked(usize::from(first)).ok_or(crate::Errno::PROTO)
}

pub mod page;

#[cfg(test)]
mod tests;
