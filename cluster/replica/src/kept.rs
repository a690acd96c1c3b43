//! The list as this replica last knew it, in a file beside its log: with it a replica that is started again
//! finds its seat, and the others, before it has read anything else.
//!
//! ```text
//!   version 3
//!   seat 1 node 1 since 0
//!   seat 3 node 7 since 2 leaves
//! ```

use crate::list::List;
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where it is, of a replica with this log.
pub fn file(store: &Path) -> PathBuf {
    store.with_extension("list")
}

/// The list that was kept, if one was.
///
/// # Errors
/// Of the file; `InvalidData` when it holds no list.
pub fn read(store: &Path) -> Result<Option<List>, Error> {
    match std::fs::read_to_string(file(store)) {
        Ok(text) => List::parse(&text)
            .filter(|list| list.is_sound() || list.version() > 0)
            .map(Some)
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "it holds no list of replicas")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Keeps a list: after this the old one or the new one is there, whatever happens.
///
/// # Errors
/// Of the file.
pub fn write(store: &Path, list: &List) -> Result<(), Error> {
    let (path, new) = (file(store), store.with_extension("list-new"));
    let mut out = std::fs::File::create(&new)?;
    out.write_all(list.to_string().as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&new, &path)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// Puts a log aside that belongs to a replica that is out: whoever comes back gets all anew.
///
/// # Errors
/// Of the files.
pub fn put_aside(store: &Path) -> Result<(), Error> {
    match std::fs::rename(store, store.with_extension("out")) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Change;
    use dvs_abi::NodeId;

    #[test]
    fn a_list_is_read_as_it_was_written_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("kv.log");
        assert_eq!(read(&store).unwrap(), None);
        let list = List::founding(&[NodeId(1), NodeId(7)]).with(Change::Add(NodeId(2))).unwrap();
        let list = list.with(Change::Remove(NodeId(1))).unwrap();
        for list in [&list, &list.with(Change::Gone(NodeId(1))).unwrap()] {
            write(&store, list).unwrap();
            assert_eq!(read(&store).unwrap().as_ref(), Some(list));
        }
        for nonsense in ["", "version x", "version 1\nseat 9 node 1 since 0\n", "version 0\n"] {
            std::fs::write(file(&store), nonsense).unwrap();
            assert!(read(&store).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_log_is_put_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("kv.log");
        std::fs::write(&store, "old").unwrap();
        put_aside(&store).unwrap();
        put_aside(&store).unwrap();
        assert!(!store.exists());
        assert_eq!(std::fs::read(folder.path().join("kv.out")).unwrap(), b"old");
    }
}
