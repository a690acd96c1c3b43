//! The tables of a volume.

use redb::TableDefinition;

/// [`Inode`](super::record::Inode) by number.
pub(super) const INODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("inodes");
/// Directory and name: file, kind, position.
pub(super) const NAMES: TableDefinition<'_, (u64, &[u8]), (u64, u8, u64)> = TableDefinition::new("names");
/// Directory and position: name.
pub(super) const ORDER: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("order");
/// File and block in it: block of the disk, how many, whether they were written.
pub(super) const EXTENTS: TableDefinition<'_, (u64, u64), (u64, u64, bool)> = TableDefinition::new("extents");
/// File and name: value.
pub(super) const XATTRS: TableDefinition<'_, (u64, &[u8]), &[u8]> = TableDefinition::new("xattrs");
/// Files without a name that were open.
pub(super) const ORPHANS: TableDefinition<'_, u64, ()> = TableDefinition::new("orphans");
/// Single numbers.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The number the next file gets.
pub(super) const NEXT: &str = "next";
