//! What is known of a file, and the list of a folder as it travels.
//!
//! A page of a list is a row of `postcard` records in the client's buffer, sorted by name; the last name is
//! where the next page begins. Names come from another machine, so each is checked before it is used.

use crate::path::is_name;
use serde::{Deserialize, Serialize};

/// A blake3 digest.
pub type Hash = [u8; 32];

/// What kind of thing a name stands for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; copied as such, never followed.
    Link,
    /// A device, socket or pipe; not copied.
    Other,
}

/// What is known of a file.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Its kind.
    pub kind: FileKind,
    /// Bytes of a file.
    pub size: u64,
    /// When it was changed last: seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_ns: u32,
    /// Permissions, without set-user-id and set-group-id.
    pub mode: u32,
    /// Its number on its disk.
    pub inode: u64,
}

/// What must stay the same while a file is copied.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Last change, seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Its number on its disk.
    pub inode: u64,
}

/// What a file gets at the end of its copy.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finish {
    /// Permissions.
    pub mode: u32,
    /// Last change, seconds and nanoseconds.
    pub mtime: (i64, u32),
}

impl Meta {
    /// What must stay the same while it is copied.
    pub fn stamp(&self) -> Stamp {
        Stamp { size: self.size, mtime: (self.mtime, self.mtime_ns), inode: self.inode }
    }

    /// What its copy gets.
    pub fn finish(&self) -> Finish {
        Finish { mode: self.mode, mtime: (self.mtime, self.mtime_ns) }
    }

    /// Whether `copy` is very likely a finished copy of this file: same length and time.
    pub fn same_as(&self, copy: &Meta) -> bool {
        self.kind == copy.kind && self.size == copy.size && self.finish().mtime == copy.finish().mtime
    }
}

/// One name of a folder.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// What it stands for.
    pub meta: Meta,
}

/// Writes as many entries as fit; how many, and the bytes they take.
pub fn write_page(entries: &[Entry], into: &mut [u8]) -> (usize, usize) {
    let (mut count, mut used) = (0, 0);
    for e in entries {
        let Ok(written) = postcard::to_slice(e, &mut into[used..]) else { break };
        used += written.len();
        count += 1;
    }
    (count, used)
}

/// Reads a page that `count` entries are said to be on; `None` for anything but that.
///
/// ```
/// use dvs_files::entry::{Entry, FileKind, Meta, read_page, write_page};
/// let meta = Meta { kind: FileKind::File, size: 1, mtime: 2, mtime_ns: 3, mode: 0o644, inode: 4 };
/// let list = [Entry { name: b"a".to_vec(), meta }, Entry { name: b"b".to_vec(), meta }];
/// let mut page = [0; 64];
/// let (n, used) = write_page(&list, &mut page);
/// assert_eq!(read_page(&page[..used], n, b"").as_deref(), Some(&list[..]));
/// assert_eq!(read_page(&page[..used], n, b"a"), None); // not after "a"
/// ```
pub fn read_page(mut bytes: &[u8], count: usize, after: &[u8]) -> Option<Vec<Entry>> {
    // An entry takes more than seven bytes, so a lie about the count reserves no memory worth the name.
    let mut out: Vec<Entry> = Vec::with_capacity(count.min(bytes.len() / 7 + 1));
    for _ in 0..count {
        let (e, rest): (Entry, _) = postcard::take_from_bytes(bytes).ok()?;
        let last = out.last().map_or(after, |l| &l.name);
        if !is_name(&e.name) || e.name.as_slice() <= last || e.meta.mtime_ns >= 1_000_000_000 {
            return None;
        }
        bytes = rest;
        out.push(e);
    }
    bytes.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn any_bytes_are_a_page(bytes in proptest::collection::vec(any::<u8>(), 0..256), n in 0usize..20) {
            for e in read_page(&bytes, n, b"").unwrap_or_default() {
                assert!(is_name(&e.name));
            }
        }
    }

    #[test]
    fn a_page_takes_what_fits() {
        let meta = Meta { kind: FileKind::File, size: u64::MAX, mtime: -1, mtime_ns: 3, mode: 0, inode: 4 };
        let list: Vec<Entry> = (0..100u8).map(|i| Entry { name: vec![b'a', i + 1], meta }).collect();
        let mut page = [0; 256];
        let (n, used) = write_page(&list, &mut page);
        assert!(n > 3 && n < 100);
        assert_eq!(read_page(&page[..used], n, b"a").as_deref(), Some(&list[..n]));
        assert_eq!(read_page(&page[..used], n + 1, b""), None);
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_names() {
        let meta = Meta { kind: FileKind::File, size: 0, mtime: 0, mtime_ns: 0, mode: 0, inode: 0 };
        for name in [&b".."[..], b"a/b", b"", b"\0"] {
            let mut page = [0; 64];
            let (n, used) = write_page(&[Entry { name: name.to_vec(), meta }], &mut page);
            assert_eq!(read_page(&page[..used], n, b""), None);
        }
    }
}
