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
