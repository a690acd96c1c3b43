//! Machines fail and come back, and a service moves, again and again under load; what clients were told is
//! judged as in the tests. Anything lost, doubled or hung ends it with a panic.
//!
//! ```text
//!   batch: five machines anew ─► cycle ─► cycle … ─► all that was seen, judged as a whole
//!                                  │ killed │ power lost │ cut │ one way: until it is lost, healed, all well
//!                                  └ moved: a service with callers on all machines, from one to another
//! ```
//! However it ends, it says how far it came, and with which words it goes on there.

use crate::{NODES, Options, row, sibling};
use dvs::{Endpoint, Port};
use dvs_cluster::actor::Actor;
use dvs_cluster::crew::Crew;
use dvs_cluster::lab::{Lab, Programs, until};
use dvs_cluster::moves::{Raise, count, declare_at, look_by, migrate_at, row_of};
use dvs_cluster::rng::Rng;
use dvs_cluster::witness::while_witnessed;
use dvs_cluster::{DC, WATCHDOG_NS};
use dvs_linux::clock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// After so many cycles all begins anew: what clients saw has to be looked at as a whole.
const BATCH: usize = 25;
/// Between two calls of a witness: hundreds of thousands are enough.
const WITNESS_PAUSE: Duration = Duration::from_millis(20);
/// The service that moves, at a slot that neither the crew nor the replicas use.
const MOVED: Endpoint = Endpoint::new(0, 5);
/// Machines it can be on. Those that stand by there take none of these slots, either.
const PLACES: [usize; 3] = [0, 2, 4];
/// Bytes it takes along.
const BALLAST: usize = 1 << 20;
const HOLD_MS: u64 = 2000;
/// Calls are made so long before a move, and after it.
const AROUND: Duration = Duration::from_millis(20);

/// What was done so far; says so when it ends, also by a panic.
#[derive(Default)]
struct Done {
    begun: u64,
    wanted: usize,
    /// Cycles of whole batches, which were judged, and of this one.
    judged: usize,
    now: usize,
    failed: usize,
    moved: usize,
    undone: usize,
    calls: usize,
    puts: u64,
    moved_calls: u64,
    known: Vec<u64>,
    whole: Vec<u64>,
    moves: Vec<u64>,
}

pub(crate) fn cycles(options: &Options, programs: Programs) {
    let from = options.from / BATCH * BATCH;
    let mut done = Done::default();
    (done.begun, done.wanted, done.judged) = (clock::now(), options.cycles, from);
    while done.judged < options.cycles {
        let Some(mut lab) = Lab::start(programs, NODES) else { return };
        let mut crew = Crew::start(sibling("cluster-actor"), &lab, &[1, 3]);
        let mut movers = Movers::start(&lab);
        let mut rng = Rng::new((done.judged / BATCH) as u64 + 1);
        let count = BATCH.min(options.cycles - done.judged);
        let said = while_witnessed(&mut lab, sibling("cluster-actor"), WITNESS_PAUSE, |lab, replicas| {
            for _ in 0..count {
                match rng.below(7) {
                    5 | 6 => movers.cycle(lab, &mut rng, &mut done),
                    what => fail(lab, &mut crew, (&mut rng, what), &mut done),
                }
                crew.look_after(lab);
                replicas.look_after(&lab.nodes);
                movers.look_after(lab);
                done.now += 1;
            }
            crew.wait_served(lab, &(0..NODES).collect::<Vec<_>>());
        });
        done.calls += crew.calm("cycles").calls;
        done.puts += said.iter().map(|s| s.counts.done).sum::<u64>();
        done.judged += std::mem::take(&mut done.now);
        eprintln!("  {}", done.sum());
    }
}

impl Done {
    fn sum(&self) -> String {
        let seconds = (clock::now() - self.begun) / 1_000_000_000;
        format!(
            "{} of {} cycles in {seconds} s: {} failures, {} moves ({} undone); {} calls, {} \
             replicated puts, {} calls of what moved",
            self.judged,
            self.wanted,
            self.failed,
            self.moved,
            self.undone,
            self.calls,
            self.puts,
            self.moved_calls
        )
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        row("failed -> known to be lost, 5 nodes", &mut self.known);
        row("healed or started again -> all is well, 5 nodes", &mut self.whole);
        row("move of 1 MiB among failures: callers held", &mut self.moves);
        let whole = self.judged >= self.wanted && self.now == 0;
        let verdict =
            if whole { "0 lost, 0 doubled, 0 hung" } else { "0 lost, doubled or hung before it ended" };
        println!("{:58} {verdict}: {}", "killed, power lost, cut, one way, moved", self.sum());
        if !whole {
            println!("{} more are not judged; go on with: --only cycles --from {}", self.now, self.judged);
        }
    }
}

/// One machine fails and comes back.
fn fail(lab: &mut Lab, crew: &mut Crew, (rng, what): (&mut Rng, u64), done: &mut Done) {
    let victim = rng.below(NODES as u64) as usize;
    let asked = (victim + 1) % NODES;
    let failed = clock::now();
    match what {
        0 | 1 => lab.nodes[victim].kill(),
        2 => {
            lab.cut(victim, true, true);
            lab.nodes[victim].kill();
            crew.power_off(victim);
        }
        3 => lab.cut(victim, true, true),
        _ => lab.cut(victim, rng.below(2) == 0, true),
    }
    lab.wait_standing(asked, victim, "down");
    let healed = clock::now();
    lab.heal();
    if what < 3 {
        lab.nodes[victim].revive();
    }
    lab.wait_whole();
    done.known.push(healed - failed);
    done.whole.push(clock::now() - healed);
    done.failed += 1;
}

/// The programs of the service that moves.
struct Movers(Vec<(usize, Actor)>);

impl Movers {
    fn start(lab: &Lab) -> Movers {
        declare_at(&lab.nodes[0], MOVED.slot(), "moved");
        Movers(PLACES.iter().map(|n| (*n, Movers::actor(lab, *n))).collect())
    }

    fn actor(lab: &Lab, node: usize) -> Actor {
        let words = [MOVED.slot().to_string(), BALLAST.to_string(), "never".to_owned()];
        Actor::start(sibling("cluster-actor"), "mover", &lab.nodes[node].socket(), &words)
    }

    /// Starts those again that have ended, on nodes that serve.
    fn look_after(&mut self, lab: &Lab) {
        for (node, actor) in &mut self.0 {
            if actor.ended().is_some() && lab.nodes[*node].serves() {
                *actor = Movers::actor(lab, *node);
            }
        }
    }

    /// Moves it somewhere else while somebody on each machine calls, and judges what these were told.
    fn cycle(&mut self, lab: &Lab, rng: &mut Rng, done: &mut Done) {
        let asked = &lab.nodes[rng.below(NODES as u64) as usize];
        let mut at = None;
        until("the moved service is served", || {
            self.look_after(lab);
            at = row_of(asked, MOVED.slot()).filter(|r| r.to.is_none()).and_then(|r| r.at);
            at.is_some_and(|at| {
                row_of(&lab.nodes[usize::from(at)], MOVED.slot()).is_some_and(|r| r.here == "serves")
            })
        });
        let at = at.map_or(0, usize::from);
        let place = PLACES.iter().position(|p| *p == at).unwrap_or(0);
        let to = PLACES[(place + 1 + rng.below(2) as usize) % PLACES.len()];
        let stop = AtomicBool::new(false);
        let processes: Vec<_> = lab.nodes.iter().map(|n| n.attach()).collect();
        let ports: Vec<(Port, u64)> = processes
            .iter()
            .map(|process| {
                let port = process.bind(DC, Endpoint::NONE).expect("a free slot");
                // A place that was somebody else's before has been counted.
                let base = look_by(&port, MOVED, port.endpoint().raw());
                (port, base)
            })
            .collect();
        let told = std::thread::scope(|s| {
            let stop = &stop;
            let calls = move |(port, base): (Port, u64)| {
                let called = count(&port, MOVED, base, stop, false);
                (look_by(&port, MOVED, called.endpoint) - base, called)
            };
            let threads: Vec<_> = ports.into_iter().map(|p| s.spawn(move || calls(p))).collect();
            let raise = Raise(stop);
            std::thread::sleep(AROUND);
            let order = || migrate_at(&asked.admin_socket(), MOVED.slot(), to, HOLD_MS);
            let told = until_told(order, || self.look_after(lab));
            std::thread::sleep(AROUND);
            drop(raise);
            for thread in threads {
                let (counted, called) = thread.join().expect("nothing is lost");
                assert_eq!((called.unknown, called.refused, called.done), (0, 0, counted), "{called:?}");
                done.moved_calls += called.done;
            }
            told
        });
        match told {
            (true, held) => done.moves.extend(held.parse::<u64>()),
            (false, why) => {
                eprintln!("  a move to {to} was undone: {why}");
                done.undone += 1;
            }
        }
        done.moved += 1;
    }
}

/// Orders a move, until there is somebody at its target to take it.
fn until_told(order: impl Fn() -> Option<(bool, String)>, mut meanwhile: impl FnMut()) -> (bool, String) {
    let end = clock::now() + WATCHDOG_NS;
    loop {
        meanwhile();
        // Whoever is to take it is started again in a moment.
        match order() {
            Some((moved, why)) if moved || !why.contains("nobody") => return (moved, why),
            told => assert!(clock::now() < end, "a move is not carried out: {told:?}"),
        }
    }
}
