//! Which blocks of the disk are free.
//!
//! ```text
//!  0            tables       base                                         end
//!  ├── tables ───►│   free   │  data, data, free, data, …  ── next ──►      │
//! ```
//! The tables grow from the front. Data is put behind `base`, from wherever the last was put; when there is
//! nothing left behind it, before it, from the back. What was freed is used again only when the tables that
//! no longer name it are on the disk: after a crash the old ones hold. What was taken since they were last
//! on the disk was never named by them, and is free at once.

use std::collections::BTreeMap;

/// The blocks of a disk.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Free: first block and how many. No two touch.
    free: BTreeMap<u64, u64>,
    free_blocks: u64,
    /// Freed since the tables were last on the disk.
    waiting: Vec<(u64, u64)>,
    waiting_blocks: u64,
    /// Taken since then.
    fresh: BTreeMap<u64, u64>,
    /// Where data begins if nothing else is said.
    base: u64,
    /// Where to look first.
    next: u64,
    /// The tables have these, from the front.
    tables: u64,
}

impl Space {
    /// All of so many blocks is free but the tables.
    pub fn new(blocks: u64, tables: u64) -> Self {
        let mut space = Space { tables, ..Space::default() };
        space.base = (blocks / 8).max(tables);
        space.next = space.base;
        if tables < blocks {
            space.give(tables, blocks - tables);
        }
        space
    }

    /// Free, now or after the next time the tables are on the disk.
    pub fn free_blocks(&self) -> u64 {
        self.free_blocks + self.waiting_blocks
    }

    /// Free now.
    pub fn ready(&self) -> u64 {
        self.free_blocks
    }

    /// How far the tables may grow now, in blocks.
    pub fn tables_limit(&self) -> u64 {
        let behind = self.free.get(&self.tables).copied().unwrap_or(0);
        self.tables + behind
    }

    /// The tables grow to so many blocks, or shrink; whether there was room.
    pub fn set_tables(&mut self, blocks: u64) -> bool {
        if blocks > self.tables {
            let more = blocks - self.tables;
            if self.tables_limit() < blocks {
                return false;
            }
            self.cut(self.tables, more);
        } else {
            self.give(blocks, self.tables - blocks);
        }
        self.tables = blocks;
        true
    }

    /// These are in use: said of all data when a volume is opened. False if they are not free, as two files'
    /// cannot be.
    pub fn claim(&mut self, first: u64, blocks: u64) -> bool {
        let found = self.free.range(..=first).next_back().map(|(f, n)| (*f, *n));
        match found {
            Some((f, n)) if first + blocks <= f + n => {
                self.cut(first, blocks);
                true
            }
            _ => false,
        }
    }

    /// Takes at most so many blocks, in one piece; nothing if none is free. The tables keep room to double
    /// in.
    pub fn take(&mut self, most: u64) -> Option<(u64, u64)> {
        let low = self.tables.saturating_mul(2);
        let from = self.next.max(low);
        let found = self.fitting(from, u64::MAX, most).or_else(|| self.fitting(low, from, most))?;
        let (first, blocks) = (found.0, found.1.min(most));
        self.cut(first, blocks);
        self.next = first + blocks;
        if self.next <= self.base && first >= self.base {
            self.next = self.base;
        }
        add(&mut self.fresh, first, blocks);
        Some((first, blocks))
    }

    /// The first piece of such a size between two places, else the largest.
    fn fitting(&self, from: u64, to: u64, most: u64) -> Option<(u64, u64)> {
        let before = self.free.range(..from).next_back().map(|(f, n)| (*f, *n));
        let before = before.filter(|(f, n)| f + n > from).map(|(f, n)| (from, f + n - from));
        let rest = self.free.range(from..to).map(|(f, n)| (*f, *n));
        let mut best: Option<(u64, u64)> = None;
        for (first, blocks) in before.into_iter().chain(rest).take(LOOK_MAX) {
            if blocks >= most {
                return Some((first, blocks));
            }
            if best.is_none_or(|(_, n)| n < blocks) {
                best = Some((first, blocks));
            }
        }
        best
    }

    /// These are not needed any more.
    pub fn release(&mut self, first: u64, blocks: u64) {
        let mut rest = (first, blocks);
        while rest.1 > 0 {
            let (fresh, n) = self.fresh_part(rest.0, rest.1);
            if fresh {
                remove(&mut self.fresh, rest.0, n);
                self.give(rest.0, n);
            } else {
                self.waiting.push((rest.0, n));
                self.waiting_blocks += n;
            }
            rest = (rest.0 + n, rest.1 - n);
        }
    }

    /// Whether a range begins with blocks taken since the last commit, and how many are like the first.
    fn fresh_part(&self, first: u64, blocks: u64) -> (bool, u64) {
        if let Some((f, n)) = self.fresh.range(..=first).next_back()
            && f + n > first
        {
            return (true, (f + n - first).min(blocks));
        }
        let next = self.fresh.range(first..).next().map_or(u64::MAX, |(f, _)| *f);
        (false, (next - first).min(blocks))
    }

    /// The tables are on the disk.
    pub fn committed(&mut self) {
        self.fresh.clear();
        self.waiting_blocks = 0;
        for (first, blocks) in std::mem::take(&mut self.waiting) {
            self.give(first, blocks);
        }
    }

    fn give(&mut self, first: u64, blocks: u64) {
        self.free_blocks += blocks;
        add(&mut self.free, first, blocks);
    }

    fn cut(&mut self, first: u64, blocks: u64) {
        self.free_blocks -= blocks;
        remove(&mut self.free, first, blocks);
    }
}

/// Free pieces looked at before the largest seen so far is taken.
const LOOK_MAX: usize = 1024;

/// Adds a piece to pieces that do not touch.
fn add(pieces: &mut BTreeMap<u64, u64>, mut first: u64, mut blocks: u64) {
    if blocks == 0 {
        return;
    }
    if let Some((f, n)) = pieces.range(..first).next_back().map(|(f, n)| (*f, *n))
        && f + n == first
    {
        pieces.remove(&f);
        (first, blocks) = (f, n + blocks);
    }
    if let Some(n) = pieces.remove(&(first + blocks)) {
        blocks += n;
    }
    pieces.insert(first, blocks);
}

/// Removes a part of one of the pieces.
fn remove(pieces: &mut BTreeMap<u64, u64>, first: u64, blocks: u64) {
    let Some((f, n)) = pieces.range(..=first).next_back().map(|(f, n)| (*f, *n)) else { return };
    pieces.remove(&f);
    if f < first {
        pieces.insert(f, first - f);
    }
    if f + n > first + blocks {
        pieces.insert(first + blocks, f + n - first - blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::Space;

    #[test]
    fn what_was_freed_waits_until_the_tables_are_on_the_disk_unless_they_never_named_it() {
        let mut s = Space::new(1000, 10);
        let all = s.free_blocks();
        let (first, n) = s.take(100).unwrap();
        assert_eq!((first, n), (125, 100));
        s.committed();
        s.release(first, 50);
        assert_eq!((s.free_blocks(), s.ready()), (all - 50, all - 100));
        let (fresh, _) = s.take(20).unwrap();
        s.release(fresh, 20);
        assert_eq!(s.ready(), all - 100);
        s.committed();
        assert_eq!(s.ready(), all - 50);
    }

    #[test]
    fn all_is_found_in_the_end_but_what_the_tables_need_to_grow() {
        let mut s = Space::new(1000, 10);
        let mut taken = 0;
        while let Some((_, n)) = s.take(64) {
            taken += n;
        }
        assert_eq!((taken, s.tables_limit()), (980, 20));
        assert!(s.set_tables(20) && !s.set_tables(21));
        assert!(s.set_tables(5));
        assert_eq!(s.ready(), 15);
    }

    #[test]
    fn nothing_is_claimed_twice() {
        let mut s = Space::new(1000, 10);
        assert!(s.claim(500, 10) && !s.claim(505, 10) && !s.claim(0, 1) && !s.claim(999, 2));
        assert!(s.claim(999, 1) && s.claim(510, 5));
    }

    /// Beside a plain map of each block.
    #[test]
    fn random_takes_and_releases_agree_with_a_map_of_every_block() {
        let mut chance = 7_u64;
        let mut below = |n: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % n
        };
        let (mut s, mut held) = (Space::new(512, 8), Vec::new());
        let mut owner = [false; 512];
        for _ in 0..20_000 {
            match below(5) {
                0 | 1 => {
                    if let Some((first, n)) = s.take(1 + below(40)) {
                        for b in first..first + n {
                            assert!(!owner[b as usize], "block {b} was given twice");
                            owner[b as usize] = true;
                        }
                        held.push((first, n));
                    }
                }
                2 | 3 if !held.is_empty() => {
                    let (first, n) = held.swap_remove(below(held.len() as u64) as usize);
                    let keep = below(n + 1);
                    (first + keep..first + n).for_each(|b| owner[b as usize] = false);
                    s.release(first + keep, n - keep);
                    if keep > 0 {
                        held.push((first, keep));
                    }
                }
                _ => s.committed(),
            }
            let used = owner.iter().filter(|o| **o).count() as u64;
            assert_eq!(s.free_blocks(), 512 - 8 - used);
        }
    }
}
