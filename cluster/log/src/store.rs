//! Log, vote and snapshot of one member of a group, in one file. What a call here has written is durable when
//! it returns, except where it says otherwise.
//!
//! ```text
//!   table log        index    ─► record         table state   "owner"      group and node
//!   table snapshot   "cover"  ─► what it covers               "vote"       for whom, in which term
//!                    "image"  ─► its series                   "committed"  decided up to here (a hint)
//!   table image      series, n ─► part n of its bytes         "purged"     entries up to here are gone
//!                                                             "openings"   how often it was opened
//! ```
//! Each value is `hash (8 bytes) │ version │ record`. The hash covers table and key as well, so a value is
//! never taken for another one. Opening reads all of it: a member that cannot trust its file must not vote.

mod image;
mod log;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use log::failed;
pub(crate) use record::try_value;

use crate::disk::{Below, Disk};
use crate::error::StoreError;
use crate::record::{Ballot, Mark, Record};
use dvs_abi::NodeId;
use redb::{Builder, Database, Durability, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const STATE: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
const SNAPSHOT: TableDefinition<&str, &[u8]> = TableDefinition::new("snapshot");
const IMAGE: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("image");
/// Pages the library keeps in memory: a log is written far more than it is read.
const CACHE_BYTES: usize = 8 << 20;

/// Which group: that of the control plane is 0, each replicated service has its own.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupId(pub u64);

/// Whose store it is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
struct Owner {
    group: GroupId,
    node: NodeId,
}

/// The store of one member. Clones are the same store.
///
/// A member that lost its store has forgotten whom it voted for: it has to be removed from its group before
/// it may join again. Therefore [`Store::open`] makes none, and [`Store::create`] opens none.
#[derive(Clone)]
pub struct Store {
    base: Arc<Database>,
    path: Arc<PathBuf>,
    owner: Owner,
    openings: u64,
    failed: Arc<Mutex<Option<StoreError>>>,
    /// Last entries of snapshots that are being installed; their entries are not let go of before.
    arriving: Arc<Mutex<Vec<u64>>>,
    /// Series of snapshots that are being written.
    series: Arc<Mutex<image::Series>>,
    /// Decided up to here, not written yet.
    decided: Arc<Mutex<Option<Mark>>>,
}

impl Store {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one; those of the disk.
    pub fn create(path: &Path, group: GroupId, node: NodeId) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => StoreError::Exists(path.to_owned()),
            _ => record::io(path, &e),
        })?;
        let made = guarded(path, || builder().create(path).map_err(|e| record::database(path, e)));
        let made = made.and_then(|base| Self::found(base, path, Owner { group, node }));
        let synced = made.and_then(|store| match path.parent().map(File::open) {
            Some(Ok(folder)) => folder.sync_all().map(|()| store).map_err(|e| record::io(path, &e)),
            _ => Ok(store),
        });
        if synced.is_err() {
            // It was made by this call and holds nothing; if it stays, the next one says that it is not
            // whole.
            let _ = std::fs::remove_file(path);
        }
        synced
    }

    /// Opens one and checks all that is in it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Foreign`], [`StoreError::Newer`], [`StoreError::Damaged`];
    /// those of the disk.
    pub fn open(path: &Path, group: GroupId, node: NodeId) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let base = guarded(path, || builder().open(path).map_err(|e| record::database(path, e)))?;
        Self::resume(base, path, Owner { group, node })
    }

    /// Makes one on a disk of the caller's; `name` is for messages.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create_on(disk: impl Disk, name: &Path, group: GroupId, node: NodeId) -> Result<Self, StoreError> {
        let make = || builder().create_with_backend(Below(disk)).map_err(|e| record::database(name, e));
        Self::found(guarded(name, make)?, name, Owner { group, node })
    }

    /// Opens one on a disk of the caller's and checks all that is in it; `name` is for messages.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(disk: impl Disk, name: &Path, group: GroupId, node: NodeId) -> Result<Self, StoreError> {
        let make = || builder().create_with_backend(Below(disk)).map_err(|e| record::database(name, e));
        Self::resume(guarded(name, make)?, name, Owner { group, node })
    }

    /// The group it belongs to.
    pub fn group(&self) -> GroupId {
        self.owner.group
    }

    /// The node it belongs to.
    pub fn node(&self) -> NodeId {
        self.owner.node
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it can no longer be used, if so.
    pub fn failure(&self) -> Option<StoreError> {
        self.failed_slot().clone()
    }

    /// How often it was opened: what is numbered from here is never numbered twice.
    pub(crate) fn openings(&self) -> u64 {
        self.openings
    }

    fn found(base: Database, path: &Path, owner: Owner) -> Result<Self, StoreError> {
        let mut store = Self::around(base, path, owner);
        guarded(path, || {
            store.write(|w| {
                w.open_table(LOG).map_err(record::table)?;
                w.open_table(SNAPSHOT).map_err(record::table)?;
                record::put(w, STATE, "owner", &owner)
            })
        })?;
        store.openings = store.count_opening()?;
        Ok(store)
    }

    fn resume(mut base: Database, path: &Path, owner: Owner) -> Result<Self, StoreError> {
        guarded(path, || match base.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(record::damaged(path, "its pages do not fit their sums")),
            Err(e) => Err(record::database(path, e)),
        })?;
        let mut store = Self::around(base, path, owner);
        guarded(path, || store.check())?;
        store.number_series()?;
        store.openings = store.count_opening()?;
        Ok(store)
    }

    fn around(base: Database, path: &Path, owner: Owner) -> Self {
        let (base, path) = (Arc::new(base), Arc::new(path.to_owned()));
        let (failed, arriving, decided) = (Arc::default(), Arc::default(), Arc::default());
        Store { base, path, owner, openings: 0, failed, arriving, series: Arc::default(), decided }
    }

    fn count_opening(&self) -> Result<u64, StoreError> {
        let openings = self.state::<u64>("openings")?.unwrap_or(0) + 1;
        self.put_state("openings", &openings)?;
        Ok(openings)
    }

    /// Reads all there is.
    fn check(&self) -> Result<(), StoreError> {
        let Some(owner) = self.state::<Owner>("owner")? else {
            return Err(record::damaged(&self.path, "it does not say whose it is"));
        };
        if owner != self.owner {
            let what = format!("group {} of node {}", owner.group.0, owner.node);
            return Err(StoreError::Foreign { path: self.path.to_path_buf(), what });
        }
        self.state::<Ballot>("vote")?;
        self.state::<Mark>("committed")?;
        let first = self.state::<Mark>("purged")?.map_or(0, |m| m.index + 1);
        for (index, record) in (first..).zip(self.records(0, u64::MAX)?) {
            if record.mark.index != index {
                return Err(record::damaged(&self.path, &format!("entry {index} is missing")));
            }
        }
        self.snapshot().map(|_| ())
    }

    fn failed_slot(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the first failure.
    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.failed_slot().get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Makes a change, and what was decided meanwhile, durable.
    fn write(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), record::Trouble>,
    ) -> Result<(), StoreError> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let attempt = || {
            let mut transaction = self.base.begin_write().map_err(record::begun)?;
            transaction.set_durability(Durability::Immediate).map_err(record::other)?;
            if let Some(mark) = self.decided().take() {
                record::put(&transaction, STATE, "committed", &mark)?;
            }
            change(&transaction)?;
            transaction.commit().map_err(record::committed)
        };
        self.noted(attempt().map_err(|t| t.at(&self.path)))
    }

    fn state<T: for<'a> Deserialize<'a>>(&self, key: &'static str) -> Result<Option<T>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(STATE).map_err(record::table)?;
            let value = table.get(key).map_err(record::storage)?;
            value.map(|v| record::decode("state", key.as_bytes(), v.value())).transpose()
        };
        self.noted(attempt().map_err(|t| t.at(&self.path)))
    }

    fn put_state<T: Serialize>(&self, key: &'static str, value: &T) -> Result<(), StoreError> {
        self.write(|w| record::put(w, STATE, key, value))
    }

    fn decided(&self) -> MutexGuard<'_, Option<Mark>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries from `from` up to but not including `to`, as many as there are.
    fn records(&self, from: u64, to: u64) -> Result<Vec<Record>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(LOG).map_err(record::table)?;
            let mut out = Vec::new();
            for row in table.range(from..to).map_err(record::storage)? {
                let (index, value) = row.map_err(record::storage)?;
                let index = index.value();
                let found: Record = record::decode("log", &index.to_le_bytes(), value.value())?;
                if found.mark.index != index {
                    return Err(record::Trouble::Damaged(format!("entry {index} says it is another")));
                }
                out.push(found);
            }
            Ok(out)
        };
        self.noted(attempt().map_err(|t: record::Trouble| t.at(&self.path)))
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Runs what reads an unchecked file: where the library panics over one, the file is damaged too.
fn guarded<T>(path: &Path, open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(record::damaged(path, "reading it broke an assumption of its format")))
}
