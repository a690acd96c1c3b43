//! The front of a disk as the file that the library of the tables wants.
//!
//! ```text
//! block 0: Label (magic, length of the tables, blocks of the disk)     blocks 1..: the tables
//! ```
//! The label is one block, which a disk writes as a whole or not at all.

use super::BLOCK;
use super::space::Space;
use dvs_api::Errno;
use dvs_api::disk::Device;
use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

const MAGIC: [u8; 8] = *b"dvs-fs\x00\x01";
/// Zeros written at once.
const ZEROS: usize = 1 << 20;

/// What the first block says.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(super) struct Label {
    magic: [u8; 8],
    /// Blocks of the disk when it was formatted.
    pub blocks: u64,
    /// Bytes of the tables.
    pub tables: u64,
}

impl Label {
    /// Of a new volume.
    pub fn new(blocks: u64) -> Self {
        Label { magic: MAGIC, blocks, tables: 0 }
    }

    /// Reads it; `None` if there is no volume.
    ///
    /// # Errors
    /// `IO`.
    pub fn read(device: &dyn Device) -> Result<Option<Self>, Errno> {
        let mut block = [0; BLOCK as usize];
        device.read(0, &mut block)?;
        let (body, sum) = block.split_at(BLOCK as usize - 8);
        if sum != checksum(body).to_le_bytes() {
            return Ok(None);
        }
        let label: Option<Label> = postcard::take_from_bytes(body).ok().map(|(label, _)| label);
        Ok(label.filter(|l| l.magic == MAGIC && l.blocks <= device.length() / BLOCK))
    }

    /// Writes it, for good.
    ///
    /// # Errors
    /// `IO`.
    pub fn write(&self, device: &dyn Device) -> Result<(), Errno> {
        let mut block = [0; BLOCK as usize];
        let (body, sum) = block.split_at_mut(BLOCK as usize - 8);
        postcard::to_slice(self, body).map_err(|_| Errno::IO)?;
        sum.copy_from_slice(&checksum(body).to_le_bytes());
        device.write(0, &block)?;
        device.flush()
    }
}

/// FNV-1a: against damage, not against forgery.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// The front of a disk.
#[derive(Debug)]
pub(super) struct Front {
    device: Arc<dyn Device>,
    space: Arc<Mutex<Space>>,
    label: Mutex<Label>,
}

impl Front {
    pub fn new(device: Arc<dyn Device>, space: Arc<Mutex<Space>>, label: Label) -> Self {
        Front { device, space, label: Mutex::new(label) }
    }

    fn label(&self) -> std::sync::MutexGuard<'_, Label> {
        self.label.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(e: Errno) -> io::Error {
    io::Error::from(e)
}

impl StorageBackend for Front {
    fn len(&self) -> io::Result<u64> {
        Ok(self.label().tables)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.label().tables) {
            return Err(failed(Errno::NXIO));
        }
        self.device.read(BLOCK + offset, out).map_err(failed)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut label = self.label();
        let blocks = 1 + len.div_ceil(BLOCK);
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if !space.set_tables(blocks) {
            return Err(failed(Errno::NOSPC));
        }
        drop(space);
        let zeros = vec![0; ZEROS];
        let mut at = label.tables;
        while at < len {
            let n = (len - at).min(ZEROS as u64);
            self.device.write(BLOCK + at, &zeros[..n as usize]).map_err(failed)?;
            at += n;
        }
        label.tables = len;
        label.write(&*self.device).map_err(failed)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.device.flush().map_err(failed)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > self.label().tables) {
            return Err(failed(Errno::NXIO));
        }
        self.device.write(BLOCK + offset, data).map_err(failed)
    }
}
