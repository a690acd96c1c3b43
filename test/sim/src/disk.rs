//! The disk of one node: what is synced survives a loss of power, of the rest a beginning may.
//!
//! ```text
//!  append, replace, cut, write at ──► files as the node reads them
//!                       └─► pending ── sync done ──► durable
//!                              └─ power lost: the first few, the last of them torn ──► durable
//!  after a loss of power: files := durable
//! ```

use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};

/// There is no room left on the disk; nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskFull;

impl std::fmt::Display for DiskFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the disk is full; nothing was written")
    }
}

impl std::error::Error for DiskFull {}

/// A change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Append(String, Vec<u8>),
    Replace(String, Vec<u8>),
    Cut(String, usize),
    At(String, usize, Vec<u8>),
    Grow(String, usize),
}

/// What a disk writes in one go.
const SECTOR: usize = 512;

type Files = BTreeMap<String, Vec<u8>>;

/// A disk.
///
/// ```
/// use dvs_sim::{Disk, Random};
/// let mut disk = Disk::new(1 << 20);
/// disk.append("log", b"one").unwrap();
/// let mark = disk.mark();
/// disk.append("log", b"two").unwrap();
/// disk.sync_to(mark);
/// disk.lose_power(&mut Random::new(1), 0);
/// assert!(disk.read("log").starts_with(b"one"));
/// ```
#[derive(Clone, Debug)]
pub struct Disk {
    files: Files,
    durable: Files,
    pending: VecDeque<Write>,
    /// Writes that are durable, ever.
    done: u64,
    capacity: usize,
    full: bool,
}

impl Disk {
    /// An empty disk of so many bytes.
    pub fn new(capacity: usize) -> Self {
        let (files, durable, pending) = (Files::new(), Files::new(), VecDeque::new());
        Disk { files, durable, pending, done: 0, capacity, full: false }
    }

    /// A file as it was written last, synced or not; empty if there is none.
    pub fn read(&self, file: &str) -> &[u8] {
        self.files.get(file).map_or(&[], Vec::as_slice)
    }

    /// Bytes in all files.
    pub fn used(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// Writes to the end of a file.
    ///
    /// # Errors
    /// [`DiskFull`].
    pub fn append(&mut self, file: &str, bytes: &[u8]) -> Result<(), DiskFull> {
        self.room(bytes.len())?;
        self.write(Write::Append(file.to_owned(), bytes.to_vec()));
        Ok(())
    }

    /// Puts a new file in the place of another, whole or not at all (a new file, renamed).
    ///
    /// # Errors
    /// [`DiskFull`].
    pub fn replace(&mut self, file: &str, bytes: &[u8]) -> Result<(), DiskFull> {
        self.room(bytes.len())?;
        self.write(Write::Replace(file.to_owned(), bytes.to_vec()));
        Ok(())
    }

    /// Cuts a file to so many bytes. Needs no room.
    pub fn truncate(&mut self, file: &str, bytes: usize) {
        self.write(Write::Cut(file.to_owned(), bytes));
    }

    /// Writes into a file, from a byte on; where the file ends before, there are zeros. When the power goes
    /// any of its sectors may have been written, before others that were written earlier.
    ///
    /// # Errors
    /// [`DiskFull`].
    pub fn write_at(&mut self, file: &str, at: usize, bytes: &[u8]) -> Result<(), DiskFull> {
        self.room((at + bytes.len()).saturating_sub(self.read(file).len()))?;
        self.write(Write::At(file.to_owned(), at, bytes.to_vec()));
        Ok(())
    }

    /// Lets a file grow to so many bytes, by zeros.
    ///
    /// # Errors
    /// [`DiskFull`].
    pub fn grow(&mut self, file: &str, bytes: usize) -> Result<(), DiskFull> {
        self.room(bytes.saturating_sub(self.read(file).len()))?;
        self.write(Write::Grow(file.to_owned(), bytes));
        Ok(())
    }

    /// All writes so far, to be named to [`Disk::sync_to`].
    pub fn mark(&self) -> u64 {
        self.done + self.pending.len() as u64
    }

    /// The writes up to a mark are durable.
    pub fn sync_to(&mut self, mark: u64) {
        while self.done < mark
            && let Some(w) = self.pending.pop_front()
        {
            put(&mut self.durable, w);
            self.done += 1;
        }
    }

    /// The power goes. Of the writes that were not synced some first ones may survive, the last of them in
    /// part with odds of `torn` thousandths.
    pub fn lose_power(&mut self, random: &mut Random, torn: u32) {
        let survive = random.below(self.pending.len() as u64 + 1);
        self.sync_to(self.done + survive);
        if let Some(Write::Append(file, mut bytes)) = self.pending.pop_front()
            && random.odds(torn)
        {
            let kept = random.below(bytes.len() as u64) as usize;
            if random.odds(500) {
                // The file had grown already, its blocks were not written.
                bytes[kept..].fill(0);
            } else {
                bytes.truncate(kept);
            }
            put(&mut self.durable, Write::Append(file, bytes));
        }
        if torn > 0 {
            self.tear(random);
        }
        self.pending.clear();
        self.files = self.durable.clone();
    }

    /// Of what was written into files any sector may be there.
    fn tear(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.pending) {
            match write {
                Write::At(file, at, bytes) => {
                    for (n, sector) in bytes.chunks(SECTOR).enumerate().filter(|_| random.odds(500)) {
                        let sector = Write::At(file.clone(), at + n * SECTOR, sector.to_vec());
                        put(&mut self.durable, sector);
                    }
                }
                Write::Grow(..) if random.odds(500) => put(&mut self.durable, write),
                _ => {}
            }
        }
    }

    /// Whether there is no room, whatever the capacity.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Bytes that may still be written.
    pub fn free(&self) -> usize {
        if self.full { 0 } else { self.capacity.saturating_sub(self.used()) }
    }

    fn room(&self, bytes: usize) -> Result<(), DiskFull> {
        // What changes no length of a file finds its place.
        if bytes > 0 && bytes > self.free() { Err(DiskFull) } else { Ok(()) }
    }

    /// Writes, whether or not there is room.
    pub(crate) fn write(&mut self, w: Write) {
        put(&mut self.files, w.clone());
        self.pending.push_back(w);
    }
}

fn put(files: &mut Files, write: Write) {
    match write {
        Write::Append(file, bytes) => files.entry(file).or_default().extend(bytes),
        Write::Replace(file, bytes) => drop(files.insert(file, bytes)),
        Write::Cut(file, bytes) => files.entry(file).or_default().truncate(bytes),
        Write::At(file, at, bytes) => {
            let file = files.entry(file).or_default();
            let end = at + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[at..end].copy_from_slice(&bytes);
        }
        Write::Grow(file, bytes) => {
            let file = files.entry(file).or_default();
            if file.len() < bytes {
                file.resize(bytes, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, DiskFull};
    use crate::random::Random;

    #[test]
    fn what_is_synced_survives_and_of_the_rest_only_a_beginning() {
        let (mut whole, mut torn) = (0, 0);
        for seed in 0..200 {
            let mut d = Disk::new(1000);
            d.append("log", b"synced.").unwrap();
            d.sync_to(d.mark());
            d.append("log", b"first.").unwrap();
            d.append("log", b"second.").unwrap();
            d.lose_power(&mut Random::new(seed), 500);
            let left = d.read("log").to_vec();
            let all = b"synced.first.second.";
            let same = left.iter().zip(all).take_while(|(a, b)| a == b).count();
            assert!(same >= 7, "seed {seed}: {left:?}");
            assert!(left[same..].iter().all(|b| *b == 0), "seed {seed}: {left:?}");
            whole += usize::from(left.len() == all.len() && same == all.len());
            torn += usize::from(left.len() > same || !matches!(same, 7 | 13 | 20));
        }
        assert!(whole > 20 && torn > 20, "{whole} {torn}");
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one() {
        for seed in 0..50 {
            let mut d = Disk::new(1000);
            d.replace("vote", b"old").unwrap();
            d.sync_to(d.mark());
            d.replace("vote", b"newer").unwrap();
            d.lose_power(&mut Random::new(seed), 1000);
            assert!(matches!(d.read("vote"), b"old" | b"newer"), "seed {seed}");
        }
    }

    #[test]
    fn a_full_disk_refuses_and_can_be_cut() {
        let mut d = Disk::new(4);
        d.append("a", b"123").unwrap();
        assert_eq!(d.append("a", b"45"), Err(DiskFull));
        assert_eq!(d.read("a"), b"123");
        d.truncate("a", 1);
        d.append("a", b"23").unwrap();
        d.set_full(true);
        assert_eq!(d.append("a", b"4"), Err(DiskFull));
    }
}
