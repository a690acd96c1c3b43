//! A member that ends by a panic, its own or its machine's, says so to all who ask; nobody waits for it.

mod world;

use dvs_abi::{Effect, NodeId};
use dvs_log::{Disk, Group, GroupId, LogError, Machine, Network, Ram, Store, Timing};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use world::LONG;

struct Nobody;

impl Network for Nobody {
    fn send(&self, _: NodeId, _: Vec<u8>) {}
}

/// Panics over a command of one byte, and over a snapshot after one of two.
#[derive(Default)]
struct Fragile(bool);

impl Machine for Fragile {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        assert_ne!(command.len(), 1, "too short");
        self.0 |= command.len() == 2;
        vec![]
    }
    fn snapshot(&self) -> Vec<u8> {
        assert!(!self.0, "not to be written down");
        vec![]
    }
    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Panics when it is told to.
struct Bomb {
    ram: Ram,
    armed: Arc<AtomicBool>,
}

impl Disk for Bomb {
    fn length(&self) -> io::Result<u64> {
        self.ram.length()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.ram.read(offset, out)
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.ram.set_length(length)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ram.write(offset, data)
    }
    fn sync(&self) -> io::Result<()> {
        assert!(!self.armed.load(Ordering::SeqCst), "the disk's driver panics");
        self.ram.sync()
    }
}

/// A group of one, which has done something.
fn group(armed: &Arc<AtomicBool>) -> Group<Fragile> {
    let disk = Bomb { ram: Ram::default(), armed: armed.clone() };
    let store = Store::create_on(disk, Path::new("ram"), GroupId(1), NodeId(0)).unwrap();
    let group = Group::open(store, Fragile::default(), Nobody, Timing::default()).unwrap();
    group.found().unwrap();
    group.propose(vec![], LONG).unwrap();
    group
}

/// What everybody hears of a member that has ended.
fn has_ended(group: &Group<Fragile>) {
    assert!(group.wait(|s| !s.running, LONG).is_some(), "it says so");
    let status = group.status();
    assert!(!status.running && status.leader.is_none(), "{status:?}");
    assert_eq!(group.wait(|s| s.leader.is_some(), Duration::MAX), None);
    assert_eq!(group.propose(vec![], Duration::MAX), Err(LogError::Stopped(Effect::No)));
    assert_eq!(group.read_barrier(Duration::MAX), Err(LogError::Stopped(Effect::No)));
    assert!(group.snapshot().is_err());
}

#[test]
fn a_machine_that_panics_ends_its_member() {
    let group = group(&Arc::default());
    let error = group.propose(vec![1], Duration::MAX).unwrap_err();
    assert_eq!(error, LogError::Stopped(Effect::Unknown));
    has_ended(&group);
}

#[test]
fn a_machine_that_panics_over_a_snapshot_ends_its_member() {
    let group = group(&Arc::default());
    group.propose(vec![1, 2], LONG).unwrap();
    group.snapshot().unwrap();
    has_ended(&group);
}

#[test]
fn a_member_whose_library_panicked_says_so() {
    let armed = Arc::default();
    let group = group(&armed);
    armed.store(true, Ordering::SeqCst);
    let error = group.propose(vec![], Duration::MAX).unwrap_err();
    assert_eq!(error, LogError::Stopped(Effect::Unknown));
    has_ended(&group);
    armed.store(false, Ordering::SeqCst);
}
