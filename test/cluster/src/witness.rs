//! Witnesses: clients of the key/value service on all machines of a lab while something happens to these.
//! What all of them saw together must be what one store shows that does one thing at a time.
//!
//! ```text
//!   witness on each machine ── put, get ──► replicas on the first three
//!        │ its daemon ended, its node was taken for lost: attached anew, its calls numbered on
//!        └──► history of all ──► explained by one store? every acknowledged put in it, none twice?
//! ```

use crate::kv::{Counts, Replicas, Seen, wait_votes};
use crate::lab::Lab;
use crate::{DC, WATCHDOG_NS};
use dvs::{Endpoint, Timeout};
use dvs_kv::{Client, SERVICE};
use dvs_linux::clock;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a witness waits for one call.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much later a call may end on a machine with too much to do; only a hang takes longer.
const GRACE_NS: u64 = 15_000_000_000;
/// Machines with a replica.
const REPLICAS: usize = 3;
/// Between two attempts to attach, and two looks whether all is well.
const PAUSE: Duration = Duration::from_millis(20);

/// What one witness saw.
#[derive(Clone, Copy, Default, Debug)]
pub struct Statement {
    /// Of its puts.
    pub counts: Counts,
    /// Calls of any kind without an answer.
    pub failed: u64,
    /// Its longest call, ns.
    pub longest_ns: u64,
}

/// All of them.
struct Stand {
    /// Between two calls of one.
    rest: Duration,
    seen: Seen,
    /// By machine: when its witness was answered last.
    answered: Vec<AtomicU64>,
}

/// Has a witness on every machine write and read, with `rest` between two calls, while `trouble` happens, and
/// until all of them are answered again; what each of them saw.
///
/// # Panics
/// When what they saw is not one store's, a put that was acknowledged is not there or one is there twice, a
/// call hangs, or one of them is not answered again in the watchdog's time.
pub fn while_witnessed(
    lab: &mut Lab,
    actor: &'static str,
    rest: Duration,
    trouble: impl FnOnce(&mut Lab, &mut Replicas),
) -> Vec<Statement> {
    let count = lab.nodes.len();
    let mut replicas = Replicas::on_first(actor, &lab.nodes, REPLICAS.min(count));
    let answered = (0..count).map(|_| AtomicU64::new(0)).collect();
    let stand = Stand { answered, rest, seen: Seen::default() };
    let sockets: Vec<PathBuf> = lab.nodes.iter().map(|n| n.socket()).collect();
    let said = std::thread::scope(|s| {
        let stand = &stand;
        let numbered = sockets.iter().enumerate();
        let threads: Vec<_> = numbered.map(|(n, at)| s.spawn(move || stand.witness(n, at))).collect();
        // Those that wait for an end that does not come would keep a test that fails.
        let over = Over(&stand.seen);
        stand.wait_answered(lab, &mut replicas);
        // Any one of them can be done without from here on.
        (0..REPLICAS.min(count)).for_each(|n| wait_votes(&lab.nodes, n, REPLICAS.min(count)));
        trouble(lab, &mut replicas);
        stand.wait_answered(lab, &mut replicas);
        drop(over);
        threads.into_iter().map(|t| t.join().expect("it ends well")).collect::<Vec<Statement>>()
    });
    stand.check(&said, lab);
    said
}

struct Over<'a>(&'a Seen);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Stand {
    fn witness(&self, me: usize, socket: &Path) -> Statement {
        let (mut said, mut n) = (Statement::default(), 0);
        while !self.seen.is_over() {
            let bound = dvs::attach_to(socket, "witness").and_then(|p| p.bind(DC, Endpoint::NONE));
            let Ok(port) = bound else {
                std::thread::park_timeout(PAUSE);
                continue;
            };
            let client = Client::new(port, SERVICE).with_timeout(Timeout::After(PATIENCE));
            let mut good = true;
            while good && !self.seen.is_over() {
                n += 1;
                std::thread::park_timeout(self.rest);
                let begun = clock::now();
                good = self.seen.one(me as i64 + 1, n, &client, &mut said.counts);
                let now = clock::now();
                said.longest_ns = said.longest_ns.max(now - begun);
                match good {
                    true => self.answered[me].store(begun, Ordering::Release),
                    false => said.failed += 1,
                }
            }
        }
        said
    }

    /// Waits until every witness has begun a call since now that was answered.
    fn wait_answered(&self, lab: &Lab, replicas: &mut Replicas) {
        let (since, end) = (clock::now(), clock::now() + WATCHDOG_NS);
        loop {
            replicas.look_after(&lab.nodes);
            let late = |n: &usize| self.answered[*n].load(Ordering::Acquire) < since;
            let waiting: Vec<usize> = (0..self.answered.len()).filter(late).collect();
            if waiting.is_empty() {
                return;
            }
            assert!(clock::now() < end, "witnesses on {waiting:?} get no answers");
            std::thread::park_timeout(PAUSE);
        }
    }

    fn check(&self, said: &[Statement], lab: &Lab) {
        let sum = |f: fn(&Statement) -> u64| said.iter().map(f).sum::<u64>();
        let (done, unknown) = (sum(|s| s.counts.done), sum(|s| s.counts.unknown));
        eprintln!("{} calls, {done} puts, {unknown} unknown; by machine:", self.seen.calls());
        for (n, s) in said.iter().enumerate() {
            let held = s.longest_ns / 1_000_000;
            eprintln!("  {n}: {} puts, {} calls failed, held {held} ms at most", s.counts.done, s.failed);
            let most = PATIENCE.as_nanos() as u64 + GRACE_NS;
            assert!(s.longest_ns < most, "a call of the witness on {n} took {held} ms");
        }
        self.seen.check();
        assert!(said.iter().all(|s| s.counts.done > 0), "somebody did nothing");
        let client = crate::kv::client(&lab.nodes[0].attach());
        let revision = client.info().expect("the service answers").revision;
        assert!((done..=done + unknown).contains(&revision), "{done} + {unknown} puts, revision {revision}");
    }
}
