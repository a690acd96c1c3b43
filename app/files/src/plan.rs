//! What a copy has to do, from what is on both sides. Pure.
//!
//! ```text
//!   source           target has                            step
//!   folder           nothing | a folder                    MakeFolder | Keep (settled at the end)
//!   file             same length and time                  Keep
//!   file <= a block  anything but a folder                 Put
//!   longer file      anything but a folder                 Blocks, resuming in the unfinished copy
//!   link             anything but a folder                 Link
//!   device, socket   anything                              Ignore
//!   folder           no folder        ┐
//!   anything else    a folder         ┘                    Conflict
//! ```
//!
//! There is no journal beside an unfinished copy: its blocks are compared with the source's by digest before
//! they are kept. That is as cheap as reading it, and cannot be out of date.

use crate::entry::{FileKind, Meta};
use crate::path::part_name;
use dvs::limits::FILES_BLOCK_BYTES;
use std::collections::BTreeMap;

/// Something of the source: its path below the copied one (empty for that itself), and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The path.
    pub path: Vec<u8>,
    /// What is known.
    pub meta: Meta,
}

/// What is to be done about an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Make it.
    MakeFolder,
    /// Nothing: it is there.
    Keep,
    /// Copy it in one request.
    Put,
    /// Copy it block by block; so many bytes of an earlier try are there.
    Blocks {
        /// Bytes of the unfinished copy.
        part: u64,
    },
    /// Make it.
    Link,
    /// Nothing: it is no data.
    Ignore,
    /// It cannot be: a folder against something else.
    Conflict,
}

/// What is on the target's side, by path below the target.
pub type Present = BTreeMap<Vec<u8>, Meta>;

/// The key in [`Present`] of the unfinished copy of `path`.
pub fn part_key(path: &[u8]) -> Vec<u8> {
    match path.iter().rposition(|b| *b == b'/') {
        // Of the copied file itself: a key that no path below it has.
        None if path.is_empty() => b"/".to_vec(),
        None => part_name(path),
        Some(i) => [&path[..=i], &part_name(&path[i + 1..])].concat(),
    }
}

/// Decides about one item. `always`: also copy what seems to be there.
pub fn act(item: &Item, present: &Present, always: bool) -> Act {
    let there = present.get(&item.path);
    let folder_there = there.is_some_and(|m| m.kind == FileKind::Folder);
    match item.meta.kind {
        FileKind::Other => Act::Ignore,
        FileKind::Folder if folder_there => Act::Keep,
        FileKind::Folder if there.is_none() => Act::MakeFolder,
        FileKind::Folder => Act::Conflict,
        _ if folder_there => Act::Conflict,
        FileKind::Link => Act::Link,
        FileKind::File if !always && there.is_some_and(|m| item.meta.same_as(m)) => Act::Keep,
        FileKind::File if item.meta.size <= FILES_BLOCK_BYTES as u64 => Act::Put,
        FileKind::File => {
            let part = present.get(&part_key(&item.path)).filter(|m| m.kind == FileKind::File);
            Act::Blocks { part: part.map_or(0, |m| m.size) }
        }
    }
}

/// Blocks of a file of so many bytes.
pub fn blocks(size: u64) -> u64 {
    size.div_ceil(FILES_BLOCK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(kind: FileKind, size: u64) -> Meta {
        Meta { kind, size, mtime: 7, mtime_ns: 8, mode: 0o600, inode: 9 }
    }

    fn decide(kind: FileKind, size: u64, present: &[(&[u8], Meta)]) -> Act {
        let present = present.iter().map(|(p, m)| (p.to_vec(), *m)).collect();
        act(&Item { path: b"d/x".to_vec(), meta: meta(kind, size) }, &present, false)
    }

    #[test]
    fn the_table_of_the_head() {
        let block = FILES_BLOCK_BYTES as u64;
        let (file, folder) = (meta(FileKind::File, 5), meta(FileKind::Folder, 0));
        let at: &[u8] = b"d/x";
        assert_eq!(decide(FileKind::Folder, 0, &[]), Act::MakeFolder);
        assert_eq!(decide(FileKind::Folder, 0, &[(at, folder)]), Act::Keep);
        assert_eq!(decide(FileKind::Folder, 0, &[(at, file)]), Act::Conflict);
        assert_eq!(decide(FileKind::File, 5, &[(at, folder)]), Act::Conflict);
        assert_eq!(decide(FileKind::File, 5, &[(at, file)]), Act::Keep);
        assert_eq!(decide(FileKind::File, 6, &[(at, file)]), Act::Put);
        assert_eq!(decide(FileKind::File, block, &[]), Act::Put);
        assert_eq!(decide(FileKind::File, block + 1, &[]), Act::Blocks { part: 0 });
        let part = meta(FileKind::File, block);
        assert_eq!(
            decide(FileKind::File, block + 1, &[(b"d/.x.dvs-part", part)]),
            Act::Blocks { part: block }
        );
        assert_eq!(decide(FileKind::Link, 3, &[(at, file)]), Act::Link);
        assert_eq!(decide(FileKind::Other, 0, &[]), Act::Ignore);
    }

    #[test]
    fn keys_of_unfinished_copies() {
        assert_eq!(part_key(b""), b"/");
        assert_eq!(part_key(b"x"), b".x.dvs-part");
        assert_eq!(part_key(b"a/b/x"), b"a/b/.x.dvs-part");
    }
}
