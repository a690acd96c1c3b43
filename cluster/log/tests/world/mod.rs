//! A network in memory whose ways can be cut, and members on it.

#![allow(dead_code)] // Each test uses its part of it.

use dvs_abi::NodeId;
use dvs_log::{Group, GroupId, LogError, Machine, Network, Ram, Role, Store, Timing};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tempfile::TempDir;

const GROUP: GroupId = GroupId(7);
/// The watchdog of all waits.
pub const LONG: Duration = Duration::from_secs(60);
/// Of proposals that are to fail.
pub const SHORT: Duration = Duration::from_millis(800);

/// Keeps all commands, in order.
#[derive(Default)]
pub struct Diary(pub Vec<Vec<u8>>);

impl Machine for Diary {
    fn apply(&mut self, place: u64, command: &[u8]) -> Vec<u8> {
        self.0.push(command.to_vec());
        assert_eq!(place, self.0.len() as u64, "places are without gaps");
        place.to_le_bytes().to_vec()
    }
    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for command in &self.0 {
            out.extend_from_slice(&(command.len() as u32).to_le_bytes());
            out.extend_from_slice(command);
        }
        out
    }
    fn restore(&mut self, mut s: &[u8]) -> Result<(), String> {
        self.0.clear();
        while let Some((head, rest)) = s.split_first_chunk::<4>() {
            let (command, rest) =
                rest.split_at_checked(u32::from_le_bytes(*head) as usize).ok_or("cut short")?;
            self.0.push(command.to_vec());
            s = rest;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Ways {
    members: BTreeMap<NodeId, Weak<Group<Diary>>>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// The network.
#[derive(Clone, Default)]
pub struct Air(Arc<Mutex<Ways>>);

struct Antenna {
    air: Air,
    node: NodeId,
    sent: AtomicU64,
    gone: Gone,
}

/// Set when a machine has crashed. What its member does from then on, while its thread comes to an end, has
/// not happened: its disk does not keep it, so nobody may hear of it.
#[derive(Clone, Default)]
pub struct Gone(Arc<AtomicBool>);

impl Gone {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Network for Antenna {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        let there = {
            let ways = self.air.ways();
            if self.gone.is_set() || ways.cut.contains(&(self.node, to)) {
                None
            } else {
                ways.members.get(&to).and_then(Weak::upgrade)
            }
        };
        if let Some(group) = there {
            // Every fourth message comes twice.
            if self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) {
                group.receive(self.node, message.clone());
            }
            group.receive(self.node, message);
            // The last owner may have left meanwhile: its end is not for this thread to wait for.
            if Arc::strong_count(&group) == 1 {
                std::thread::spawn(move || drop(group));
            }
        }
    }
}

impl Air {
    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap()
    }
}

/// Members on disks, some of them running.
pub struct World {
    pub folder: TempDir,
    pub timing: Timing,
    /// Disks in memory, if they are; then a kill is a crash of the machine.
    disks: Option<BTreeMap<NodeId, Ram>>,
    air: Air,
    running: BTreeMap<NodeId, (Arc<Group<Diary>>, Gone)>,
}

impl World {
    pub fn new() -> Self {
        let timing =
            Timing { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300, ..Timing::default() };
        let folder = tempfile::tempdir().unwrap();
        World { folder, timing, disks: None, air: Air::default(), running: BTreeMap::new() }
    }

    /// `count` voters, node 0 having founded the group.
    pub fn of(count: u16) -> Self {
        Self::with(count, World::new())
    }

    /// The same on disks that lose what was not synced when a member is killed.
    pub fn on_ram(count: u16) -> Self {
        Self::with(count, World { disks: Some(BTreeMap::new()), ..World::new() })
    }

    fn with(count: u16, mut world: World) -> Self {
        world.start(0);
        world.at(0).found().unwrap();
        for n in 1..count {
            world.start(n);
            world.at(0).admit(NodeId(n), Role::Voter, LONG).unwrap();
        }
        world
    }

    pub fn path(&self, node: u16) -> PathBuf {
        self.folder.path().join(format!("node{node}.log"))
    }

    /// Starts a member, on its store if it has one.
    pub fn start(&mut self, node: u16) {
        let (path, id) = (self.path(node), NodeId(node));
        let store = match &mut self.disks {
            Some(disks) if disks.contains_key(&id) => Store::open_on(disks[&id].clone(), &path, GROUP, id),
            Some(disks) => {
                let disk = disks.entry(id).or_default();
                Store::create_on(disk.clone(), &path, GROUP, id)
            }
            None if path.exists() => Store::open(&path, GROUP, id),
            None => Store::create(&path, GROUP, id),
        };
        let store = store.unwrap();
        let gone = Gone::default();
        let antenna =
            Antenna { air: self.air.clone(), node: id, sent: AtomicU64::new(0), gone: gone.clone() };
        let group = Arc::new(Group::open(store, Diary::default(), antenna, self.timing).unwrap());
        self.air.ways().members.insert(id, Arc::downgrade(&group));
        self.running.insert(id, (group, gone));
    }

    /// Ends a member; all that is left of it is its store.
    pub fn kill(&mut self, node: u16) {
        let (mut group, gone) = self.running.remove(&NodeId(node)).unwrap();
        if let Some(disk) = self.disks.as_mut().and_then(|d| d.get_mut(&NodeId(node))) {
            // First nobody hears of it any more, then its machine crashes; how it ends is of no account.
            gone.0.store(true, Ordering::SeqCst);
            *disk = disk.after_crash();
        }
        self.air.ways().members.remove(&NodeId(node));
        let end = std::time::Instant::now() + LONG;
        loop {
            group = match Arc::try_unwrap(group) {
                Ok(group) => return group.shutdown(),
                Err(shared) => shared,
            };
            // A message may be on its way to it, or a client waits.
            assert!(std::time::Instant::now() < end, "the member does not end");
            std::thread::yield_now();
        }
    }

    pub fn at(&self, node: u16) -> &Group<Diary> {
        &self.running[&NodeId(node)].0
    }

    pub fn find(&self, node: u16) -> Option<Arc<Group<Diary>>> {
        Some(self.find_watched(node)?.0)
    }

    /// A running member, and what says whether its machine has crashed meanwhile.
    pub fn find_watched(&self, node: u16) -> Option<(Arc<Group<Diary>>, Gone)> {
        self.running.get(&NodeId(node)).cloned()
    }

    /// Cuts a member off all others, or heals that.
    pub fn cut(&self, node: u16, off: bool) {
        let mut ways = self.air.ways();
        for other in 0..8 {
            for way in [(NodeId(node), NodeId(other)), (NodeId(other), NodeId(node))] {
                if off {
                    ways.cut.insert(way);
                } else {
                    ways.cut.remove(&way);
                }
            }
        }
    }

    /// Who leads, as `node` sees it once it does, other than `not`.
    pub fn leader_seen(&self, node: u16, not: Option<u16>) -> u16 {
        let other = move |s: &dvs_log::Status| s.leader.is_some() && s.leader != not.map(NodeId);
        self.at(node).wait(other, LONG).expect("somebody leads in the end").leader.unwrap().0
    }

    pub fn propose(&self, node: u16, text: &str) -> Result<u64, LogError> {
        let answer = self.at(node).propose(text.as_bytes().to_vec(), LONG)?;
        Ok(u64::from_le_bytes(answer.try_into().unwrap()))
    }

    /// What a member has done, after a barrier.
    pub fn diary(&self, node: u16) -> Vec<String> {
        self.at(node).read_barrier(LONG).unwrap();
        self.at(node).read(|d| d.0.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect())
    }
}
