//! Extended attributes.

use super::Volume;
use super::extents::lost;
use super::tables::XATTRS;
use crate::backend::Result;
use dvs_api::Errno;
use dvs_api::fs::{SetX, Time, XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX};
use redb::ReadableTable;

impl Volume {
    pub(super) fn xattr(&mut self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        self.inode(ino)?;
        let table = self.txn()?.open_table(XATTRS).map_err(lost)?;
        let row = table.get((ino, name)).map_err(lost)?;
        row.map(|v| v.value().to_vec()).ok_or(Errno::NODATA)
    }

    pub(super) fn set_xattr(
        &mut self,
        ino: u64,
        name: &[u8],
        value: &[u8],
        how: SetX,
        now: Time,
    ) -> Result<()> {
        if name.is_empty() || name.len() > XATTR_NAME_BYTES_MAX {
            return Err(Errno::RANGE);
        }
        if value.len() > XATTR_VALUE_BYTES_MAX {
            return Err(Errno::NOSPC);
        }
        self.inode_mut(ino)?.touched(now);
        {
            let mut table = self.txn()?.open_table(XATTRS).map_err(lost)?;
            let there = table.get((ino, name)).map_err(lost)?.is_some();
            match how {
                SetX::Create if there => return Err(Errno::EXIST),
                SetX::Replace if !there => return Err(Errno::NODATA),
                _ => {}
            }
            table.insert((ino, name), value).map_err(lost)?;
        }
        self.changed()
    }

    pub(super) fn xattrs(&mut self, ino: u64) -> Result<Vec<u8>> {
        self.inode(ino)?;
        let mut list = Vec::new();
        for name in self.xattr_names(ino)? {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }

    fn xattr_names(&self, ino: u64) -> Result<Vec<Vec<u8>>> {
        let table = self.txn()?.open_table(XATTRS).map_err(lost)?;
        let rows = table.range((ino, &b""[..])..(ino + 1, &b""[..])).map_err(lost)?;
        rows.map(|row| row.map(|(key, _)| key.value().1.to_vec()).map_err(lost)).collect()
    }

    pub(super) fn remove_xattr(&mut self, ino: u64, name: &[u8], now: Time) -> Result<()> {
        self.inode(ino)?;
        {
            let mut table = self.txn()?.open_table(XATTRS).map_err(lost)?;
            table.remove((ino, name)).map_err(lost)?.ok_or(Errno::NODATA)?;
        }
        self.inode_mut(ino)?.touched(now);
        self.changed()
    }

    pub(super) fn erase_xattrs(&mut self, ino: u64) -> Result<()> {
        for name in self.xattr_names(ino)? {
            let mut table = self.txn()?.open_table(XATTRS).map_err(lost)?;
            table.remove((ino, &name[..])).map_err(lost)?;
        }
        Ok(())
    }
}
