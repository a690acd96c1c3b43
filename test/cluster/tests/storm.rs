//! Random `kill -9` of clients, servers and daemons under load.
//!
//! `DVS_STORM_SEED` repeats a run's choices, `DVS_STORM_KILLS` sets how many there are (1,000 over both
//! tests).

use dvs::Endpoint;
use dvs_cluster::actor::Actor;
use dvs_cluster::judge::{Life, Verdict, judge};
use dvs_cluster::measure;
use dvs_cluster::node::Node;
use dvs_cluster::rng::{Rng, seed, setting};
use dvs_cluster::{DC, roles};
use dvs_linux::clock;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_cluster-actor");
const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
const SERVERS: usize = 3;
const CLIENTS: usize = 6;
/// Slots of clients that are servers themselves and so may send; the other clients are users.
const FIRST_CLIENT: i32 = 10;
/// Longest pause between two kills; short enough that many hit a process that has just started.
const PAUSE_US: u64 = 35_000;
/// What a daemon may grow by in a storm: pages its allocator keeps.
const GROWTH_KIB: u64 = 6 << 10;

struct Storm {
    node: Node,
    crew: Vec<(usize, Actor, std::path::PathBuf)>,
    lives: Vec<Life>,
    incarnation: u32,
    rng: Rng,
    /// Processes end by themselves when their daemon is gone.
    mortal: bool,
}

impl Storm {
    fn new(seed: u64, mortal: bool) -> Storm {
        let node = Node::start(DAEMON);
        node.make_dc();
        let rng = Rng::new(seed);
        let mut storm = Storm { node, crew: Vec::new(), lives: Vec::new(), incarnation: 0, rng, mortal };
        for place in 0..SERVERS + CLIENTS {
            let (actor, journal) = storm.spawn(place);
            storm.crew.push((place, actor, journal));
        }
        storm
    }

    fn spawn(&mut self, place: usize) -> (Actor, std::path::PathBuf) {
        self.incarnation += 1;
        let journal = self.node.scratch().join(format!("j{}", self.incarnation));
        let path = journal.display().to_string();
        let socket = self.node.socket();
        let actor = if place < SERVERS {
            Actor::start(ACTOR, "server", &socket, &[place.to_string(), SERVERS.to_string(), path])
        } else {
            let nth = (place - SERVERS) as i32;
            let slot = if nth % 2 == 0 { (FIRST_CLIENT + nth).to_string() } else { "user".into() };
            let arguments = [self.incarnation.to_string(), slot, SERVERS.to_string(), path];
            Actor::start(ACTOR, "client", &socket, &arguments)
        };
        (actor, journal)
    }

    /// Notes the end of a crew member and puts another in its place.
    fn replace(&mut self, member: usize, died: u64) {
        let place = self.crew[member].0;
        let (actor, journal) = self.spawn(place);
        let (_, old, old_journal) = std::mem::replace(&mut self.crew[member], (place, actor, journal));
        self.note(place, old.started, old_journal, died);
    }

    fn note(&mut self, place: usize, from: u64, journal: std::path::PathBuf, to: u64) {
        let server = (place < SERVERS).then_some(place as u32);
        self.lives.push(Life { server, journal, from, to });
    }

    /// Nobody ends unasked, but for want of a daemon.
    fn look_after(&mut self) {
        for member in 0..self.crew.len() {
            let Some(status) = self.crew[member].1.ended() else { continue };
            let expected = self.mortal && status.code() == Some(roles::NO_DAEMON);
            assert!(expected, "member {member} ended by itself: {status}");
            self.replace(member, clock::now());
        }
    }

    fn kill_one(&mut self) {
        std::thread::sleep(Duration::from_micros(self.rng.below(PAUSE_US)));
        self.look_after();
        let member = self.rng.below(self.crew.len() as u64) as usize;
        if let Some(status) = self.crew[member].1.ended() {
            assert!(self.mortal, "member {member} ended by itself: {status}");
        }
        let died = self.crew[member].1.kill();
        self.replace(member, died);
    }

    fn kill_daemon(&mut self) {
        self.node.kill();
        self.node.revive();
    }

    /// Clients end by themselves: none hangs. Then the servers are killed, and nothing is left.
    fn calm(&mut self) -> Verdict {
        self.look_after();
        let mut crew = std::mem::take(&mut self.crew);
        crew.iter_mut().filter(|(p, ..)| *p >= SERVERS).for_each(|(_, actor, _)| actor.release());
        while let Some((place, mut actor, journal)) = crew.pop() {
            if place >= SERVERS {
                let (status, _) = actor.finish();
                let fine = status.success() || self.mortal && status.code() == Some(roles::NO_DAEMON);
                assert!(fine, "a client ended with {status}");
            } else {
                actor.kill();
            }
            self.note(place, actor.started, journal, clock::now());
        }
        self.node.wait_empty();
        let verdict = judge(&self.lives, SERVERS);
        assert!(verdict.wrong.is_empty(), "{:#?}", &verdict.wrong[..verdict.wrong.len().min(10)]);
        verdict
    }

    fn slots_are_free(&self) {
        let process = self.node.attach();
        let slots = (-2..SERVERS as i32 + 30).chain([60, 100, 1000]);
        for slot in slots {
            let info = process.system().proc_info(DC, slot).unwrap();
            assert_eq!(info.rts_flags & 1, 1, "slot {slot} is not free: {info:?}");
        }
    }
}

fn report(what: &str, seed: u64, kills: u64, started: u64, v: &Verdict) {
    let seconds = (clock::now() - started) as f64 / 1e9;
    println!(
        "{what}: seed {seed}, {kills} kills in {seconds:.1} s, {} calls, {} consumed",
        v.calls, v.consumed
    );
    println!("  open {}, not noted {}, latest {} ms", v.open, v.unnoted, v.late_ns / 1_000_000);
    println!("  errors {:?}", v.errors);
}

#[test]
fn killed_clients_and_servers_leave_nothing_and_lose_nothing() {
    let (seed, kills) = (seed(), setting("DVS_STORM_KILLS", 1000) * 9 / 10);
    let mut storm = Storm::new(seed, false);
    let started = clock::now();
    let own = measure::held(std::process::id());
    let (mut before, mut resident) = (measure::Held::default(), Vec::new());
    for n in 0..kills {
        storm.kill_one();
        if n == kills / 5 {
            before = storm.node.held();
        }
        if n % (kills / 10).max(1) == 0 {
            resident.push(measure::anonymous_kib(storm.node.pid()));
        }
    }
    let verdict = storm.calm();
    report("clients and servers", seed, kills, started, &verdict);
    let after = storm.node.held();
    println!("  daemon: under load {before:?}, after {after:?}, KiB {resident:?}");
    assert_eq!((after.memfds, after.mapped), (0, 0), "shared memory was left");
    let late = measure::anonymous_kib(storm.node.pid());
    assert!(late <= resident[resident.len() / 4] + GROWTH_KIB, "{resident:?} KiB, then {late}");
    storm.slots_are_free();
    storm.node.wait_empty();
    // A fresh daemon that has served one session holds as many descriptors as one that has seen the storm.
    let fresh = Node::start(DAEMON);
    fresh.make_dc();
    fresh.wait_empty();
    assert_eq!(storm.node.settled_fds(), fresh.settled_fds(), "descriptors were left");
    assert_eq!(measure::zombies_of(storm.node.pid()) + measure::zombies_of(std::process::id()), 0);
    let now = measure::held(std::process::id());
    assert_eq!((now.memfds, now.mapped), (own.memfds, own.mapped));
}

#[test]
fn killed_daemons_take_no_message_with_them() {
    let (seed, kills) = (seed(), setting("DVS_STORM_KILLS", 1000) / 10);
    let mut storm = Storm::new(seed, true);
    let started = clock::now();
    for _ in 0..kills {
        match storm.rng.below(3) {
            0 => storm.kill_daemon(),
            _ => storm.kill_one(),
        }
    }
    let verdict = storm.calm();
    report("daemons too", seed, kills, started, &verdict);
    storm.slots_are_free();
    assert!(verdict.errors.keys().any(|(name, _)| name == "DVSINIT"), "{:?}", verdict.errors);
    let port = storm.node.attach().bind(DC, Endpoint::NONE).unwrap();
    assert!(port.endpoint().slot() > 28);
}
