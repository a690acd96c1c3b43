//! The file below a store, as a trait: so that a test or a simulator can fill it up, tear it or lose what was
//! not synced.

use redb::StorageBackend;
use std::fmt;
use std::io;

/// A growing array of bytes. What was written before a [`Disk::sync`] outlives a crash, what was written
/// after may.
pub trait Disk: Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of the disk, as of all calls here.
    fn length(&self) -> io::Result<u64>;
    /// Reads exactly `out.len()` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Cuts it or lets it grow, by zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Writes all bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Returns when everything written is durable.
    ///
    /// # Errors
    /// If it is not.
    fn sync(&self) -> io::Result<()>;
}

/// A disk as the store's library wants it.
pub(crate) struct Below<D>(pub D);

impl<D> fmt::Debug for Below<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl<D: Disk> StorageBackend for Below<D> {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
