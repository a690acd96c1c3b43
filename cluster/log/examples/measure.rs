//! Measures three members in one process, on real files: how long a client waits when the leader is killed,
//! and how many commands of 64 callers are decided in a second, beside what the disk alone can do.
//!
//! ```text
//! cargo run --release -p dvs-log --example measure -- FOLDER [ROUNDS] [SECONDS]
//! ```

mod wire;

use dvs_abi::NodeId;
use dvs_log::{Group, GroupId, LogError, Machine, Role, Store, Timing};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use wire::{Members, Wire};

const LONG: Duration = Duration::from_secs(60);
const CALLERS: usize = 64;
const BYTES: usize = 256;

struct Count(u64);

impl Machine for Count {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        self.0 += command.len() as u64;
        command.to_vec()
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = u64::from_le_bytes(snapshot.try_into().map_err(|_| "eight bytes are a count")?);
        Ok(())
    }
}

struct World {
    folder: PathBuf,
    members: Members<Count>,
    running: BTreeMap<NodeId, Arc<Group<Count>>>,
}

impl World {
    fn start(&mut self, n: u16) -> Result<(), LogError> {
        let (node, path) = (NodeId(n), self.folder.join(format!("node{n}.log")));
        let opened = if path.exists() { Store::open } else { Store::create };
        let store = opened(&path, GroupId(1), node)?;
        let wire = Wire(self.members.clone(), node);
        let group = Arc::new(Group::open(store, Count(0), wire, Timing::default())?);
        self.members.lock().unwrap_or_else(PoisonError::into_inner).insert(node, Arc::downgrade(&group));
        self.running.insert(node, group);
        Ok(())
    }

    fn leader(&self) -> Option<NodeId> {
        self.running.values().next()?.wait(|s| s.leader.is_some(), LONG)?.leader
    }

    /// From the kill of the leader to the first answer at a client of another member.
    fn fail_over(&mut self) -> Result<Duration, Box<dyn Error>> {
        let old = self.leader().ok_or("nobody leads")?;
        let (_, client) = self.running.iter().find(|(n, _)| **n != old).ok_or("alone")?;
        let client = client.clone();
        let start = Instant::now();
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&old);
        let dead = self.running.remove(&old);
        let end = std::thread::spawn(move || drop(dead));
        while client.propose(vec![1; BYTES], Duration::from_millis(200)).is_err() {}
        let gap = start.elapsed();
        end.join().map_err(|_| "it did not end")?;
        // Its store may still be held by a message on its way.
        while let Err(error) = self.start(old.0) {
            if start.elapsed() > LONG {
                return Err(error.into());
            }
            std::thread::yield_now();
        }
        let all = client.status().applied;
        self.running[&old].wait(move |s| s.applied >= all, LONG).ok_or("it does not catch up")?;
        Ok(gap)
    }

    /// Commands decided in a second, and how long each took, sorted.
    fn load(&self, time: Duration) -> Result<(f64, Vec<Duration>), Box<dyn Error>> {
        let leader = self.leader().ok_or("nobody leads")?;
        let (stop, group) = (AtomicBool::new(false), &self.running[&leader]);
        let caller = || {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                if group.propose(vec![1; BYTES], LONG).is_ok() {
                    took.push(start.elapsed());
                }
            }
            took
        };
        let start = Instant::now();
        let mut took: Vec<Duration> = std::thread::scope(|s| {
            let callers: Vec<_> = (0..CALLERS).map(|_| s.spawn(caller)).collect();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            callers.into_iter().flat_map(|c| c.join().unwrap_or_default()).collect()
        });
        let rate = took.len() as f64 / start.elapsed().as_secs_f64();
        took.sort();
        Ok((rate, took))
    }
}

/// Writes of the same size a second, each synced: what one disk does for one caller.
fn floor(folder: &Path, time: Duration) -> Result<f64, std::io::Error> {
    let path = folder.join("floor");
    let mut file = File::create(&path)?;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        file.write_all(&[1; BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("usage: measure FOLDER [ROUNDS] [SECONDS]")?);
    let rounds: usize = words.next().map_or(Ok(50), |w| w.parse())?;
    let time = Duration::from_secs(words.next().map_or(Ok(5), |w| w.parse())?);
    let mut world = World { folder: folder.clone(), members: Members::default(), running: BTreeMap::new() };
    world.start(0)?;
    world.running[&NodeId(0)].found()?;
    for n in 1..3 {
        world.start(n)?;
        world.running[&NodeId(0)].admit(NodeId(n), Role::Voter, LONG)?;
    }
    let mut gaps = (0..rounds).map(|_| world.fail_over()).collect::<Result<Vec<_>, _>>()?;
    gaps.sort();
    println!("{rounds} kills of the leader: p50 {:?}, p99 {:?}", part(&gaps, 50), part(&gaps, 99));
    for _ in 0..3 {
        let floor = floor(&folder, time / 2)?;
        let (rate, took) = world.load(time)?;
        let (p50, p99) = (part(&took, 50), part(&took, 99));
        let ratio = rate / floor;
        println!("{CALLERS} callers: {rate:.0}/s, p50 {p50:?}, p99 {p99:?}");
        println!("  one synced write after another: {floor:.0}/s; ratio {ratio:.2}");
    }
    Ok(())
}
