//! A disk in a file of the host.

use dvs_api::Errno;
use dvs_api::disk::{Device, check_range};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The disk.
#[derive(Debug)]
pub struct Image {
    file: File,
    length: u64,
}

impl Image {
    /// A new one of so many bytes, sparse: it takes room on the host for what is written only.
    ///
    /// # Errors
    /// There is a file of that name, or it cannot be made.
    pub fn create(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Self::lock(file, length)
    }

    /// One that is there.
    ///
    /// # Errors
    /// It is not, or cannot be read and written, or another process has it open as a disk (`WouldBlock`).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        Self::lock(file, length)
    }

    /// Two writers of one image would destroy it.
    fn lock(file: File, length: u64) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Image { file, length }),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(std::fs::TryLockError::Error(e)) => Err(e),
        }
    }
}

impl Device for Image {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        check_range(self.length, offset, into.len() as u64)?;
        Ok(self.file.read_exact_at(into, offset)?)
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        check_range(self.length, offset, from.len() as u64)?;
        Ok(self.file.write_all_at(from, offset)?)
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(self.file.sync_data()?)
    }
}

#[cfg(test)]
mod tests {
    use super::Image;
    use dvs_api::Errno;
    use dvs_api::disk::Device;

    #[test]
    fn an_image_keeps_what_was_written_and_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let disk = Image::create(&path, 1 << 20).unwrap();
        assert!(Image::create(&path, 1).is_err() && Image::open(&path).is_err());
        disk.write(1000, b"kept").unwrap();
        disk.flush().unwrap();
        assert_eq!(disk.write((1 << 20) - 2, b"long"), Err(Errno::NXIO));
        drop(disk);
        let (disk, mut back) = (Image::open(&path).unwrap(), [0; 4]);
        disk.read(1000, &mut back).unwrap();
        assert_eq!((disk.length(), &back), (1 << 20, b"kept"));
    }
}
