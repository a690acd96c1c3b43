//! Where the blocks of a file are.
//!
//! ```text
//! file   ├──A──┤     hole      ├────B────┤         an extent: blocks in a row, of the file and of the disk
//!                     replace ├──C──┤
//!        ├──A──┤              ├──C──┤─B──┤         what C hides of B is given back
//! ```

use super::Volume;
use super::tables::EXTENTS;
use crate::backend::Result;
use dvs_api::Errno;
use redb::ReadableTable;

/// A row of blocks of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// First block in the file.
    pub block: u64,
    /// How many.
    pub count: u64,
    /// Where on the disk, and whether anything was written there; nothing: a hole.
    pub at: Option<(u64, bool)>,
}

/// Longest extent, blocks.
const EXTENT_MAX: u64 = 1 << 20;

impl Volume {
    /// The pieces of so many blocks of a file, from `block` on, holes included.
    pub(super) fn pieces(&self, ino: u64, block: u64, count: u64) -> Result<Vec<Piece>> {
        let end = block.saturating_add(count);
        let table = self.txn()?.open_table(EXTENTS).map_err(lost)?;
        let mut found = Vec::new();
        // One may begin before.
        if let Some(row) = table.range((ino, 0)..(ino, block)).map_err(lost)?.next_back() {
            let (key, value) = row.map_err(lost)?;
            let (first, (at, n, written)) = (key.value().1, value.value());
            if first.checked_add(n).is_none_or(|e| e > self.blocks_max()) {
                return Err(Errno::IO);
            }
            if first + n > block {
                let skip = block - first;
                found.push(Piece { block, count: (n - skip).min(count), at: Some((at + skip, written)) });
            }
        }
        let mut next = found.last().map_or(block, |p: &Piece| p.block + p.count);
        for row in table.range((ino, next)..(ino, end)).map_err(lost)? {
            let (key, value) = row.map_err(lost)?;
            let (first, (at, n, written)) = (key.value().1, value.value());
            if n == 0 || first < next {
                return Err(Errno::IO);
            }
            if first > next {
                found.push(Piece { block: next, count: first - next, at: None });
            }
            found.push(Piece { block: first, count: n.min(end - first), at: Some((at, written)) });
            next = first + n;
        }
        if next < end {
            found.push(Piece { block: next, count: end - next, at: None });
        }
        Ok(found)
    }

    /// Longest file, blocks.
    fn blocks_max(&self) -> u64 {
        dvs_api::fs::FILE_BYTES_MAX / super::BLOCK + 1
    }

    /// These blocks of a file are there from here on, or nowhere. What was there before is given back,
    /// unless it is the same place. By how many blocks the file has grown.
    pub(super) fn place(&mut self, ino: u64, block: u64, count: u64, at: Option<(u64, bool)>) -> Result<i64> {
        let old: Vec<Piece> =
            self.pieces(ino, block, count)?.into_iter().filter(|p| p.at.is_some()).collect();
        let mut grown = if at.is_some() { count as i64 } else { 0 };
        {
            let mut table = self.txn()?.open_table(EXTENTS).map_err(lost)?;
            for piece in &old {
                grown -= piece.count as i64;
                split(&mut table, ino, piece.block)?;
                split(&mut table, ino, piece.block + piece.count)?;
                table.remove((ino, piece.block)).map_err(lost)?;
            }
            if let Some((first, written)) = at {
                insert(&mut table, ino, Piece { block, count, at: Some((first, written)) })?;
            }
        }
        let mut space = self.space();
        for piece in old {
            if let Some((first, _)) = piece.at {
                let same = at.is_some_and(|(a, _)| a + (piece.block - block) == first);
                if !same {
                    space.release(first, piece.count);
                }
            }
        }
        Ok(grown)
    }
}

type Table<'t> = redb::Table<'t, (u64, u64), (u64, u64, bool)>;

/// An extent that goes over `block` becomes two.
fn split(table: &mut Table<'_>, ino: u64, block: u64) -> Result<()> {
    let found = {
        let mut before = table.range((ino, 0)..(ino, block)).map_err(lost)?;
        match before.next_back() {
            Some(row) => {
                let (key, value) = row.map_err(lost)?;
                Some((key.value().1, value.value()))
            }
            None => None,
        }
    };
    if let Some((first, (at, n, written))) = found
        && first + n > block
    {
        let head = block - first;
        table.insert((ino, first), (at, head, written)).map_err(lost)?;
        table.insert((ino, block), (at + head, n - head, written)).map_err(lost)?;
    }
    Ok(())
}

/// Adds an extent where none is, to its neighbour if they are in a row on the disk, too.
fn insert(table: &mut Table<'_>, ino: u64, piece: Piece) -> Result<()> {
    let Some((at, written)) = piece.at else { return Ok(()) };
    let before = match table.range((ino, 0)..(ino, piece.block)).map_err(lost)?.next_back() {
        Some(row) => {
            let (key, value) = row.map_err(lost)?;
            Some((key.value().1, value.value()))
        }
        None => None,
    };
    if let Some((first, (a, n, w))) = before
        && first + n == piece.block
        && a + n == at
        && w == written
        && n + piece.count <= EXTENT_MAX
    {
        table.insert((ino, first), (a, n + piece.count, w)).map_err(lost)?;
    } else {
        table.insert((ino, piece.block), (at, piece.count, written)).map_err(lost)?;
    }
    Ok(())
}

/// A table that cannot be read or written.
pub(super) fn lost<E>(_: E) -> Errno {
    Errno::IO
}
