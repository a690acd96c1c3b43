//! Members on virtual time, from one seed: a network that delays, loses, doubles and cuts, and disks whose
//! machine crashes at any sync, with some sectors written and some not.

#![allow(dead_code)] // Each test uses its part of it.

use dvs_abi::NodeId;
use dvs_log::{Disk, GroupId, Machine, Network, Node, Ram, Role, Store, Timing};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// The watchdog of all waits, in virtual time.
pub const LONG: Duration = Duration::from_secs(120);
const GROUP: GroupId = GroupId(1);

/// Keeps all commands, in order.
#[derive(Default)]
pub struct Diary(pub Vec<u32>);

impl Machine for Diary {
    fn apply(&mut self, place: u64, command: &[u8]) -> Vec<u8> {
        self.0.push(u32::from_le_bytes(command.try_into().unwrap()));
        assert_eq!(place, self.0.len() as u64, "places are without gaps");
        vec![]
    }
    fn snapshot(&self) -> Vec<u8> {
        let all = [self.0.len() as u32].into_iter().chain(self.0.iter().copied());
        let mut out: Vec<u8> = all.flat_map(u32::to_le_bytes).collect();
        out.resize(out.len() + PADDING.get(), 0);
        out
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let mut words = snapshot.as_chunks().0.iter().map(|c| u32::from_le_bytes(*c));
        let count = words.next().ok_or("no count")?;
        self.0 = words.take(count as usize).collect();
        Ok(())
    }
}

thread_local! {
    /// How much larger than it has to be a snapshot is.
    pub static PADDING: Cell<usize> = const { Cell::new(0) };
}

/// What goes wrong, in parts of a thousand.
#[derive(Clone, Copy)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    /// Come so late that their sender has forgotten them.
    pub late: u64,
    /// The time on the way of the others, in microseconds: at least, and by lot in addition.
    pub way: (u64, u64),
    /// A machine goes on to speak after its crash: no real one does. It shows that this would be found.
    pub ghosts: bool,
}

pub const FAIR: Weather = Weather { lost: 0, doubled: 0, late: 0, way: (200, 300), ghosts: false };
pub const ROUGH: Weather = Weather { lost: 20, doubled: 100, late: 10, way: (200, 5000), ghosts: false };

/// One life of a machine: what says whether it has crashed, and when it is to.
pub struct Life {
    state: Mutex<LifeState>,
    pub crashed: Notify,
}

#[derive(Default)]
struct LifeState {
    /// Syncs until the crash.
    fuse: Option<u64>,
    /// What it left on its disk.
    left: Option<Ram>,
}

impl Life {
    pub fn is_over(&self) -> bool {
        self.state().left.is_some()
    }

    fn state(&self) -> MutexGuard<'_, LifeState> {
        self.state.lock().unwrap()
    }
}

/// The disk of one life.
struct Fused {
    ram: Ram,
    life: Arc<Life>,
    lots: Lots,
}

impl Disk for Fused {
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
        let mut state = self.life.state();
        let burnt = state.fuse.as_mut().is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if burnt && state.left.is_none() {
            state.left = Some(self.ram.after_tear(|| self.lots.draw(2) == 0));
            self.life.crashed.notify_one();
        }
        drop(state);
        self.ram.sync()
    }
}

/// Lots from the seed. Clones draw from the same.
#[derive(Clone)]
pub struct Lots(Arc<Mutex<u64>>);

impl Lots {
    pub fn of(seed: u64) -> Self {
        Lots(Arc::new(Mutex::new(seed)))
    }

    pub fn draw(&self, below: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }
}

#[derive(Clone)]
pub struct Member {
    pub node: Node<Diary>,
    pub life: Arc<Life>,
    ram: Ram,
}

/// The network and the machines on it. Clones are the same.
#[derive(Clone)]
pub struct Sky {
    pub lots: Lots,
    pub timing: Timing,
    pub weather: Arc<Mutex<Weather>>,
    members: Arc<Mutex<Vec<Option<Member>>>>,
    disks: Arc<Mutex<Vec<Ram>>>,
    cut: Arc<Mutex<BTreeSet<(u16, u16)>>>,
    /// Notes each message that arrives.
    pub trace: Arc<Mutex<Vec<String>>>,
    start: tokio::time::Instant,
}

struct Way {
    sky: Sky,
    from: u16,
    life: Arc<Life>,
}

impl Network for Way {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        let sky = &self.sky;
        let weather = *sky.weather.lock().unwrap();
        if self.life.is_over() && !weather.ghosts {
            return;
        }
        let lot = sky.lots.draw(1000);
        if lot < weather.lost || sky.cut.lock().unwrap().contains(&(self.from, to.0)) {
            return;
        }
        let late = sky.lots.draw(1000) < weather.late;
        let usual = |sky: &Sky| weather.way.0 + sky.lots.draw(weather.way.1.max(1));
        let micros = if late { sky.lots.draw(3_000_000) } else { usual(sky) };
        let doubled = sky.lots.draw(1000) < weather.doubled;
        // Not over a restart of the receiver: that is the network's part of the contract.
        let only = doubled.then(|| sky.member(to.0).map(|m| m.life));
        sky.carry(self.from, to, message.clone(), micros, only.clone());
        if doubled {
            sky.carry(self.from, to, message, usual(sky), only);
        }
    }
}

impl Sky {
    /// `count` voters, node 0 having founded the group.
    pub async fn of(count: u16, seed: u64, timing: Timing, weather: Weather) -> Self {
        let sky = Sky {
            lots: Lots::of(seed),
            timing,
            weather: Arc::new(Mutex::new(FAIR)),
            members: Arc::new(Mutex::new(vec![None; usize::from(count)])),
            disks: Arc::new(Mutex::new(vec![Ram::default(); usize::from(count)])),
            cut: Arc::default(),
            trace: Arc::default(),
            start: tokio::time::Instant::now(),
        };
        for n in 0..count {
            sky.disks.lock().unwrap()[usize::from(n)] = Ram::default();
            let (disk, life, ram) = sky.disk(n);
            let store = Store::create_on(disk, Path::new("ram"), GROUP, NodeId(n)).unwrap();
            sky.run(n, store, life, ram).await;
        }
        let first = sky.member(0).unwrap().node;
        first.found().await.unwrap();
        for n in 1..count {
            first.admit(NodeId(n), Role::Voter, LONG).await.unwrap();
        }
        *sky.weather.lock().unwrap() = weather;
        sky
    }

    fn disk(&self, n: u16) -> (Fused, Arc<Life>, Ram) {
        let ram = self.disks.lock().unwrap()[usize::from(n)].clone();
        let life = Arc::new(Life { state: Mutex::default(), crashed: Notify::new() });
        (Fused { ram: ram.clone(), life: life.clone(), lots: self.lots.clone() }, life, ram)
    }

    async fn run(&self, n: u16, store: Store, life: Arc<Life>, ram: Ram) {
        let way = Way { sky: self.clone(), from: n, life: life.clone() };
        let node = Node::open(store, Diary::default(), way, self.timing).await.unwrap();
        self.members.lock().unwrap()[usize::from(n)] = Some(Member { node, life, ram });
    }

    /// Starts a machine on what it left on its disk.
    pub async fn start(&self, n: u16) {
        let (disk, life, ram) = self.disk(n);
        let store = Store::open_on(disk, Path::new("ram"), GROUP, NodeId(n)).unwrap();
        self.run(n, store, life, ram).await;
    }

    pub fn member(&self, n: u16) -> Option<Member> {
        self.members.lock().unwrap()[usize::from(n)].clone()
    }

    /// Lets a machine crash at its `syncs`-th sync from now; at once if there are none for a second.
    pub async fn crash(&self, n: u16, syncs: u64) {
        let member = self.member(n).unwrap();
        if syncs > 0 {
            member.life.state().fuse = Some(syncs);
            let _ = tokio::time::timeout(Duration::from_secs(1), member.life.crashed.notified()).await;
        }
        let left = {
            let mut state = member.life.state();
            let torn = || member.ram.after_tear(|| self.lots.draw(2) == 0);
            state.left.get_or_insert_with(torn).clone()
        };
        self.members.lock().unwrap()[usize::from(n)] = None;
        self.disks.lock().unwrap()[usize::from(n)] = left;
        tokio::spawn(async move { member.node.shutdown().await });
    }

    /// What a disk holds now.
    pub fn image(&self, n: u16) -> Ram {
        self.member(n).unwrap().ram.after_crash()
    }

    /// Gives a machine that is down another disk.
    pub fn put_back(&self, n: u16, disk: Ram) {
        self.disks.lock().unwrap()[usize::from(n)] = disk;
    }

    /// Cuts the way from one to another, or heals it.
    pub fn cut(&self, from: u16, to: u16, off: bool) {
        let mut cut = self.cut.lock().unwrap();
        if off {
            cut.insert((from, to))
        } else {
            cut.remove(&(from, to))
        };
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
    }

    fn carry(&self, from: u16, to: NodeId, message: Vec<u8>, micros: u64, only: Option<Option<Arc<Life>>>) {
        let sky = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_micros(micros)).await;
            let sum = message.iter().fold(0u32, |s, b| s.wrapping_mul(31).wrapping_add(u32::from(*b)));
            let line = format!("{:?} {from}>{} {} {sum:x}", sky.start.elapsed(), to.0, message.len());
            sky.trace.lock().unwrap().push(line);
            if sky.cut.lock().unwrap().contains(&(from, to.0)) {
                return;
            }
            let Some(member) = sky.member(to.0) else { return };
            let same = |life: Option<Arc<Life>>| life.is_some_and(|l| Arc::ptr_eq(&l, &member.life));
            if only.is_none_or(same) {
                member.node.receive(NodeId(from), &message);
            }
        });
    }
}

/// Runs on virtual time, alone on this thread.
pub fn on_virtual_time<T>(seed: u64, work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    dvs_log::seed_lots(seed);
    runtime.block_on(work)
}
