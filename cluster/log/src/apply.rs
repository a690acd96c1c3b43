//! The machine as the consensus library uses it: decided entries go in, answers come out.
//!
//! The state is in memory; after a restart it is the last snapshot with the entries since.

use crate::error::{LogError, StoreError};
use crate::machine::Machine;
use crate::record::Commands;
use crate::store::Store;
use crate::types::{
    Answers, Entry, LogId, Nothing, Snapshot, SnapshotMeta, StorageError, StoredMembership, Types,
};
use dvs_abi::limits::LOG_SNAPSHOT_BYTES_MAX;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes of a snapshot, as they are read. Variants are never reordered or removed.
#[derive(Deserialize)]
enum Image<'a> {
    V1 { places: u64, machine: &'a [u8] },
}

/// What comes before the machine's own bytes.
#[derive(Serialize)]
enum Head {
    V1 { places: u64, bytes: usize },
}

/// The bytes of a snapshot: those of the machine, with the head pushed in before them, as a copy of a large
/// state takes long.
fn image(places: u64, mut machine: Vec<u8>) -> Vec<u8> {
    // Plain data into memory cannot fail.
    let head = postcard::to_stdvec(&Head::V1 { places, bytes: machine.len() }).unwrap_or_default();
    machine.splice(0..0, head);
    machine
}

/// The state and how far it has come.
struct Progress<M> {
    machine: M,
    applied: Option<LogId>,
    members: StoredMembership,
    places: u64,
}

/// A machine with its progress, shared with those who read it.
pub(crate) struct Applier<M> {
    progress: Arc<Mutex<Progress<M>>>,
    store: Store,
}

impl<M> Clone for Applier<M> {
    fn clone(&self) -> Self {
        Applier { progress: self.progress.clone(), store: self.store.clone() }
    }
}

impl<M: Machine> Applier<M> {
    /// `machine` as new, or as the snapshot of the store says.
    pub fn new(machine: M, store: Store) -> Result<Self, LogError> {
        let found = store.snapshot()?;
        let path = store.path().to_owned();
        let start = Progress { machine, applied: None, members: StoredMembership::default(), places: 0 };
        let applier = Applier { progress: Arc::new(Mutex::new(start)), store };
        if let Some((meta, image)) = found {
            applier.become_image(&meta, &image).map_err(|what| StoreError::Damaged { path, what })?;
        }
        Ok(applier)
    }

    /// Looks at the machine.
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.progress().machine)
    }

    fn progress(&self) -> MutexGuard<'_, Progress<M>> {
        // A machine that panicked takes its member down; what it left behind is still only read.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_image(&self, meta: &SnapshotMeta, image: &[u8]) -> Result<(), String> {
        let Image::V1 { places, machine } =
            postcard::from_bytes(image).map_err(|e| format!("the snapshot's image: {e}"))?;
        let mut progress = self.progress();
        progress.machine.restore(machine)?;
        progress.applied = meta.last_log_id;
        progress.members = meta.last_membership.clone();
        progress.places = places;
        Ok(())
    }
}

impl<M: Machine> Progress<M> {
    fn take(&mut self, entry: Entry) -> Answers {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Answers::default(),
            EntryPayload::Normal(batch) => self.perform(&batch.commands),
            EntryPayload::Membership(members) => {
                self.members = StoredMembership::new(Some(entry.log_id), members);
                Answers::default()
            }
        }
    }

    fn perform(&mut self, commands: &Commands) -> Answers {
        let one = |command: &Vec<u8>| {
            self.places += 1;
            self.machine.apply(self.places, command)
        };
        Answers(commands.iter().map(one).collect())
    }
}

/// Runs what may call the machine. If that panics the member ends, and says so to all who wait; were the
/// panic let through, the library would notice only at the next entry.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the machine panicked".to_owned())
}

fn failed(what: impl Into<String>) -> StorageError {
    StorageIOError::write_state_machine(AnyError::error(what.into())).into()
}

impl<M: Machine> RaftStateMachine<Types> for Applier<M> {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let progress = self.progress();
        Ok((progress.applied, progress.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut progress = self.progress();
        let mut take = |entry| guarded(|| progress.take(entry));
        entries.into_iter().map(&mut take).collect::<Result<_, _>>().map_err(failed)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let progress = self.progress();
        let (machine, places) = (guarded(|| progress.machine.snapshot()), progress.places);
        let last = progress.applied;
        let name = last
            .map_or("0".to_owned(), |l| format!("{}-{}-{}", l.leader_id.term, l.leader_id.node_id, l.index));
        let meta = openraft::SnapshotMeta::<u64, Nothing> {
            last_log_id: last,
            last_membership: progress.members.clone(),
            snapshot_id: name,
        };
        Builder { meta, machine: machine.map(|machine| (places, machine)), store: self.store.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Vec<u8>>,
    ) -> Result<(), StorageError> {
        guarded(|| self.become_image(meta, &snapshot)).flatten().map_err(failed)?;
        self.store.keep_arrived(meta, &snapshot).await.map_err(crate::store::failed)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let found = self.store.snapshot_in_parts().await.map_err(crate::store::failed)?;
        Ok(found.map(|(meta, image)| Snapshot { meta, snapshot: Box::new(image) }))
    }
}

/// A snapshot that was taken and is still to be written; the machine goes on meanwhile.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    machine: Result<(u64, Vec<u8>), String>,
    store: Store,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let taken = std::mem::replace(&mut self.machine, Err("it was written already".to_owned()));
        let (places, machine) = taken.map_err(failed)?;
        let image = image(places, machine);
        if image.len() > LOG_SNAPSHOT_BYTES_MAX {
            return Err(failed(format!(
                "a snapshot of {} bytes; {LOG_SNAPSHOT_BYTES_MAX} are kept",
                image.len()
            )));
        }
        self.store.keep_snapshot(&self.meta, &image).await.map_err(crate::store::failed)?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(image) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_it_always_was() {
        #[derive(Serialize)]
        enum First {
            V1 { places: u64, machine: Vec<u8> },
        }
        let machine = vec![5; 300];
        let first = postcard::to_stdvec(&First::V1 { places: 7, machine: machine.clone() }).unwrap();
        assert_eq!(image(7, machine.clone()), first);
        let Image::V1 { places, machine: found } = postcard::from_bytes(&first).unwrap();
        assert_eq!((places, found), (7, &machine[..]));
    }
}
