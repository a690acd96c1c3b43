//! The store as the consensus library uses it: entries, votes and the one snapshot.
//!
//! Calls write and sync before they return, on the thread of the member: what the library goes on to
//! acknowledge is on the disk by then. `committed` is the exception: it is a hint, and durable with the next
//! write.

use super::{LOG, SNAPSHOT, STATE, Store, record};
use crate::error::StoreError;
use crate::record::{Ballot, Cover, Mark, Record};
use crate::types::{Entry, LogId, SnapshotMeta, StorageError, Types, Vote};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftLogReader, StorageIOError};
use redb::{Durability, ReadableDatabase, ReadableTable};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

/// Bytes of entries read at a time when a member has to be sent many.
const READ_ENTRIES_MAX: u64 = 256;

/// The library's error for one of ours.
pub(crate) fn failed(error: StoreError) -> StorageError {
    StorageIOError::write(AnyError::new(&error)).into()
}

impl Store {
    /// The snapshot, if there is one.
    pub(crate) fn snapshot(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(SNAPSHOT).map_err(record::table)?;
            let cover = table.get("cover").map_err(record::storage)?;
            let image = table.get("image").map_err(record::storage)?;
            let (Some(cover), Some(image)) = (cover, image) else { return Ok(None) };
            let cover: Cover = record::decode("snapshot", b"cover", cover.value())?;
            let image: Vec<u8> = record::decode("snapshot", b"image", image.value())?;
            let meta =
                cover.checked().ok_or_else(|| record::Trouble::Damaged("the snapshot's members".into()))?;
            Ok(Some((meta, image)))
        };
        self.noted(attempt().map_err(|t: record::Trouble| t.at(&self.path)))
    }

    /// Keeps a snapshot in place of the one before, unless that covers more: one that was being written while
    /// another arrived is late.
    pub(crate) fn keep_snapshot(&self, meta: &SnapshotMeta, image: &Vec<u8>) -> Result<(), StoreError> {
        if self.snapshot()?.is_some_and(|(kept, _)| kept.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        self.write(Durability::Immediate, |w| {
            record::put(w, SNAPSHOT, "cover", &Cover::from(meta))?;
            record::put(w, SNAPSHOT, "image", image)
        })
    }

    fn add(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |w| {
            let mut table = w.open_table(LOG).map_err(record::table)?;
            for entry in entries {
                if let EntryPayload::Normal(batch) = &entry.payload {
                    batch.reaches_log();
                }
                let index = entry.log_id.index;
                let bytes = record::encode("log", &index.to_le_bytes(), &Record::from(&entry))?;
                table.insert(index, bytes.as_slice()).map_err(record::storage)?;
            }
            Ok(())
        })
    }

    fn last(&self) -> Result<Option<Mark>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(LOG).map_err(record::table)?;
            let last = table.last().map_err(record::storage)?;
            last.map(|(index, value)| {
                let key = index.value().to_le_bytes();
                record::decode::<Record>("log", &key, value.value()).map(|r| r.mark)
            })
            .transpose()
        };
        self.noted(attempt().map_err(|t| t.at(&self.path)))
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, StoreError> {
        let checked = |r: Record| {
            let at = r.mark.index;
            r.checked().ok_or_else(|| record::damaged(&self.path, &format!("entry {at} cannot be")))
        };
        self.records(from, to)?.into_iter().map(checked).collect()
    }
}

/// A range as first and one past the last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(n) => *n,
        Bound::Excluded(n) => n.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(n) => n.saturating_add(1),
        Bound::Excluded(n) => *n,
        Bound::Unbounded => u64::MAX,
    };
    (from, to.max(from))
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let (from, to) = bounds(&range);
        self.entries(from, to).map_err(failed)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.entries(start, end.min(start.saturating_add(READ_ENTRIES_MAX))).map_err(failed)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let purged = self.state::<Mark>("purged").map_err(failed)?.map(LogId::from);
        let last = self.last().map_err(failed)?.map(LogId::from);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.put_state("vote", &Ballot::from(vote), Durability::Immediate).map_err(failed)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.state::<Ballot>("vote").map_err(failed)?.map(Vote::from))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let Some(id) = committed else { return Ok(()) };
        self.put_state("committed", &Mark::from(&id), Durability::None).map_err(failed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.state::<Mark>("committed").map_err(failed)?.map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let result = self.add(entries);
        callback.log_io_completed(result.clone().map_err(io::Error::other));
        result.map_err(failed)
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let cut = |w: &redb::WriteTransaction| {
            let mut table = w.open_table(LOG).map_err(record::table)?;
            table.retain_in(log_id.index.., |_, _| false).map_err(record::storage)
        };
        self.write(Durability::Immediate, cut).map_err(failed)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let cut = |w: &redb::WriteTransaction| {
            record::put(w, STATE, "purged", &Mark::from(&log_id))?;
            let mut table = w.open_table(LOG).map_err(record::table)?;
            table.retain_in(..=log_id.index, |_, _| false).map_err(record::storage)
        };
        self.write(Durability::Immediate, cut).map_err(failed)
    }
}
