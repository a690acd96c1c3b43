//! One end of a copy: the local disk, or a server. The copier knows only this.

use crate::entry::{Entry, Finish, Hash, Meta, Stamp};
use crate::error::Cause;
use crate::path::RelPath;

/// What a side does. Everything may be done twice with the same result.
pub trait Side {
    /// Its name in messages to the user.
    fn name(&self) -> &str;

    /// What is known of the path; `None` when there is nothing.
    ///
    /// # Errors
    /// The cause; so for every call below.
    fn stat(&self, path: &RelPath) -> Result<Option<Meta>, Cause>;

    /// Names of a folder after `after`, in order, and whether there are more.
    fn list(&self, path: &RelPath, after: &[u8]) -> Result<(Vec<Entry>, bool), Cause>;

    /// Reads from `offset` until `into` is full or the file ends. `Changed` when it is not the file of
    /// `stamp`.
    fn read(
        &self,
        path: &RelPath,
        offset: u64,
        into: &mut [u8],
        stamp: Stamp,
    ) -> Result<(usize, Hash), Cause>;

    /// Digests of at most `count` blocks of the file (or of its unfinished copy) from block `first` on.
    fn hashes(&self, path: &RelPath, part: bool, first: u64, count: u32) -> Result<Vec<Hash>, Cause>;

    /// Writes into the unfinished copy. `Corrupt` when `data` has not this digest.
    fn write(&self, path: &RelPath, offset: u64, data: &[u8], hash: &Hash) -> Result<(), Cause>;

    /// Writes a whole file aside and puts it in place.
    fn put(&self, path: &RelPath, data: &[u8], hash: &Hash, finish: Finish) -> Result<(), Cause>;

    /// Puts the unfinished copy in place. `Incomplete` when it has not `size` bytes.
    fn commit(&self, path: &RelPath, size: u64, finish: Finish) -> Result<(), Cause>;

    /// Removes the unfinished copy, if there is one.
    fn discard(&self, path: &RelPath) -> Result<(), Cause>;

    /// Makes a folder only its owner can use, unless there is one.
    fn make_folder(&self, path: &RelPath) -> Result<(), Cause>;

    /// Makes a symbolic link, in the place of a link or file of this name.
    fn link(&self, path: &RelPath, target: &[u8]) -> Result<(), Cause>;

    /// Where a symbolic link leads.
    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, Cause>;

    /// Gives a folder its permissions and time.
    fn settle(&self, path: &RelPath, finish: Finish) -> Result<(), Cause>;

    /// Brings all that was written to the disk.
    fn sync(&self) -> Result<(), Cause>;
}
