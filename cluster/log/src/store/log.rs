//! The store as the consensus library uses it: entries and votes; the snapshot is in [`super::image`].
//!
//! Calls write and sync before they return, on the thread of the member: what the library goes on to
//! acknowledge is on the disk by then. `committed` is the exception: it is a hint, and durable with the next
//! write.

use super::{LOG, STATE, Store, record};
use crate::error::StoreError;
use crate::record::{Ballot, Mark, Record};
use crate::types::{Entry, LogId, StorageError, Types, Vote};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftLogReader, StorageIOError};
use redb::{ReadableDatabase, ReadableTable};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{MutexGuard, PoisonError};

/// Bytes of entries read at a time when a member has to be sent many.
const READ_ENTRIES_MAX: u64 = 256;

/// The library's error for one of ours.
pub(crate) fn failed(error: StoreError) -> StorageError {
    StorageIOError::write(AnyError::new(&error)).into()
}

impl Store {
    /// Tells that the library is about to be given a snapshot up to `last`; ends when the guard is dropped.
    pub(crate) fn arrives(&self, last: u64) -> Arrival<'_> {
        self.arriving().push(last);
        Arrival { store: self, last }
    }

    fn arriving(&self) -> MutexGuard<'_, Vec<u64>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry, or the last one that is gone if there is none.
    pub(crate) fn last_mark(&self) -> Result<Option<Mark>, StoreError> {
        Ok(self.last()?.or(self.state::<Mark>("purged")?))
    }

    fn add(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), StoreError> {
        self.write(|w| {
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

/// A snapshot that is being installed.
pub(crate) struct Arrival<'a> {
    store: &'a Store,
    last: u64,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut arriving = self.store.arriving();
        if let Some(at) = arriving.iter().position(|last| *last == self.last) {
            arriving.swap_remove(at);
        }
    }
}

/// Lets go of the entries up to and with `last`.
pub(super) fn cut_front(w: &redb::WriteTransaction, last: &LogId) -> Result<(), record::Trouble> {
    record::put(w, STATE, "purged", &Mark::from(last))?;
    let mut table = w.open_table(LOG).map_err(record::table)?;
    table.retain_in(..=last.index, |_, _| false).map_err(record::storage)
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
        let last_purged_log_id = self.state::<Mark>("purged").map_err(failed)?.map(LogId::from);
        let last_log_id = self.last_mark().map_err(failed)?.map(LogId::from);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.put_state("vote", &Ballot::from(vote)).map_err(failed)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.state::<Ballot>("vote").map_err(failed)?.map(Vote::from))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        *self.decided() = committed.as_ref().map(Mark::from);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let waiting = *self.decided();
        let mark = waiting.map_or_else(|| self.state::<Mark>("committed"), |mark| Ok(Some(mark)));
        Ok(mark.map_err(failed)?.map(LogId::from))
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
        self.write(cut).map_err(failed)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // The library asks for this when it has handed a snapshot that arrived to another task, and goes on
        // only when that one is done: until then the entries are all there is.
        let early = self.arriving().contains(&log_id.index);
        if early && self.covered().map_err(failed)?.map(|id| id.index) < Some(log_id.index) {
            return Ok(());
        }
        self.write(|w| cut_front(w, &log_id)).map_err(failed)
    }
}
