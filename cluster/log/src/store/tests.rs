//! The consensus library's own suite over this store, and disks that fail.

use super::*;
use crate::LogError;
use crate::apply::Applier;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::Node;
use crate::ram::Ram;
use crate::timing::Timing;
use crate::types::{StorageError, Types};
use openraft::testing::{StoreBuilder, Suite};
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(30);

/// Remembers how many commands it did.
struct Tally(u64);

impl Machine for Tally {
    fn apply(&mut self, place: u64, _: &[u8]) -> Vec<u8> {
        self.0 = place;
        place.to_le_bytes().to_vec()
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn restore(&mut self, s: &[u8]) -> Result<(), String> {
        self.0 = u64::from_le_bytes(s.try_into().map_err(|_| "eight bytes")?);
        Ok(())
    }
}

struct Nobody;

impl Network for Nobody {
    fn send(&self, _: NodeId, _: Vec<u8>) {}
}

struct Stores;

impl StoreBuilder<Types, Store, Applier<Tally>, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, Store, Applier<Tally>), StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("log"), GroupId(1), NodeId(0)).unwrap();
        let applier = Applier::new(Tally(0), store.clone()).unwrap();
        Ok((folder, store, applier))
    }
}

#[test]
fn the_store_passes_the_suite_of_the_consensus_library() {
    Suite::test_all(Stores).unwrap();
}

fn quick() -> Timing {
    Timing { heartbeat_ms: 30, election_min_ms: 100, election_max_ms: 200, ..Timing::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_full_disk_stops_the_member_and_loses_nothing_acknowledged() {
    let (disk, name) = (Ram::default(), Path::new("ram"));
    let store = Store::create_on(disk.clone(), name, GroupId(1), NodeId(0)).unwrap();
    let mut done = 0;
    runtime().block_on(async {
        let node = Node::open(store, Tally(0), Nobody, quick()).await.unwrap();
        node.found().await.unwrap();
        for _ in 0..50 {
            node.propose(vec![1; 1000], LONG).await.unwrap();
            done += 1;
        }
        disk.set_room(Some(disk.length().unwrap()));
        let error = loop {
            match node.propose(vec![1; 30_000], LONG).await {
                Ok(_) => done += 1,
                Err(error) => break error,
            }
        };
        let full = StoreError::DiskFull(name.to_owned());
        assert_eq!(error, LogError::Store { error: full.clone(), effect: error.effect() });
        assert!(!node.status().running && node.leader().is_none());
        let again = node.propose(vec![1], LONG).await;
        assert_eq!(again, Err(LogError::Store { error: full, effect: dvs_abi::Effect::No }));
        node.shutdown().await;
    });
    // The machine crashes; there is room again.
    let store = Store::open_on(disk.after_crash(), name, GroupId(1), NodeId(0)).unwrap();
    runtime().block_on(async {
        let node = Node::open(store, Tally(0), Nobody, quick()).await.unwrap();
        let answer = node.propose(vec![1], LONG).await.unwrap();
        let place = u64::from_le_bytes(answer.try_into().unwrap());
        // The one that failed may have been done or not.
        assert!(place == done + 1 || place == done + 2, "{place} after {done}");
        node.shutdown().await;
    });
}

/// As many bytes as it says, besides how many commands it did.
struct Large(usize, u64);

impl Machine for Large {
    fn apply(&mut self, place: u64, _: &[u8]) -> Vec<u8> {
        self.1 = place;
        vec![]
    }
    fn snapshot(&self) -> Vec<u8> {
        let mut out = self.1.to_le_bytes().to_vec();
        out.resize(self.0 + 8, 7);
        out
    }
    fn restore(&mut self, s: &[u8]) -> Result<(), String> {
        let (count, rest) = s.split_at_checked(8).ok_or("no count")?;
        assert_eq!(rest, vec![7; self.0]);
        self.1 = u64::from_le_bytes(count.try_into().map_err(|_| "eight bytes")?);
        Ok(())
    }
}

#[test]
fn commands_are_done_while_a_large_snapshot_is_written() {
    let (disk, name) = (Ram::default(), Path::new("ram"));
    let store = Store::create_on(disk.clone(), name, GroupId(1), NodeId(0)).unwrap();
    runtime().block_on(async {
        let node = Node::open(store, Large(20 << 20, 0), Nobody, quick()).await.unwrap();
        node.found().await.unwrap();
        node.propose(vec![1], LONG).await.unwrap();
        let before = node.status();
        node.snapshot().await.unwrap();
        let mut meanwhile = 0;
        while node.status().snapshot < before.applied {
            node.propose(vec![1], LONG).await.unwrap();
            meanwhile += 1;
        }
        assert!(meanwhile > 5, "{meanwhile} commands");
        assert_eq!(node.status().term, before.term);
        node.shutdown().await;
    });
}

/// How many parts of snapshots there are.
fn parts(store: &Store) -> u64 {
    redb::ReadableTableMetadata::len(&store.base.begin_read().unwrap().open_table(IMAGE).unwrap()).unwrap()
}

#[test]
fn parts_of_a_snapshot_that_was_not_finished_go_when_the_store_is_opened() {
    let (disk, name) = (Ram::default(), Path::new("ram"));
    let store = Store::create_on(disk.clone(), name, GroupId(1), NodeId(0)).unwrap();
    let meta = crate::types::SnapshotMeta::default();
    let open = |disk| Store::open_on(disk, name, GroupId(1), NodeId(0)).unwrap();
    let (disk, large) = runtime().block_on(async {
        store.keep_snapshot(&meta, &[1; 1 << 20]).await.unwrap();
        let kept = parts(&store);
        let mut second = Box::pin(store.keep_snapshot(&meta, &[2; 9 << 20]));
        for _ in 0..20 {
            assert!(goes_on(&mut second).await);
        }
        assert_eq!(parts(&store), kept + 20);
        (disk.after_crash(), kept)
    });
    drop(store);
    let store = open(disk.clone());
    assert_eq!((parts(&store), store.snapshot().unwrap().unwrap().1), (large, vec![1; 1 << 20]));
    runtime().block_on(store.keep_snapshot(&meta, &[3; 1000])).unwrap();
    assert_eq!((parts(&store), store.snapshot().unwrap().unwrap().1), (1, vec![3; 1000]));
    drop(store);
    assert_eq!(open(disk).snapshot().unwrap().unwrap().1, vec![3; 1000]);
}

/// Goes on with it once; whether it goes on still.
async fn goes_on<F: Future>(work: &mut std::pin::Pin<Box<F>>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(work.as_mut().poll(context).is_pending())).await
}

#[test]
fn a_snapshot_of_the_first_form_is_read_and_replaced() {
    let (disk, name) = (Ram::default(), Path::new("ram"));
    let store = Store::create_on(disk, name, GroupId(1), NodeId(0)).unwrap();
    let meta = crate::types::SnapshotMeta::default();
    let cover = crate::record::Cover::from(&meta);
    let first = |w: &redb::WriteTransaction| {
        record::put(w, SNAPSHOT, "cover", &cover)?;
        record::put(w, SNAPSHOT, "image", &vec![9_u8; 70_000])
    };
    store.write(first).unwrap();
    assert_eq!(store.snapshot().unwrap().unwrap().1, vec![9; 70_000]);
    store.check().unwrap();
    runtime().block_on(store.keep_snapshot(&meta, &[3; 300_000])).unwrap();
    assert_eq!(store.snapshot().unwrap().unwrap().1, vec![3; 300_000]);
}

#[test]
fn what_was_acknowledged_outlives_a_crash_of_the_machine() {
    let (disk, name) = (Ram::default(), Path::new("ram"));
    let store = Store::create_on(disk.clone(), name, GroupId(1), NodeId(0)).unwrap();
    let crashed = runtime().block_on(async {
        let node = Node::open(store, Tally(0), Nobody, quick()).await.unwrap();
        node.found().await.unwrap();
        for _ in 0..20 {
            node.propose(vec![1], LONG).await.unwrap();
        }
        disk.after_crash()
    });
    let store = Store::open_on(crashed, name, GroupId(1), NodeId(0)).unwrap();
    runtime().block_on(async {
        let node = Node::open(store, Tally(0), Nobody, quick()).await.unwrap();
        node.read_barrier(LONG).await.unwrap();
        assert_eq!(node.read(|tally| tally.0), 20);
    });
}
