//! The snapshot in a store, written and read in parts, so that a large one keeps nobody waiting: entries and
//! votes are written between two parts, by the same thread.
//!
//! ```text
//!   image ──► part 0 │ part 1 │ … each a change of its own ──► "cover", "image": this series ──► older ones
//!             of a series that nobody reads yet                in one change                     removed
//! ```
//! A crash on the way leaves the snapshot before as it was, and parts of a series that nobody names; these go
//! when the store is opened, or after the next snapshot.

use super::log::cut_front;
use super::{IMAGE, SNAPSHOT, Store, record};
use crate::error::StoreError;
use crate::record::Cover;
use crate::types::{LogId, SnapshotMeta};
use dvs_abi::limits::LOG_SNAPSHOT_BYTES_MAX;
use record::Trouble;
use redb::{ReadOnlyTable, ReadableDatabase, TableError};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use tokio::task::yield_now;

/// Bytes of a part: with its head it just fits one of the library's pages, which are powers of two.
const PART_BYTES: usize = (256 << 10) - 256;
/// Parts that are removed in one change.
const SWEPT_PARTS: u32 = 32;

/// The kept snapshot's bytes, or where they are. Variants are never reordered or removed.
#[derive(Serialize, Deserialize)]
enum Held<'a> {
    V1(&'a [u8]),
    V2 { series: u64, parts: u32, bytes: u64 },
}

/// Versions of it that can be read.
const HELD_VERSIONS: u8 = 2;

/// Bytes that are written as a whole; they are read as a slice.
struct Whole<'a>(&'a [u8]);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// The numbers of series.
#[derive(Default)]
pub(super) struct Series {
    next: u64,
    /// Those that are being written: not to be taken for left-overs.
    drafts: BTreeSet<u64>,
}

/// A series of parts that is being written, or is whole and not named yet.
struct Draft<'a> {
    store: &'a Store,
    series: u64,
    parts: u32,
    bytes: u64,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.store.series().drafts.remove(&self.series);
    }
}

/// A snapshot that is being read, as it was when that began.
struct Reading {
    parts: Option<ReadOnlyTable<(u64, u32), &'static [u8]>>,
    series: u64,
    next: u32,
    count: u32,
    total: u64,
    bytes: Vec<u8>,
}

fn key(series: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&series.to_le_bytes());
    key[8..].copy_from_slice(&part.to_le_bytes());
    key
}

impl Reading {
    fn of(held: &Held<'_>, read: &redb::ReadTransaction) -> Result<Reading, Trouble> {
        Ok(match *held {
            Held::V1(bytes) => Reading {
                parts: None,
                series: 0,
                next: 0,
                count: 0,
                total: bytes.len() as u64,
                bytes: bytes.to_vec(),
            },
            Held::V2 { series, parts: count, bytes: total } => {
                if total > LOG_SNAPSHOT_BYTES_MAX as u64 {
                    return Err(Trouble::Damaged(format!("a snapshot of {total} bytes")));
                }
                let parts = Some(read.open_table(IMAGE).map_err(record::table)?);
                let bytes = Vec::with_capacity(total as usize);
                Reading { parts, series, next: 0, count, total, bytes }
            }
        })
    }

    /// Reads the next part; whether there are more.
    fn step(&mut self) -> Result<bool, Trouble> {
        let Some(parts) = self.parts.as_ref().filter(|_| self.next < self.count) else {
            return match self.bytes.len() as u64 == self.total {
                true => Ok(false),
                false => Err(Trouble::Damaged("the snapshot has another length".into())),
            };
        };
        let key = key(self.series, self.next);
        let Some(part) = parts.get((self.series, self.next)).map_err(record::storage)? else {
            return Err(Trouble::Damaged(format!("part {} of the snapshot is missing", self.next)));
        };
        self.bytes.extend_from_slice(record::decode::<&[u8]>("image", &key, part.value())?);
        self.next += 1;
        Ok(true)
    }
}

impl Store {
    /// The snapshot, if there is one.
    pub(crate) fn snapshot(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
        let Some((meta, mut reading)) = self.reading()? else { return Ok(None) };
        while self.step(&mut reading)? {}
        Ok(Some((meta, reading.bytes)))
    }

    /// The same, with way for others between two parts.
    pub(crate) async fn snapshot_in_parts(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
        let Some((meta, mut reading)) = self.reading()? else { return Ok(None) };
        while self.step(&mut reading)? {
            yield_now().await;
        }
        Ok(Some((meta, reading.bytes)))
    }

    fn reading(&self) -> Result<Option<(SnapshotMeta, Reading)>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(SNAPSHOT).map_err(record::table)?;
            let cover = table.get("cover").map_err(record::storage)?;
            let image = table.get("image").map_err(record::storage)?;
            let (Some(cover), Some(image)) = (cover, image) else { return Ok(None) };
            let cover: Cover = record::decode("snapshot", b"cover", cover.value())?;
            let held = record::unseal("snapshot", b"image", image.value(), HELD_VERSIONS)?;
            let meta = cover.checked().ok_or_else(|| Trouble::Damaged("the snapshot's members".into()))?;
            Ok(Some((meta, Reading::of(&held, &read)?)))
        };
        self.noted(attempt().map_err(|t: Trouble| t.at(&self.path)))
    }

    fn step(&self, reading: &mut Reading) -> Result<bool, StoreError> {
        self.noted(reading.step().map_err(|t| t.at(&self.path)))
    }

    /// The last entry the kept snapshot covers.
    pub(super) fn covered(&self) -> Result<Option<LogId>, StoreError> {
        let attempt = || {
            let read = self.base.begin_read().map_err(record::begun)?;
            let table = read.open_table(SNAPSHOT).map_err(record::table)?;
            let Some(cover) = table.get("cover").map_err(record::storage)? else { return Ok(None) };
            let cover: Cover = record::decode("snapshot", b"cover", cover.value())?;
            Ok(cover.last().map(LogId::from))
        };
        self.noted(attempt().map_err(|t: Trouble| t.at(&self.path)))
    }

    /// Keeps a snapshot that was taken here in place of the one before, unless that covers more: one that was
    /// being written while another arrived is late.
    pub(crate) async fn keep_snapshot(&self, meta: &SnapshotMeta, image: &[u8]) -> Result<(), StoreError> {
        let draft = self.draft(image).await?;
        if self.covered()? <= meta.last_log_id {
            self.write(|w| draft.name(w, meta))?;
        }
        drop(draft);
        self.sweep().await
    }

    /// Keeps a snapshot that arrived, and lets go of the entries it stands for, both or neither.
    pub(crate) async fn keep_arrived(&self, meta: &SnapshotMeta, image: &[u8]) -> Result<(), StoreError> {
        let draft = self.draft(image).await?;
        self.write(|w| {
            draft.name(w, meta)?;
            meta.last_log_id.as_ref().map_or(Ok(()), |last| cut_front(w, last))
        })?;
        drop(draft);
        self.sweep().await
    }

    /// Writes all parts of a new series.
    async fn draft(&self, image: &[u8]) -> Result<Draft<'_>, StoreError> {
        let series = {
            let mut all = self.series();
            all.next += 1;
            let series = all.next;
            all.drafts.insert(series);
            series
        };
        let mut draft = Draft { store: self, series, parts: 0, bytes: image.len() as u64 };
        for part in image.chunks(PART_BYTES) {
            let key = key(series, draft.parts);
            self.write(|w| {
                let mut table = w.open_table(IMAGE).map_err(record::table)?;
                let bytes = record::encode("image", &key, &Whole(part))?;
                table.insert((series, draft.parts), bytes.as_slice()).map(drop).map_err(record::storage)
            })?;
            draft.parts += 1;
            yield_now().await;
        }
        Ok(draft)
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what no snapshot names and nobody is writing.
    async fn sweep(&self) -> Result<(), StoreError> {
        while self.sweep_some()? {
            yield_now().await;
        }
        Ok(())
    }

    /// Removes some of it; whether there was any.
    fn sweep_some(&self) -> Result<bool, StoreError> {
        let found = self.left_over().map_err(|t| t.at(&self.path));
        let Some((series, first)) = self.noted(found)? else { return Ok(false) };
        self.write(|w| {
            let mut table = w.open_table(IMAGE).map_err(record::table)?;
            for part in first..first.saturating_add(SWEPT_PARTS) {
                if table.remove((series, part)).map_err(record::storage)?.is_none() {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// The first part that is of no use.
    fn left_over(&self) -> Result<Option<(u64, u32)>, Trouble> {
        let read = self.base.begin_read().map_err(record::begun)?;
        let table = match read.open_table(IMAGE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(record::table(e)),
        };
        let mut used = self.series().drafts.clone();
        used.extend(named(&read)?);
        let mut from = 0;
        loop {
            let mut rest = table.range((from, 0)..).map_err(record::storage)?;
            let Some(row) = rest.next() else { return Ok(None) };
            let (series, part) = row.map_err(record::storage)?.0.value();
            if !used.contains(&series) {
                return Ok(Some((series, part)));
            }
            from = series.saturating_add(1);
        }
    }

    /// At its opening: what is written from now on has numbers that nothing has, and nothing else is there.
    pub(super) fn number_series(&self) -> Result<(), StoreError> {
        while self.sweep_some()? {}
        let attempt = || named(&self.base.begin_read().map_err(record::begun)?);
        let last = self.noted(attempt().map_err(|t| t.at(&self.path)))?;
        self.series().next = last.unwrap_or(0);
        Ok(())
    }
}

/// The series of the kept snapshot.
fn named(read: &redb::ReadTransaction) -> Result<Option<u64>, Trouble> {
    let table = read.open_table(SNAPSHOT).map_err(record::table)?;
    let Some(image) = table.get("image").map_err(record::storage)? else { return Ok(None) };
    Ok(match record::unseal("snapshot", b"image", image.value(), HELD_VERSIONS)? {
        Held::V1(_) => None,
        Held::V2 { series, .. } => Some(series),
    })
}

impl Draft<'_> {
    /// Makes it the kept snapshot.
    fn name(&self, w: &redb::WriteTransaction, meta: &SnapshotMeta) -> Result<(), Trouble> {
        record::put(w, SNAPSHOT, "cover", &Cover::from(meta))?;
        let held = Held::V2 { series: self.series, parts: self.parts, bytes: self.bytes };
        let bytes = record::seal("snapshot", b"image", &held)?;
        let mut table = w.open_table(SNAPSHOT).map_err(record::table)?;
        table.insert("image", bytes.as_slice()).map(drop).map_err(record::storage)
    }
}
