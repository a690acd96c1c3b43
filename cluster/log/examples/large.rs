//! Measures what a snapshot of a large state costs those who go on proposing: three members in one process,
//! on real files; how long a caller's commands take while all three write one, and whether the leader stays.
//!
//! ```text
//! cargo run --release -p dvs-log --example large -- FOLDER [MEBIBYTES] [SNAPSHOTS]
//! ```

mod wire;

use dvs_abi::NodeId;
use dvs_log::{Group, GroupId, Machine, Role, Store, Timing};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use wire::{Members, Wire};

const LONG: Duration = Duration::from_secs(60);
const MEMBERS: u16 = 3;

/// A state of so many bytes.
struct Large(Vec<u8>);

impl Machine for Large {
    fn apply(&mut self, place: u64, _: &[u8]) -> Vec<u8> {
        place.to_le_bytes().to_vec()
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.clone()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = snapshot.to_vec();
        Ok(())
    }
}

fn start(folder: &std::path::Path, bytes: usize) -> Result<Vec<Arc<Group<Large>>>, Box<dyn Error>> {
    let (members, mut running) = (Members::default(), Vec::new());
    for n in 0..MEMBERS {
        let store = Store::create(&folder.join(format!("node{n}.log")), GroupId(1), NodeId(n))?;
        let wire = Wire(members.clone(), NodeId(n));
        let group = Arc::new(Group::open(store, Large(vec![7; bytes]), wire, Timing::default())?);
        members.lock().unwrap_or_else(PoisonError::into_inner).insert(NodeId(n), Arc::downgrade(&group));
        running.push(group);
    }
    running[0].found()?;
    for n in 1..MEMBERS {
        running[0].admit(NodeId(n), Role::Voter, LONG)?;
    }
    Ok(running)
}

fn show(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)));
    println!("{what}: {} commands, p50 {:?}, p99 {:?}, longest {:?}", took.len(), at(50), at(99), at(100));
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("usage: large FOLDER [MEBIBYTES] [SNAPSHOTS]")?);
    let bytes: usize = words.next().map_or(Ok(60), |w| w.parse())?;
    let rounds: usize = words.next().map_or(Ok(3), |w| w.parse())?;
    let members = start(&folder, bytes << 20)?;
    let propose = || {
        let begun = Instant::now();
        members[1].propose(vec![1; 256], LONG).map(|_| begun.elapsed())
    };
    show("nothing else", (0..300).map(|_| propose()).collect::<Result<_, _>>()?);
    for _ in 0..rounds {
        let term = members[1].status().term;
        let (begun, mut took) = (Instant::now(), Vec::new());
        let wanted: Vec<u64> = members.iter().map(|m| m.status().applied).collect();
        members.iter().try_for_each(|m| m.snapshot())?;
        while members.iter().zip(&wanted).any(|(m, applied)| m.status().snapshot < *applied) {
            took.push(propose()?);
        }
        let term = members[1].status().term - term;
        show(&format!("{bytes} MiB on three disks in {:?}, {term} elections", begun.elapsed()), took);
    }
    Ok(())
}
