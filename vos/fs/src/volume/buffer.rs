//! What was written to files and has no place on the disk yet.
//!
//! Blocks wait here until a file is synced, or until there are too many: so what is written in small parts
//! goes to the disk in long rows, and what is removed soon never does. A file's blocks are kept in chunks,
//! each with one bit a block.

use super::BLOCK;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Blocks of a chunk.
const CHUNK: u64 = 32;

#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    /// Blocks that are here.
    held: u32,
}

/// The blocks of all files that wait.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    files: HashMap<u64, BTreeMap<u64, Chunk>>,
    blocks: u64,
}

impl Buffer {
    /// How many blocks wait.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Files with blocks that wait, in the order of their numbers.
    pub fn files(&self) -> Vec<u64> {
        let mut files: Vec<u64> = self.files.keys().copied().collect();
        files.sort_unstable();
        files
    }

    /// Whether a block waits here.
    pub fn has(&self, ino: u64, block: u64) -> bool {
        let chunk = self.files.get(&ino).and_then(|f| f.get(&(block / CHUNK)));
        chunk.is_some_and(|c| c.held & 1 << (block % CHUNK) != 0)
    }

    /// A block's bytes, if it waits here.
    pub fn get(&self, ino: u64, block: u64) -> Option<&[u8]> {
        let chunk = self.files.get(&ino)?.get(&(block / CHUNK))?;
        (chunk.held & 1 << (block % CHUNK) != 0).then(|| &chunk.bytes[within(block)])
    }

    /// A block's bytes, to be written; it waits here from now on. One that did not has any bytes.
    pub fn get_mut(&mut self, ino: u64, block: u64) -> &mut [u8] {
        let chunk = self.files.entry(ino).or_default().entry(block / CHUNK).or_insert_with(|| Chunk {
            bytes: vec![0; (CHUNK * BLOCK) as usize].into_boxed_slice(),
            held: 0,
        });
        let bit = 1 << (block % CHUNK);
        self.blocks += u64::from(chunk.held & bit == 0);
        chunk.held |= bit;
        &mut chunk.bytes[within(block)]
    }

    /// Forgets a file's blocks from one on, up to another.
    pub fn forget(&mut self, ino: u64, from: u64, to: u64) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        let mut empty = Vec::new();
        for (number, chunk) in file.range_mut(from / CHUNK..=to.saturating_sub(1) / CHUNK) {
            let first = number * CHUNK;
            for n in 0..CHUNK {
                let bit = 1 << n;
                if (from..to).contains(&(first + n)) && chunk.held & bit != 0 {
                    chunk.held &= !bit;
                    self.blocks -= 1;
                }
            }
            if chunk.held == 0 {
                empty.push(*number);
            }
        }
        empty.iter().for_each(|n| drop(file.remove(n)));
        if file.is_empty() {
            self.files.remove(&ino);
        }
    }

    /// The first blocks in a row of a file that wait: which, at most so many. They stay until they are
    /// forgotten.
    pub fn row(&self, ino: u64, most: u64) -> Option<Range<u64>> {
        let file = self.files.get(&ino)?;
        let (number, chunk) = file.first_key_value()?;
        let first = number * CHUNK + u64::from(chunk.held.trailing_zeros());
        let mut end = first + 1;
        while end - first < most && self.has(ino, end) {
            end += 1;
        }
        Some(first..end)
    }

    /// The first block of a file from `block` on that waits.
    pub fn next(&self, ino: u64, block: u64) -> Option<u64> {
        let file = self.files.get(&ino)?;
        file.range(block / CHUNK..)
            .find_map(|(number, chunk)| {
                (0..CHUNK)
                    .map(|n| (n, number * CHUNK + n))
                    .find(|(n, b)| *b >= block && chunk.held & 1 << n != 0)
            })
            .map(|(_, b)| b)
    }
}

fn within(block: u64) -> Range<usize> {
    let from = (block % CHUNK * BLOCK) as usize;
    from..from + BLOCK as usize
}
