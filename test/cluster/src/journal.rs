//! What happened, written so that it outlives the writer's `kill -9`.
//!
//! Each helper has a file of 64-byte records, which never cross a page: one write puts a record into the page
//! cache whole or not at all, and what is there stays when the writer dies. Record 0 of a client is
//! overwritten before every call and says which one it is in; the others are appended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a record.
const RECORD: usize = 64;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A client is in this call.
    Begun = 1,
    /// A client's call ended well.
    Good = 2,
    /// A client's call ended with an error.
    Bad = 3,
    /// A server consumed a message.
    Consumed = 4,
}

/// One record. Fields that do not apply are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it says.
    pub what: What,
    /// Incarnation of the client.
    pub client: u32,
    /// Number of the call in it.
    pub seq: u32,
    /// Type of the message; see [`crate::roles`].
    pub call: u32,
    /// Number of the server that was called.
    pub server: u32,
    /// Error code.
    pub code: i32,
    /// 0 no, 1 yes, 2 unknown.
    pub effect: u32,
    /// When the call began, ns on the node's clock.
    pub begun: u64,
    /// When it ended.
    pub ended: u64,
    /// How long it might take, ns.
    pub allowed: u64,
}

impl Entry {
    fn words(&self) -> [u64; 8] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        [
            self.what as u64,
            pair(self.client, self.seq),
            pair(self.call, self.server),
            pair(self.code as u32, self.effect),
            self.begun,
            self.ended,
            self.allowed,
            0,
        ]
    }

    fn of(w: [u64; 8]) -> Option<Entry> {
        let what = match w[0] {
            1 => What::Begun,
            2 => What::Good,
            3 => What::Bad,
            4 => What::Consumed,
            _ => return None,
        };
        let (low, high) = (|n: u64| n as u32, |n: u64| (n >> 32) as u32);
        Some(Entry {
            what,
            client: low(w[1]),
            seq: high(w[1]),
            call: low(w[2]),
            server: high(w[2]),
            code: low(w[3]) as i32,
            effect: high(w[3]),
            begun: w[4],
            ended: w[5],
            allowed: w[6],
        })
    }
}

/// Writes a journal.
pub struct Journal {
    file: File,
    next: u64,
}

impl Journal {
    /// A new journal.
    ///
    /// # Errors
    /// Of the file system.
    pub fn create(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().create_new(true).write(true).open(path)?;
        Ok(Journal { file, next: 1 })
    }

    /// Overwrites record 0.
    ///
    /// # Errors
    /// Of the file system.
    pub fn begin(&self, entry: &Entry) -> io::Result<()> {
        self.write(0, entry)
    }

    /// Appends.
    ///
    /// # Errors
    /// Of the file system.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.write(self.next, entry)?;
        self.next += 1;
        Ok(())
    }

    fn write(&self, at: u64, entry: &Entry) -> io::Result<()> {
        let mut bytes = [0; RECORD];
        for (into, word) in bytes.chunks_exact_mut(8).zip(entry.words()) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        self.file.write_all_at(&bytes, at * RECORD as u64)
    }
}

/// Reads what a helper wrote: record 0 if it was written, and the others in order. A helper killed before it
/// made its journal has written nothing.
pub fn read(path: &Path) -> (Option<Entry>, Vec<Entry>) {
    let bytes = std::fs::read(path).unwrap_or_default();
    let mut entries = bytes.chunks_exact(RECORD).map(|chunk| {
        let mut words = [0; 8];
        for (word, from) in words.iter_mut().zip(chunk.chunks_exact(8)) {
            *word = from.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        Entry::of(words)
    });
    let first = entries.next().flatten();
    (first, entries.map_while(|e| e).collect())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Journal, What, read};

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        assert_eq!(read(&path), (None, vec![]));
        let mut e = Entry {
            what: What::Begun,
            client: 7,
            seq: u32::MAX,
            call: 3,
            server: 2,
            code: -105,
            effect: 2,
            begun: 11,
            ended: u64::MAX,
            allowed: 13,
        };
        let mut j = Journal::create(&path).unwrap();
        j.begin(&e).unwrap();
        e.what = What::Consumed;
        j.add(&e).unwrap();
        j.add(&e).unwrap();
        let (first, rest) = read(&path);
        assert_eq!((first.unwrap().what, rest), (What::Begun, vec![e, e]));
    }
}
