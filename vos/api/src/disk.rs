//! Block devices: what a disk is asked, and the trait of whatever is one.
//!
//! A disk is bytes from 0 to its length. What was written is on it for good once a flush that began later has
//! ended; of what was written since, any part may be lost when its machine fails, in any order, block by
//! block, as with any disk.

use crate::Errno;

/// What a disk writes as a whole or not at all, bytes. Positions and lengths of requests need not be
/// multiples.
pub const BLOCK_BYTES: u64 = 4096;

/// A disk, wherever it is.
pub trait Device: Send + Sync + std::fmt::Debug {
    /// Its length, bytes.
    fn length(&self) -> u64;

    /// Reads all of `into` from `offset` on.
    ///
    /// # Errors
    /// `IO`; `NXIO` beyond its end.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// Writes all of `from` at `offset`.
    ///
    /// # Errors
    /// `IO`, `NOSPC`; `NXIO` beyond its end, `ROFS`.
    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno>;

    /// All that was written before is on the disk for good when this returns.
    ///
    /// # Errors
    /// `IO`: it is not, and may never be.
    fn flush(&self) -> Result<(), Errno>;

    /// What is there is not needed any more. A hint; it reads as anything afterwards.
    ///
    /// # Errors
    /// As [`Device::write`].
    fn discard(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let _ = (offset, length);
        Ok(())
    }
}

/// Whether a range is on a device of this length.
///
/// # Errors
/// `NXIO`.
pub fn check_range(device_length: u64, offset: u64, length: u64) -> Result<(), Errno> {
    match offset.checked_add(length) {
        Some(end) if end <= device_length => Ok(()),
        _ => Err(Errno::NXIO),
    }
}
