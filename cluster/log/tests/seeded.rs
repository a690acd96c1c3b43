//! Members in one thread on virtual time, with disks in memory, from one seed: equal seeds give equal runs,
//! and hours pass in moments.

use dvs_abi::NodeId;
use dvs_log::{GroupId, Machine, Network, Node, Ram, Role, Store, Timing, seed_lots};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LONG: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Diary(Vec<u8>);

impl Machine for Diary {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(command);
        vec![]
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.clone()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = snapshot.to_vec();
        Ok(())
    }
}

type Members = Arc<Mutex<Vec<Option<Node<Diary>>>>>;

/// Delays each message by its lot, loses some, and keeps a trace.
#[derive(Clone)]
struct Air {
    members: Members,
    trace: Arc<Mutex<Vec<String>>>,
    lots: Arc<Mutex<u64>>,
    start: Instant,
}

struct Way(Air, u16);

impl Network for Way {
    fn send(&self, to: NodeId, message: Vec<u8>) {
        let lot = {
            let mut lots = self.0.lots.lock().unwrap();
            *lots = lots.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *lots >> 33
        };
        if lot.is_multiple_of(50) {
            return;
        }
        let (air, from) = (self.0.clone(), self.1);
        tokio::spawn(async move {
            sleep(Duration::from_micros(200 + lot % 5000)).await;
            let sum = message.iter().fold(0u32, |s, b| s.wrapping_mul(31).wrapping_add(u32::from(*b)));
            let line = format!("{:?} {from}>{} {} {sum:x}", air.start.elapsed(), to.0, message.len());
            air.trace.lock().unwrap().push(line);
            let member = air.members.lock().unwrap()[usize::from(to.0)].clone();
            if let Some(member) = member {
                member.receive(NodeId(from), &message);
            }
        });
    }
}

/// One run: three members, commands, the leader crashes and comes back.
fn run(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    seed_lots(seed);
    runtime.block_on(async move {
        let members: Members = Arc::new(Mutex::new(vec![None, None, None]));
        let air =
            Air { members, trace: Arc::default(), lots: Arc::new(Mutex::new(seed)), start: Instant::now() };
        let disks: Vec<Ram> = (0..3).map(|_| Ram::default()).collect();
        for (n, disk) in (0u16..).zip(&disks) {
            let store = Store::create_on(disk.clone(), Path::new("ram"), GroupId(1), NodeId(n)).unwrap();
            let way = Way(air.clone(), n);
            let node = Node::open(store, Diary::default(), way, Timing::default()).await.unwrap();
            air.members.lock().unwrap()[usize::from(n)] = Some(node);
        }
        let at = |n: u16| air.members.lock().unwrap()[usize::from(n)].clone().unwrap();
        at(0).found().await.unwrap();
        at(0).admit(NodeId(1), Role::Voter, LONG).await.unwrap();
        at(0).admit(NodeId(2), Role::Voter, LONG).await.unwrap();
        let mut done = Vec::new();
        for n in 0..30u8 {
            // A question that was lost ends as unknown.
            if at(u16::from(n) % 3).propose(vec![n], LONG).await.is_ok() {
                done.push(n);
            }
        }
        let leader = at(0).leader().unwrap().0;
        let dead = air.members.lock().unwrap()[usize::from(leader)].take().unwrap();
        let disk = disks[usize::from(leader)].after_crash();
        dead.shutdown().await;
        let other = (leader + 1) % 3;
        at(other).wait(|s| s.leader.is_some_and(|l| l.0 != leader), LONG).await.unwrap();
        if at(other).propose(vec![100], LONG).await.is_ok() {
            done.push(100);
        }
        let store = Store::open_on(disk, Path::new("ram"), GroupId(1), NodeId(leader)).unwrap();
        let way = Way(air.clone(), leader);
        let back = Node::open(store, Diary::default(), way, Timing::default()).await.unwrap();
        air.members.lock().unwrap()[usize::from(leader)] = Some(back.clone());
        // An hour without work.
        sleep(Duration::from_secs(3600)).await;
        back.read_barrier(LONG).await.unwrap();
        assert!(done.len() > 20 && back.read(|d| done.iter().all(|n| d.0.contains(n))));
        for n in 0..3 {
            at(n).shutdown().await;
        }
        air.trace.lock().unwrap().clone()
    })
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in [1, 2] {
        let (first, second) = (run(seed), run(seed));
        assert!(first.len() > 10_000);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|i| (i, &first[i], &second[i])), None);
        assert_eq!(first.len(), second.len());
    }
    assert_ne!(run(1).len(), run(3).len());
}
