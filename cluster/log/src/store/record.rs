//! Values of a store: hash, version, record; and what goes wrong below.

use crate::error::StoreError;
use redb::{CommitError, DatabaseError, StorageError, Table, TableDefinition, TableError, TransactionError};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::io;
use std::path::Path;

const HASH_BYTES: usize = 8;

/// A record of any version so far. Variants are never reordered or removed.
#[derive(Serialize, Deserialize)]
enum Stored<T> {
    V1(T),
}

/// What went wrong, before it is known where.
#[derive(Debug)]
pub(super) enum Trouble {
    Damaged(String),
    Newer(String),
    Full,
    Io(String),
}

impl Trouble {
    pub fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Trouble::Damaged(what) => StoreError::Damaged { path, what },
            Trouble::Newer(what) => StoreError::Newer { path, what },
            Trouble::Full => StoreError::DiskFull(path),
            Trouble::Io(what) => StoreError::Io { path, what },
        }
    }
}

fn hash(table: &str, key: &[u8], body: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(table.as_bytes()).update(&(key.len() as u64).to_le_bytes()).update(key).update(body);
    let mut out = [0; HASH_BYTES];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..HASH_BYTES]);
    out
}

/// The bytes of a value.
pub(super) fn encode<T: Serialize>(table: &str, key: &[u8], value: &T) -> Result<Vec<u8>, Trouble> {
    seal(table, key, &Stored::V1(value))
}

/// The bytes of a value that has its version in itself.
pub(super) fn seal<T: Serialize>(table: &str, key: &[u8], stored: &T) -> Result<Vec<u8>, Trouble> {
    let start = vec![0; HASH_BYTES];
    let mut out = postcard::to_extend(stored, start).map_err(|e| Trouble::Io(e.to_string()))?;
    let sum = hash(table, key, &out[HASH_BYTES..]);
    out[..HASH_BYTES].copy_from_slice(&sum);
    Ok(out)
}

/// The value of bytes.
pub(super) fn decode<'a, T: Deserialize<'a>>(table: &str, key: &[u8], bytes: &'a [u8]) -> Result<T, Trouble> {
    let Stored::V1(value) = unseal(table, key, bytes, 1)?;
    Ok(value)
}

/// The value of bytes that has its version in itself; there are so many versions.
pub(super) fn unseal<'a, T: Deserialize<'a>>(
    table: &str,
    key: &[u8],
    bytes: &'a [u8],
    versions: u8,
) -> Result<T, Trouble> {
    let place = || match <[u8; 8]>::try_from(key) {
        Ok(index) if table == "log" => format!("entry {}", u64::from_le_bytes(index)),
        _ => format!("{table}, {}", String::from_utf8_lossy(key)),
    };
    let Some((sum, body)) = bytes.split_at_checked(HASH_BYTES) else {
        return Err(Trouble::Damaged(format!("{} is cut short", place())));
    };
    if sum != hash(table, key, body) {
        return Err(Trouble::Damaged(format!("{} does not fit its sum", place())));
    }
    value(body, versions, place)
}

/// The value of bytes that fit their sum.
fn value<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    versions: u8,
    place: impl Fn() -> String,
) -> Result<T, Trouble> {
    if body.first().is_some_and(|version| *version >= versions) {
        return Err(Trouble::Newer(format!("{} has version {}", place(), u16::from(body[0]) + 1)));
    }
    postcard::from_bytes(body).map_err(|e| Trouble::Damaged(format!("{}: {e}", place())))
}

/// Reads what may be a value of a store, were its sum right, and checks that it comes back.
pub(crate) fn try_value<T: Serialize + for<'a> Deserialize<'a> + PartialEq + Debug>(
    body: &[u8],
) -> Option<T> {
    let Stored::V1(read): Stored<T> = value(body, 1, String::new).ok()?;
    let bytes = encode("log", b"key", &read).ok()?;
    assert_eq!(decode::<T>("log", b"key", &bytes).ok().as_ref(), Some(&read), "what encodes decodes");
    Some(read)
}

/// Writes a value under a name.
pub(super) fn put<T: Serialize>(
    transaction: &redb::WriteTransaction,
    table: TableDefinition<'static, &'static str, &'static [u8]>,
    key: &str,
    value: &T,
) -> Result<(), Trouble> {
    let name = redb::TableHandle::name(&table).to_owned();
    let mut table: Table<'_, &str, &[u8]> = transaction.open_table(table).map_err(self::table)?;
    table.insert(key, encode(&name, key.as_bytes(), value)?.as_slice()).map_err(storage)?;
    Ok(())
}

pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    Trouble::Damaged(what.to_owned()).at(path)
}

pub(super) fn io(path: &Path, error: &io::Error) -> StoreError {
    system(error).at(path)
}

fn system(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Trouble::Full
        }
        // Fewer bytes than its own head says, or not its head: the file was cut or is another kind of file.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Trouble::Damaged(error.to_string()),
        _ => Trouble::Io(error.to_string()),
    }
}

pub(super) fn storage(error: StorageError) -> Trouble {
    match error {
        StorageError::Io(e) => system(&e),
        StorageError::Corrupted(what) => Trouble::Damaged(what),
        e => Trouble::Io(e.to_string()),
    }
}

pub(super) fn other(error: impl std::fmt::Display) -> Trouble {
    Trouble::Io(error.to_string())
}

pub(super) fn begun(error: TransactionError) -> Trouble {
    match error {
        TransactionError::Storage(e) => storage(e),
        e => other(e),
    }
}

pub(super) fn committed(error: CommitError) -> Trouble {
    match error {
        CommitError::Storage(e) => storage(e),
        e => other(e),
    }
}

pub(super) fn table(error: TableError) -> Trouble {
    match error {
        TableError::Storage(e) => storage(e),
        // A table is missing, or has other types than ours: not a file of ours, or not whole.
        e => Trouble::Damaged(e.to_string()),
    }
}

pub(super) fn database(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Busy(path.to_owned()),
        DatabaseError::UpgradeRequired(version) => damaged(path, &format!("format {version} is too old")),
        DatabaseError::Storage(e) => storage(e).at(path),
        e => Trouble::Damaged(e.to_string()).at(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_its_key_and_its_version() {
        let bytes = encode("state", b"vote", &7u64).unwrap();
        assert_eq!(decode::<u64>("state", b"vote", &bytes).unwrap(), 7);
        assert!(matches!(decode::<u64>("state", b"other", &bytes), Err(Trouble::Damaged(_))));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert!(matches!(decode::<u64>("state", b"vote", &torn), Err(Trouble::Damaged(_))));
            assert!(decode::<u64>("state", b"vote", &bytes[..at]).is_err());
        }
        for version in [1, 255] {
            let body = [version, 7];
            let newer = [&hash("state", b"vote", &body)[..], &body].concat();
            assert!(matches!(decode::<u64>("state", b"vote", &newer), Err(Trouble::Newer(_))));
        }
    }
}
