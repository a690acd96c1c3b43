//! Replicas of the key/value service as helper processes, and clients that note what they saw.

use crate::actor::Actor;
use crate::held::{Held, hold_of};
use crate::net::Net;
use crate::node::Node;
use crate::roles::{attach, say, told_to_end};
use crate::{DC, WATCHDOG, WATCHDOG_NS};
use dvs::{Code, Effect, Endpoint, NodeId, Process, Rule};
use dvs_kv::{Client, KvError, SERVICE};
use dvs_linux::clock;
use dvs_replica::replica::Stopper;
use dvs_replica::{Active, Plan, Replica, ReplicaError, Seats};
use dvs_sim::{History, Number, Register};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `kv SOCKET COUNT STORE [reads]`: the replica of its node, of nodes 0 to COUNT - 1; ends in order
/// when it is told a line, at once when its input ends, or says why it cannot go on. `reads`: the rule of the
/// service, if it is not declared yet. It is held back as a file beside its store says: [`Held`].
///
/// # Panics
/// When the helper was called wrongly.
pub fn serve(socket: &Path, count: usize, store: &Path, reads: bool) {
    let hold = hold_of(store);
    let process = attach(socket, "kv");
    let nodes: Vec<NodeId> = (0..count as u16).map(NodeId).collect();
    let seats = Seats::new(DC, SERVICE, &nodes).expect("a list of nodes");
    let mut plan = Plan::new(seats, store);
    if reads {
        plan.rule = Rule::Reads;
    }
    let runs = Arc::<Mutex<Option<Stopper>>>::default();
    end_on_a_line(runs.clone());
    loop {
        let end = clock::now() + WATCHDOG_NS;
        let replica = loop {
            match Replica::start(&process, &plan, Active::new(Held::new(&hold))) {
                Ok(replica) => break replica,
                // The daemon has not seen its predecessor's death yet.
                Err(ReplicaError::Endpoint { error, .. }) if error.code == Code::SLOTUSED => {
                    assert!(clock::now() < end, "the predecessor does not go");
                    std::thread::yield_now();
                }
                Err(error) => return say(&format!("cannot: {error}")),
            }
        };
        *runs.lock().unwrap_or_else(PoisonError::into_inner) = Some(replica.stopper());
        say("runs");
        match replica.serve() {
            Ok(()) => say("over"),
            // Its node was taken for lost: it starts again.
            Err(ReplicaError::Endpoint { error, .. }) if error.code == Code::NOTBIND => continue,
            Err(error) => say(&format!("ended: {error}")),
        }
        std::process::exit(0);
    }
}

/// Has the replica that runs then end in order when a line is read.
fn end_on_a_line(runs: Arc<Mutex<Option<Stopper>>>) {
    std::thread::spawn(move || {
        let told = std::io::stdin().read_line(&mut String::new()).is_ok_and(|n| n > 0);
        if let Some(stopper) = runs.lock().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|_| told) {
            stopper.stop();
        }
        // An end of the input is the end at once.
        told_to_end(true);
    });
}

/// Replicas on the first nodes of a net.
pub struct Replicas {
    /// The helpers; nothing where one was killed.
    pub actors: Vec<Option<Actor>>,
    program: &'static str,
    /// The rule of the service is *reads*.
    pub reads: bool,
    /// How many nodes founded the group.
    pub founders: usize,
}

impl Replicas {
    /// Starts one on each node.
    pub fn start(program: &'static str, nodes: &[Node]) -> Replicas {
        Replicas::on_first(program, nodes, nodes.len())
    }

    /// Starts one on each of the first `count` nodes.
    pub fn on_first(program: &'static str, nodes: &[Node], count: usize) -> Replicas {
        let mut replicas = Replicas::none(program, count);
        (0..count).for_each(|n| replicas.revive(nodes, n));
        replicas
    }

    /// Those of `count` nodes, none of them started.
    pub fn none(program: &'static str, count: usize) -> Replicas {
        let actors = (0..count).map(|_| None).collect();
        Replicas { actors, program, reads: false, founders: count }
    }

    /// Starts that of node `n` again, on what it has on its disk.
    pub fn revive(&mut self, nodes: &[Node], n: usize) {
        let store = nodes[n].scratch().join("kv.log");
        self.revive_on(nodes, n, &store);
    }

    /// The same on another disk.
    pub fn revive_on(&mut self, nodes: &[Node], n: usize, store: &Path) {
        let mut arguments = vec![self.founders.to_string(), store.display().to_string()];
        if self.reads {
            arguments.push("reads".to_owned());
        }
        self.actors[n] = Some(Actor::start(self.program, "kv", &nodes[n].socket(), &arguments));
    }

    /// Starts those again that have ended, on nodes that serve.
    pub fn look_after(&mut self, nodes: &[Node]) {
        for n in 0..self.actors.len() {
            let over = self.actors[n].as_mut().is_none_or(|a| a.ended().is_some());
            if over && nodes[n].serves() {
                self.revive(nodes, n);
            }
        }
    }

    /// Kills that of node `n` with -9.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, n: usize) {
        self.actors[n].take().expect("it runs").kill();
    }
}

/// A client at a node, with the time of a watchdog for each call.
///
/// # Panics
/// When the node does not let it in.
pub fn client(process: &Process) -> Client<dvs::ThreadWait> {
    let port = process.bind(DC, Endpoint::NONE).expect("a free slot");
    Client::new(port, SERVICE).with_timeout(WATCHDOG)
}

/// One that repeats nothing of itself.
///
/// # Panics
/// As [`client`].
pub fn plain_client(process: &Process) -> Client<dvs::ThreadWait> {
    let port = process.bind(DC, Endpoint::NONE).expect("a free slot");
    Client::plain(port, SERVICE).with_timeout(WATCHDOG)
}

/// Waits until the service answers at a node.
///
/// # Panics
/// When it does not.
pub fn answers(net: &Net, n: usize) {
    client(&net.nodes[n].attach()).info().expect("the service answers");
}

/// Waits until the calls of a node go to its own replica, and that has a vote as all others have: then any
/// one of three can be done without.
///
/// # Panics
/// When they do not.
pub fn wait_whole(net: &Net, n: usize, seats: usize) {
    wait_votes(&net.nodes, n, seats);
}

/// The same of any nodes.
///
/// # Panics
/// When they do not.
pub fn wait_votes(nodes: &[Node], n: usize, seats: usize) {
    let process = nodes[n].attach();
    let client = client(&process);
    let end = clock::now() + WATCHDOG_NS;
    let serves = || process.system().proc_info(DC, SERVICE.slot()).is_ok_and(|p| p.node == n as i32);
    let votes = || {
        let report = client.replicas().report(n).ok()?;
        Some(report.leader.is_some() && report.members.iter().filter(|(_, votes)| *votes).count() == seats)
    };
    while !(serves() && votes() == Some(true)) {
        assert!(clock::now() < end, "the replica of node {n} does not serve");
        std::thread::yield_now();
    }
}

/// Who leads, by the word of the replica of node `n`; nobody if it does not know or answer.
pub fn leader(net: &Net, n: usize) -> Option<usize> {
    leader_of(&net.nodes[n], n)
}

/// The same of any node, the `n`th.
pub fn leader_of(node: &Node, n: usize) -> Option<usize> {
    let client = client(&node.attach());
    client.replicas().report(n).ok().and_then(|r| r.leader).map(usize::from)
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// What clients saw together.
#[derive(Default)]
pub struct Seen {
    history: Mutex<History<Register<'static>, Number>>,
    over: AtomicBool,
}

/// Counts of what clients saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Changes that were acknowledged.
    pub done: u64,
    /// Of which nobody knows.
    pub unknown: u64,
    /// That were refused for certain.
    pub refused: u64,
    /// Reads without an answer.
    pub unread: u64,
}

impl Seen {
    /// Ends the clients.
    pub fn stop(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History<Register<'static>, Number>> {
        self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Calls made so far.
    pub fn calls(&self) -> usize {
        self.history().calls().len()
    }

    /// Whether the clients were to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// These clients write and read while `work` is done; what each of them saw.
    ///
    /// # Panics
    /// When one of them does.
    pub fn calls_while(&self, clients: Vec<Client<dvs::ThreadWait>>, work: impl FnOnce()) -> Vec<Counts> {
        std::thread::scope(|s| {
            let numbered = clients.into_iter().zip(1..);
            let threads: Vec<_> = numbered.map(|(c, me)| s.spawn(move || self.call(me, &c))).collect();
            work();
            self.stop();
            threads.into_iter().map(|t| t.join().expect("a client")).collect()
        })
    }

    /// Client number `me` writes and reads until it is stopped.
    pub fn call(&self, me: i64, client: &Client<dvs::ThreadWait>) -> Counts {
        let (mut counts, mut n) = (Counts::default(), 0);
        while !self.is_over() {
            n += 1;
            self.one(me, n, client, &mut counts);
        }
        counts
    }

    /// One write or read: the `n`th of client number `me`. Whether it was answered.
    pub fn one(&self, me: i64, n: i64, client: &Client<dvs::ThreadWait>, counts: &mut Counts) -> bool {
        let key = KEYS[(me + n) as usize % KEYS.len()];
        let value = me * 1_000_000 + n;
        if n % 3 > 0 {
            return self.write(client, key, value, counts);
        }
        let good = self.read(client, key);
        counts.unread += u64::from(!good);
        good
    }

    fn write(
        &self,
        client: &Client<dvs::ThreadWait>,
        key: &'static str,
        value: i64,
        counts: &mut Counts,
    ) -> bool {
        let call = self.history().begin(clock::now(), Register::Write(key, value));
        match client.put(key.as_bytes(), &value.to_le_bytes(), None) {
            Ok(_) => {
                counts.done += 1;
                self.history().reply(call, Number::Done, clock::now());
                return true;
            }
            Err(e) if e.effect() == Effect::No => {
                counts.refused += 1;
                self.history().nothing(call);
            }
            Err(e) => {
                eprintln!("a write: {e}");
                counts.unknown += 1;
            }
        }
        false
    }

    fn read(&self, client: &Client<dvs::ThreadWait>, key: &'static str) -> bool {
        let call = self.history().begin(clock::now(), Register::Read(key));
        let is = match client.get(key.as_bytes()) {
            Ok(Some((_, value))) => i64::from_le_bytes(value.try_into().expect("eight bytes were put")),
            Ok(None) => 0,
            Err(e) => {
                assert!(!matches!(e, KvError::BadAnswer), "{e}");
                eprintln!("a read: {e}");
                return false;
            }
        };
        self.history().reply(call, Number::Is(is), clock::now());
        true
    }

    /// Checks that one store that does one thing at a time explains all that was seen.
    ///
    /// # Panics
    /// When none does.
    pub fn check(&self) {
        dvs_sim::check_linear(&self.history()).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Plain callers write and read while `trouble` happens. Each of their calls is answered, and done once.
///
/// # Panics
/// When that is not so.
pub fn while_plain_callers_call(net: &mut Net, at: &[usize], trouble: impl FnOnce(&mut Net)) {
    let seen = Seen::default();
    let clients: Vec<_> = at.iter().map(|n| plain_client(&net.nodes[*n].attach())).collect();
    let counts = seen.calls_while(clients, || trouble(net));
    seen.check();
    let done: u64 = counts.iter().map(|c| c.done).sum();
    println!("{} calls, {done} changes", seen.calls());
    assert!(done > 50, "{counts:?}");
    assert!(counts.iter().all(|c| c.unknown + c.refused + c.unread == 0), "{counts:?}");
    assert_eq!(client(&net.nodes[at[0]].attach()).info().expect("the service answers").revision, done);
}
