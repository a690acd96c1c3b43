//! A disk in memory: sparse, in pieces that are made when they are first written.

use dvs_api::Errno;
use dvs_api::disk::{Device, check_range};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// The disk.
#[derive(Debug)]
pub struct Memory {
    length: u64,
    pieces: RwLock<BTreeMap<u64, Box<[u8]>>>,
}

impl Memory {
    /// One of so many bytes, all zero. It takes memory for what is written only.
    pub fn new(length: u64) -> Self {
        Memory { length, pieces: RwLock::default() }
    }
}

/// The pieces of a range: each with its number, the part of it, and the part of the range.
fn parts(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let (piece, inside) = (at / PIECE as u64, (at % PIECE as u64) as usize);
        let n = (PIECE - inside).min(length - done);
        let part = (piece, inside..inside + n, done..done + n);
        done += n;
        Some(part)
    })
}

impl Device for Memory {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        check_range(self.length, offset, into.len() as u64)?;
        let pieces = self.pieces.read().unwrap_or_else(PoisonError::into_inner);
        for (piece, inside, range) in parts(offset, into.len()) {
            match pieces.get(&piece) {
                Some(bytes) => into[range].copy_from_slice(&bytes[inside]),
                None => into[range].fill(0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), Errno> {
        check_range(self.length, offset, from.len() as u64)?;
        let mut pieces = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
        for (piece, inside, range) in parts(offset, from.len()) {
            let bytes = pieces.entry(piece).or_insert_with(|| vec![0; PIECE].into_boxed_slice());
            bytes[inside].copy_from_slice(&from[range]);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), Errno> {
        check_range(self.length, offset, length)?;
        let whole = offset.div_ceil(PIECE as u64)..(offset + length) / PIECE as u64;
        let mut pieces = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
        if !whole.is_empty() {
            let gone: Vec<u64> = pieces.range(whole).map(|(n, _)| *n).collect();
            gone.iter().for_each(|n| drop(pieces.remove(n)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, PIECE};
    use dvs_api::Errno;
    use dvs_api::disk::Device;

    #[test]
    fn what_is_written_is_read_over_the_edges_of_pieces_and_nothing_beyond_the_end() {
        let disk = Memory::new(4 * PIECE as u64);
        let text: Vec<u8> = (0..PIECE + 100).map(|n| n as u8).collect();
        disk.write(PIECE as u64 - 50, &text).unwrap();
        let mut back = vec![9; text.len() + 2];
        disk.read(PIECE as u64 - 51, &mut back).unwrap();
        assert_eq!((back[0], &back[1..=text.len()], back[text.len() + 1]), (0, &text[..], 0));
        assert_eq!(disk.write(4 * PIECE as u64 - 1, &[1, 2]), Err(Errno::NXIO));
        assert_eq!(disk.read(u64::MAX, &mut back), Err(Errno::NXIO));
        disk.discard(0, 4 * PIECE as u64).unwrap();
        disk.read(PIECE as u64, &mut back).unwrap();
        assert!(back.iter().all(|b| *b == 0));
    }
}
