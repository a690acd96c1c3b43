//! What keeps the files: all that a file server needs of it.
//!
//! | back end | keeps them |
//! |---|---|
//! | [`Volume`](crate::volume::Volume) on an image or a replicated disk | safe from crashes |
//! | the same on a disk in memory | until its process ends |
//! | a folder of the host | there |
//!
//! A back end decides nothing about who may do what; it does what a file system does once that is settled.
//! Calls come one after the other.

use dvs_api::Errno;
use dvs_api::fs::page::Entry;
use dvs_api::fs::{Allocate, Attr, Ino, Rename, Seek, SetAttr, SetX, StatFs, Time, What};

/// What came of a call.
pub type Result<T> = std::result::Result<T, Errno>;

/// A name and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The directory.
    pub dir: Ino,
    /// The name in it.
    pub name: &'a [u8],
}

/// A keeper of files. Every call may also fail with `IO`: the disk did; and with `STALE`: there is no file
/// of that number any more.
pub trait Backend: Send {
    /// The file of a name.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `NAMETOOLONG`.
    fn lookup(&mut self, at: Name<'_>) -> Result<Attr>;

    /// What is known of a file.
    ///
    /// # Errors
    /// As all.
    fn attr(&mut self, ino: Ino) -> Result<Attr>;

    /// Changes what is known of it.
    ///
    /// # Errors
    /// `ISDIR`, `INVAL`: it has no length that could be set. `FBIG`, `NOSPC`.
    fn set_attr(&mut self, ino: Ino, set: &SetAttr, now: Time) -> Result<Attr>;

    /// A new file; of a symbolic link, with its target.
    ///
    /// # Errors
    /// `EXIST`, `NOENT`: the directory was removed; `NOTDIR`, `NAMETOOLONG`, `INVAL`, `MLINK`, `NOSPC`,
    /// `DQUOT`.
    fn make(&mut self, at: Name<'_>, what: &What, target: &[u8], now: Time) -> Result<Attr>;

    /// The file stays although its last name goes, until [`Backend::release`] was called as often.
    ///
    /// # Errors
    /// As all.
    fn hold(&mut self, ino: Ino) -> Result<()>;

    /// See [`Backend::hold`].
    fn release(&mut self, ino: Ino);

    /// Reads from a position; how many bytes there were.
    ///
    /// # Errors
    /// `ISDIR`, `INVAL`: it has no contents.
    fn read(&mut self, ino: Ino, offset: u64, into: &mut [u8], now: Time) -> Result<usize>;

    /// Writes at a position, or at the end.
    ///
    /// # Errors
    /// `ISDIR`, `INVAL`, `FBIG`, `NOSPC`, `DQUOT`.
    fn write(&mut self, ino: Ino, offset: Option<u64>, from: &[u8], now: Time) -> Result<Attr>;

    /// A name goes. What is known of its file after that.
    ///
    /// # Errors
    /// `NOENT`; `ISDIR`: it is a directory's.
    fn unlink(&mut self, at: Name<'_>, now: Time) -> Result<Attr>;

    /// An empty directory goes.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `NOTEMPTY`; `INVAL`, `NOTEMPTY` for `.` and `..`; `BUSY`.
    fn remove_dir(&mut self, at: Name<'_>, now: Time) -> Result<()>;

    /// A file gets another name.
    ///
    /// # Errors
    /// `NOENT`, `EXIST`, `NOTEMPTY`, `ISDIR`, `NOTDIR`; `INVAL`: a directory would be below itself; `MLINK`,
    /// `NOSPC`.
    fn rename(&mut self, from: Name<'_>, to: Name<'_>, how: Rename, now: Time) -> Result<()>;

    /// A file gets one more name.
    ///
    /// # Errors
    /// `EXIST`, `PERM`: it is a directory; `MLINK`, `NOENT`, `NOTDIR`, `NAMETOOLONG`, `NOSPC`.
    fn link(&mut self, ino: Ino, at: Name<'_>, now: Time) -> Result<Attr>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// `INVAL`: it is none.
    fn read_link(&mut self, ino: Ino) -> Result<Vec<u8>>;

    /// Names of a directory after a position, until one is not taken. `.` and `..` are not among them. Names
    /// that are there all the while come once each, whatever else is added or removed.
    ///
    /// # Errors
    /// `NOTDIR`.
    fn read_dir(&mut self, ino: Ino, after: u64, take: &mut dyn FnMut(&Entry, &[u8]) -> bool) -> Result<()>;

    /// The directory in which a directory is.
    ///
    /// # Errors
    /// `NOTDIR`.
    fn parent(&mut self, ino: Ino) -> Result<Ino>;

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `NODATA`.
    fn get_x(&mut self, ino: Ino, name: &[u8]) -> Result<Vec<u8>>;

    /// Sets one.
    ///
    /// # Errors
    /// `EXIST`, `NODATA` (see [`SetX`]); `RANGE`: the name is too long or empty; `NOSPC`.
    fn set_x(&mut self, ino: Ino, name: &[u8], value: &[u8], how: SetX, now: Time) -> Result<()>;

    /// The names of all, each ended by a zero.
    ///
    /// # Errors
    /// As all.
    fn list_x(&mut self, ino: Ino) -> Result<Vec<u8>>;

    /// Removes one.
    ///
    /// # Errors
    /// `NODATA`.
    fn remove_x(&mut self, ino: Ino, name: &[u8], now: Time) -> Result<()>;

    /// Space for a range, or none any more.
    ///
    /// # Errors
    /// `INVAL`, `FBIG`, `NOSPC`, `ISDIR`, `NODEV`, `OPNOTSUPP`.
    fn allocate(&mut self, ino: Ino, offset: u64, length: u64, how: Allocate, now: Time) -> Result<Attr>;

    /// The next data or hole.
    ///
    /// # Errors
    /// `NXIO`: there is none.
    fn seek(&mut self, ino: Ino, offset: u64, what: Seek) -> Result<u64>;

    /// All that was done to a file, or to all, is kept for good when this returns.
    ///
    /// # Errors
    /// `IO`: it is not. `NOSPC`.
    fn sync(&mut self, ino: Option<Ino>) -> Result<()>;

    /// How much there is.
    ///
    /// # Errors
    /// As all.
    fn stat_fs(&mut self) -> Result<StatFs>;
}
