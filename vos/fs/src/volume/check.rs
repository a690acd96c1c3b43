//! Whether a volume is whole: what its tables say of each other.

use super::extents::lost;
use super::record::{Inode, kind_of};
use super::tables::{EXTENTS, INODES, NAMES, ORDER, ORPHANS, XATTRS};
use super::{BLOCK, Volume};
use crate::backend::Result;
use dvs_api::fs::{FileKind, Ino};
use redb::ReadableTable;
use std::collections::BTreeMap;

/// Faults that are listed; more are counted no further.
const WRONG_MAX: usize = 100;

/// What a check has found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Found {
    /// Files, directories included.
    pub files: u64,
    /// Bytes of all files that have a place on the disk.
    pub bytes: u64,
    /// What is not as it has to be, in words.
    pub wrong: Vec<String>,
}

impl Found {
    fn wrong(&mut self, text: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(text);
        }
    }

    fn expect(&mut self, so: bool, text: impl FnOnce() -> String) {
        if !so {
            self.wrong(text());
        }
    }
}

/// What names and extents say of a file.
#[derive(Default)]
struct Said {
    names: u32,
    subdirectories: u32,
    entries: u64,
    blocks: u64,
}

impl Volume {
    /// Looks at all that is known of files. That their contents are where no other's are is looked at when a
    /// volume is opened.
    ///
    /// # Errors
    /// `IO`: the tables cannot be read.
    pub fn check(&mut self) -> Result<Found> {
        self.commit()?;
        let (mut found, mut said) = (Found::default(), BTreeMap::<u64, Said>::new());
        let inodes = self.all_inodes()?;
        self.check_names(&inodes, &mut said, &mut found)?;
        self.check_blocks(&inodes, &mut said, &mut found)?;
        let txn = self.txn()?;
        let orphans = txn.open_table(ORPHANS).map_err(lost)?;
        let nothing = Said::default();
        for (ino, inode) in &inodes {
            let said = said.get(ino).unwrap_or(&nothing);
            let links = match inode.kind {
                FileKind::Dir => 2 + said.subdirectories,
                _ => said.names,
            };
            let named = said.names > 0 || *ino == Ino::ROOT.0;
            found.expect(named || orphans.get(ino).map_err(lost)?.is_some(), || {
                format!("file {ino} has no name")
            });
            let of = (inode.links, inode.names, inode.blocks);
            found.expect(!named || of == (links, said.entries, said.blocks), || {
                format!(
                    "file {ino} says {of:?} of its links, names, blocks; they are {:?}",
                    (links, said.entries, said.blocks)
                )
            });
        }
        found.files = inodes.len() as u64;
        found.bytes = inodes.values().map(|i| i.blocks * BLOCK).sum();
        Ok(found)
    }

    fn all_inodes(&self) -> Result<BTreeMap<u64, Inode>> {
        let table = self.txn()?.open_table(INODES).map_err(lost)?;
        let mut all = BTreeMap::new();
        for row in table.iter().map_err(lost)? {
            let (ino, inode) = row.map_err(lost)?;
            all.insert(ino.value(), postcard::from_bytes(inode.value()).map_err(lost)?);
        }
        Ok(all)
    }

    fn check_names(
        &self,
        inodes: &BTreeMap<u64, Inode>,
        said: &mut BTreeMap<u64, Said>,
        found: &mut Found,
    ) -> Result<()> {
        let txn = self.txn()?;
        let (names, order) = (txn.open_table(NAMES).map_err(lost)?, txn.open_table(ORDER).map_err(lost)?);
        let mut count = 0_u64;
        for row in names.iter().map_err(lost)? {
            let (key, value) = row.map_err(lost)?;
            let ((dir, name), (ino, kind, position)) = (key.value(), value.value());
            let shown = || format!("name {:?} in {dir}", String::from_utf8_lossy(name));
            count += 1;
            let listed = order.get((dir, position)).map_err(lost)?;
            found.expect(listed.is_some_and(|n| n.value() == name), || format!("{} is not listed", shown()));
            let kind = kind_of(kind)?;
            let fits = |i: &Inode| i.kind == kind && (kind != FileKind::Dir || i.parent == dir);
            found.expect(inodes.get(&ino).is_some_and(fits), || format!("{} is not file {ino}", shown()));
            found.expect(inodes.get(&dir).is_some_and(|d| d.kind == FileKind::Dir), || {
                format!("{} is in no directory", shown())
            });
            said.entry(ino).or_default().names += 1;
            let of = said.entry(dir).or_default();
            of.entries += 1;
            of.subdirectories += u32::from(kind == FileKind::Dir);
        }
        let listed = order.iter().map_err(lost)?.count() as u64;
        found.expect(listed == count, || format!("{count} names, {listed} positions"));
        Ok(())
    }

    fn check_blocks(
        &self,
        inodes: &BTreeMap<u64, Inode>,
        said: &mut BTreeMap<u64, Said>,
        found: &mut Found,
    ) -> Result<()> {
        let txn = self.txn()?;
        let mut last = (0, 0);
        for row in txn.open_table(EXTENTS).map_err(lost)?.iter().map_err(lost)? {
            let (key, value) = row.map_err(lost)?;
            let ((ino, block), (_, count, _)) = (key.value(), value.value());
            found.expect(last.0 != ino || last.1 <= block, || format!("file {ino} has block {block} twice"));
            found.expect(inodes.contains_key(&ino), || format!("contents of file {ino}, which is not there"));
            last = (ino, block.saturating_add(count));
            said.entry(ino).or_default().blocks += count;
        }
        for row in txn.open_table(XATTRS).map_err(lost)?.iter().map_err(lost)? {
            let (ino, _) = row.map_err(lost)?.0.value();
            found.expect(inodes.contains_key(&ino), || {
                format!("attributes of file {ino}, which is not there")
            });
        }
        Ok(())
    }
}
