//! Reading and writing the contents of files.

use super::extents::Piece;
use super::{BLOCK, Volume};
use crate::backend::Result;
use dvs_api::Errno;
use dvs_api::fs::{Allocate, FILE_BYTES_MAX, Seek, Time};
use std::ops::Range;

/// Blocks written to the disk in one piece at most.
const ROW_MAX: u64 = 256;

impl Volume {
    pub(super) fn read_at(&mut self, ino: u64, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.inode(ino)?;
        inode.check_file()?;
        let size = inode.size;
        if offset >= size || into.is_empty() {
            return Ok(0);
        }
        let n = (size - offset).min(into.len() as u64) as usize;
        let into = &mut into[..n];
        let blocks = offset / BLOCK..(offset + n as u64).div_ceil(BLOCK);
        for piece in self.pieces(ino, blocks.start, blocks.end - blocks.start)? {
            let range = cut(piece.block..piece.block + piece.count, offset, n);
            let from = offset + range.start as u64 - piece.block * BLOCK;
            match piece.at {
                Some((at, true)) => {
                    self.check_place(at, piece.count)?;
                    self.device.read(at * BLOCK + from, &mut into[range])?;
                }
                _ => into[range].fill(0),
            }
        }
        let mut next = blocks.start;
        while let Some(block) = self.buffer.next(ino, next).filter(|b| *b < blocks.end) {
            let range = cut(block..block + 1, offset, n);
            let from = (offset + range.start as u64 - block * BLOCK) as usize;
            if let Some(bytes) = self.buffer.get(ino, block) {
                let length = range.len();
                into[range].copy_from_slice(&bytes[from..from + length]);
            }
            next = block + 1;
        }
        Ok(n)
    }

    /// What the tables say is on the disk, not where the tables are.
    fn check_place(&self, at: u64, count: u64) -> Result<()> {
        match at.checked_add(count) {
            Some(end) if at > 0 && end <= self.device.length() / BLOCK => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    pub(super) fn write_at(&mut self, ino: u64, offset: Option<u64>, from: &[u8], now: Time) -> Result<()> {
        let inode = self.inode(ino)?;
        inode.check_file()?;
        let offset = offset.unwrap_or(inode.size);
        let end =
            offset.checked_add(from.len() as u64).filter(|e| *e <= FILE_BYTES_MAX).ok_or(Errno::FBIG)?;
        self.reserve(ino, offset / BLOCK..end.div_ceil(BLOCK))?;
        let mut done = 0;
        while done < from.len() {
            let at = offset + done as u64;
            let (block, inside) = (at / BLOCK, (at % BLOCK) as usize);
            let n = (BLOCK as usize - inside).min(from.len() - done);
            let bytes = self.block_mut(ino, block, n < BLOCK as usize)?;
            bytes[inside..inside + n].copy_from_slice(&from[done..done + n]);
            done += n;
        }
        let inode = self.inode_mut(ino)?;
        if !from.is_empty() {
            inode.size = inode.size.max(end);
            inode.changed(now);
        }
        self.changed()
    }

    /// A block of a file in memory; with what it had, if that matters.
    fn block_mut(&mut self, ino: u64, block: u64, keep: bool) -> Result<&mut [u8]> {
        if !self.buffer.has(ino, block) {
            let mut old = [0; BLOCK as usize];
            if keep && let Some(Piece { at: Some((at, true)), .. }) = self.pieces(ino, block, 1)?.first() {
                self.check_place(*at, 1)?;
                self.device.read(at * BLOCK, &mut old)?;
            }
            let bytes = self.buffer.get_mut(ino, block);
            if keep {
                bytes.copy_from_slice(&old);
            }
            return Ok(bytes);
        }
        Ok(self.buffer.get_mut(ino, block))
    }

    /// That there will be a place for these blocks: those that wait already have theirs.
    fn reserve(&mut self, ino: u64, blocks: Range<u64>) -> Result<()> {
        let fresh = |v: &Self| blocks.clone().filter(|b| !v.buffer.has(ino, *b)).count() as u64;
        if self.space().ready() >= self.buffer.blocks() + fresh(self) + SPARE {
            return Ok(());
        }
        // What was freed is there after a commit.
        self.commit()?;
        if self.space().ready() >= self.buffer.blocks() + fresh(self) + SPARE {
            return Ok(());
        }
        Err(Errno::NOSPC)
    }

    /// Gives what waits its place on the disk: of one file or of all.
    pub(super) fn settle(&mut self, of: Option<u64>) -> Result<()> {
        let files = of.map_or_else(|| self.buffer.files(), |ino| vec![ino]);
        for ino in files {
            while let Some(row) = self.buffer.row(ino, ROW_MAX) {
                self.settle_row(ino, row)?;
            }
        }
        Ok(())
    }

    fn settle_row(&mut self, ino: u64, row: Range<u64>) -> Result<()> {
        // Space that was promised to the file, and never written, can be written where it is.
        let first = self.pieces(ino, row.start, row.end - row.start)?.first().copied();
        let (at, count) = match first {
            Some(Piece { at: Some((at, false)), count, .. }) => (at, count),
            _ => {
                let plain = |p: &Piece| !matches!(p.at, Some((_, false)));
                let pieces = self.pieces(ino, row.start, row.end - row.start)?;
                let want = pieces.iter().take_while(|p| plain(p)).map(|p| p.count).sum();
                self.space().take(want).ok_or(Errno::NOSPC)?
            }
        };
        self.check_place(at, count)?;
        let mut bytes = Vec::with_capacity((count * BLOCK) as usize);
        for block in row.start..row.start + count {
            bytes.extend_from_slice(self.buffer.get(ino, block).ok_or(Errno::IO)?);
        }
        self.device.write(at * BLOCK, &bytes)?;
        self.unflushed = true;
        self.changes += 1;
        let grown = self.place(ino, row.start, count, Some((at, true)))?;
        self.buffer.forget(ino, row.start, row.start + count);
        self.grow(ino, grown)
    }

    /// A file has more blocks, or fewer.
    fn grow(&mut self, ino: u64, blocks: i64) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.blocks = inode.blocks.saturating_add_signed(blocks);
        Ok(())
    }

    /// A file gets a length.
    pub(super) fn set_size(&mut self, ino: u64, size: u64, now: Time) -> Result<()> {
        let inode = self.inode(ino)?;
        inode.check_file()?;
        let old = inode.size;
        if size > FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        if size < old {
            self.clear(ino, size..old)?;
        }
        let inode = self.inode_mut(ino)?;
        inode.size = size;
        inode.changed(now);
        Ok(())
    }

    /// A range reads as zeros and has no blocks, but where it has only a part of one.
    fn clear(&mut self, ino: u64, range: Range<u64>) -> Result<()> {
        let whole = range.start.div_ceil(BLOCK)..range.end.div_ceil(BLOCK);
        let size = self.inode(ino)?.size;
        // The last block of a file belongs to nobody behind its end.
        let whole = whole.start..if range.end >= size { u64::MAX >> 1 } else { range.end / BLOCK };
        let head = range.start..range.end.min(range.start.div_ceil(BLOCK) * BLOCK);
        let tail = (range.end / BLOCK * BLOCK).max(head.end)..range.end;
        let edges = [head, if range.end >= size { 0..0 } else { tail }];
        for edge in edges.into_iter().filter(|e| !e.is_empty()) {
            let block = edge.start / BLOCK;
            let stored = self.pieces(ino, block, 1)?.first().is_some_and(|p| matches!(p.at, Some((_, true))));
            if stored || self.buffer.has(ino, block) {
                self.reserve(ino, block..block + 1)?;
                let from = (edge.start % BLOCK) as usize;
                let length = (edge.end - edge.start) as usize;
                self.block_mut(ino, block, true)?[from..from + length].fill(0);
            }
        }
        if whole.start < whole.end {
            self.buffer.forget(ino, whole.start, whole.end);
            let grown = self.place(ino, whole.start, whole.end - whole.start, None)?;
            self.grow(ino, grown)?;
        }
        Ok(())
    }

    pub(super) fn allocate_range(
        &mut self,
        ino: u64,
        range: Range<u64>,
        how: Allocate,
        now: Time,
    ) -> Result<()> {
        let inode = self.inode(ino)?;
        inode.check_file()?;
        let size = inode.size;
        match how {
            Allocate::Punch => self.clear_within(ino, range, size)?,
            Allocate::Zero => {
                self.clear_within(ino, range.clone(), size)?;
                self.promise(ino, range.clone())?;
                self.lengthen(ino, range.end)?;
            }
            Allocate::Extend => {
                self.promise(ino, range.clone())?;
                self.lengthen(ino, range.end)?;
            }
            Allocate::Keep => self.promise(ino, range)?,
        }
        self.inode_mut(ino)?.changed(now);
        self.changed()
    }

    fn clear_within(&mut self, ino: u64, range: Range<u64>, size: u64) -> Result<()> {
        let end = range.end.min(size);
        if range.start < end { self.clear(ino, range.start..end) } else { Ok(()) }
    }

    fn lengthen(&mut self, ino: u64, end: u64) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.size = inode.size.max(end);
        Ok(())
    }

    /// Places for the holes of a range.
    fn promise(&mut self, ino: u64, range: Range<u64>) -> Result<()> {
        let (first, end) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
        self.settle(Some(ino))?;
        let holes: Vec<Piece> =
            self.pieces(ino, first, end - first)?.into_iter().filter(|p| p.at.is_none()).collect();
        let want: u64 = holes.iter().map(|p| p.count).sum();
        if self.space().ready() < want + self.buffer.blocks() + SPARE {
            self.commit()?;
            if self.space().ready() < want + self.buffer.blocks() + SPARE {
                return Err(Errno::NOSPC);
            }
        }
        for hole in holes {
            let mut done = 0;
            while done < hole.count {
                let (at, n) = self.space().take(hole.count - done).ok_or(Errno::NOSPC)?;
                let grown = self.place(ino, hole.block + done, n, Some((at, false)))?;
                self.grow(ino, grown)?;
                done += n;
            }
        }
        Ok(())
    }

    pub(super) fn seek_from(&mut self, ino: u64, offset: u64, what: Seek) -> Result<u64> {
        let inode = self.inode(ino)?;
        inode.check_file()?;
        let size = inode.size;
        if offset >= size {
            return Err(Errno::NXIO);
        }
        let end = size.div_ceil(BLOCK);
        let first = offset / BLOCK;
        for piece in self.pieces(ino, first, end - first)? {
            let stored = matches!(piece.at, Some((_, true)));
            let mut block = piece.block;
            while block < piece.block + piece.count {
                let data = stored || self.buffer.has(ino, block);
                if data == (what == Seek::Data) {
                    return Ok((block * BLOCK).max(offset));
                }
                // On to where that can change.
                let next = if stored { None } else { self.buffer.next(ino, block + u64::from(data)) };
                block = match next {
                    Some(next) if !data => next.min(piece.block + piece.count),
                    _ if data && !stored => block + 1,
                    _ => piece.block + piece.count,
                };
            }
        }
        if what == Seek::Hole { Ok(size) } else { Err(Errno::NXIO) }
    }
}

/// Blocks that are kept back for changes of blocks that are there, so that a full disk can be emptied.
const SPARE: u64 = 8;

/// Which part of a buffer of `n` bytes from `offset` on is in these blocks.
fn cut(blocks: Range<u64>, offset: u64, n: usize) -> Range<usize> {
    let from = (blocks.start * BLOCK).saturating_sub(offset).min(n as u64);
    let to = blocks.end.saturating_mul(BLOCK).saturating_sub(offset).min(n as u64);
    from as usize..to as usize
}
