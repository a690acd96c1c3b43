//! A movable server as a helper process that can be stopped in any phase of its move, callers that count, and
//! moves as an operator orders them.

use crate::actor::Actor;
use crate::node::Node;
use crate::roles::{attach, say};
use crate::{DC, WATCHDOG, WATCHDOG_NS};
use dvs::{Code, Effect, Endpoint, Message, Port, Process};
use dvs_control::service::{Kind, PartitionRule, ServiceSpec};
use dvs_linux::clock;
use dvs_migrate::{HandOver, Host, Manner, News};
use dvsd::admin::{AdminAnswer, AdminRequest, MoveOrder, ServiceRow};
use dvsd::client::AdminClient;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The service of these tests.
pub const SLOT: i32 = 12;
/// "Count me": answered with how often this caller has said so, and how often all have.
pub const COUNT: i32 = 40;
/// What a caller that is asked about has been counted to.
pub const LOOK: i32 = 41;

/// Where a helper stops in a move, says so, and waits for a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Nowhere.
    Never,
    /// The source, in the first round: callers are served.
    First,
    /// The source, in the last round: callers are held.
    Last,
    /// The target, when it has the last round and has not said so.
    Taken,
}

impl Stop {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Never => "never",
            Stop::First => "first",
            Stop::Last => "last",
            Stop::Taken => "taken",
        }
    }

    fn of(name: &str) -> Option<Stop> {
        [Stop::Never, Stop::First, Stop::Last, Stop::Taken].into_iter().find(|s| s.name() == name)
    }
}

/// Counts the calls of each caller; without a table of duplicates, so that one that is done twice shows.
#[derive(Debug)]
pub struct Tally {
    counts: BTreeMap<i32, u64>,
    /// Other state that has to travel.
    ballast: Vec<u8>,
    changed: BTreeSet<i32>,
    sent: usize,
    round: u32,
    taken: u32,
    stop: Stop,
}

impl Tally {
    /// One with so many other bytes of state.
    pub fn new(ballast: usize, stop: Stop) -> Self {
        let (counts, changed) = (BTreeMap::new(), BTreeSet::new());
        Tally { counts, ballast: vec![7; ballast], changed, sent: usize::MAX, round: 0, taken: 0, stop }
    }

    fn stop_at(&self, stop: Stop) {
        if self.stop == stop {
            say(&format!("at {}", stop.name()));
            let mut line = String::new();
            // Its end is a word to go on, too.
            let _ = std::io::stdin().lock().read_line(&mut line);
        }
    }
}

impl HandOver for Tally {
    fn request(&mut self, _: &Port, m: &mut Message) {
        let caller = m.source().raw();
        if m.mtype() == COUNT {
            *self.counts.entry(caller).or_default() += 1;
            self.changed.insert(caller);
        }
        let of = if m.mtype() == LOOK { m.word(0) as i32 } else { caller };
        let (count, all) = (self.counts.get(&of).copied().unwrap_or(0), self.counts.values().sum());
        *m = Message::new(m.mtype());
        m.set_word(0, count);
        m.set_word(1, all);
    }

    fn version(&self) -> u32 {
        1
    }

    fn bytes(&self) -> u64 {
        self.ballast.len() as u64
    }

    fn round(&mut self, first: bool) -> u64 {
        self.round = if first { 1 } else { self.round + 1 };
        if first {
            self.changed = self.counts.keys().copied().collect();
        }
        self.sent = if first { 0 } else { self.ballast.len() };
        (self.ballast.len() - self.sent + 12 * self.changed.len()) as u64
    }

    fn part(&mut self, out: &mut Vec<u8>, room: usize) -> bool {
        if self.sent < self.ballast.len() {
            let n = room.min(self.ballast.len() - self.sent);
            self.sent += n;
            out.push(0);
            out.extend(&self.ballast[self.sent - n..self.sent]);
            return true;
        }
        self.stop_at(if self.round == 1 { Stop::First } else { Stop::Last });
        out.push(1);
        for caller in std::mem::take(&mut self.changed) {
            out.extend(caller.to_le_bytes());
            out.extend(self.counts[&caller].to_le_bytes());
        }
        false
    }

    fn take(&mut self, _: u32, part: &[u8]) -> Result<(), String> {
        match part.split_first() {
            Some((0, bytes)) => self.ballast.extend(bytes),
            Some((1, pairs)) if pairs.len() % 12 == 0 => {
                for pair in pairs.chunks(12) {
                    let (caller, count) = pair.split_at(4);
                    let caller = i32::from_le_bytes(caller.try_into().map_err(|_| "four bytes")?);
                    self.counts.insert(caller, u64::from_le_bytes(count.try_into().map_err(|_| "eight")?));
                }
                self.taken += 1;
                if self.taken == 2 {
                    self.stop_at(Stop::Taken);
                }
            }
            _ => return Err("no part of a tally".into()),
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Tally::new(0, self.stop);
    }
}

/// `mover SOCKET SLOT BALLAST STOP`: the server at its node, or one that stands by; after it has moved away
/// it stands by again. Says what it does.
pub fn serve(socket: &Path, slot: i32, ballast: usize, stop: &str) {
    host(socket, slot, Tally::new(ballast, Stop::of(stop).unwrap_or(Stop::Never)));
}

/// `alone SOCKET`: the same with a key/value server.
pub fn serve_kv(socket: &Path) {
    host(socket, dvs_kv::SERVICE.slot(), dvs_kv::Alone::default());
}

fn host<S: HandOver>(socket: &Path, slot: i32, server: S) {
    let process = attach(socket, "mover");
    let news = |news: News| match news {
        News::Serves => say("serves"),
        News::StandsBy(_) => say("stands by"),
        News::Leaves(_) => say("leaves"),
        News::Stays => say("stays"),
        News::Moved(_) => say("moved"),
    };
    let manner = Manner { stays: true, ..Manner::default() };
    match Host::new(&process, DC, Endpoint::new(0, slot)).manner(manner).news(&news).run(server) {
        Ok(ended) => say(&format!("over: {ended:?}")),
        Err(e) => say(&format!("ended: {e}")),
    }
    std::process::exit(0);
}

/// Declares the service.
///
/// # Panics
/// When that is refused.
pub fn declare(node: &Node) {
    declare_at(node, SLOT, "tally");
}

/// Declares a single service on all nodes.
///
/// # Panics
/// When that is refused.
pub fn declare_at(node: &Node, slot: i32, name: &str) {
    let nodes = 0b1111_1111;
    let dc = node.attach().system().dc_info(DC).expect("the container runs");
    let (name, kind, rule) = (name.to_owned(), Kind::Single, PartitionRule::Stop);
    let spec = Some(ServiceSpec { name, kind, nodes: nodes & dc.nodes, rule });
    let order = AdminRequest::Service { dc: DC.0, slot, spec };
    let mut admin = AdminClient::connect(&node.admin_socket()).expect("the daemon serves");
    let parts = admin.all(&order).expect("the daemon answers");
    assert_eq!(parts, [], "it is declared");
}

/// The program of the service, or one that stands by for it, at a node that knows the service; when it has
/// said which.
///
/// # Panics
/// When the node does not get to know the service.
pub fn mover(program: &str, node: &Node, ballast: usize, stop: Stop) -> Actor {
    until("the service is known there", || row(node).is_some());
    let arguments = [SLOT.to_string(), ballast.to_string(), stop.name().to_owned()];
    ready(Actor::start(program, "mover", &node.socket(), &arguments))
}

/// A program that can move, when it serves or stands by, or has ended.
pub fn ready(mut actor: Actor) -> Actor {
    while let Some(line) = actor.line() {
        if matches!(line.as_str(), "serves" | "stands by") {
            return actor;
        }
    }
    actor
}

/// What a node says of the service.
pub fn row(node: &Node) -> Option<ServiceRow> {
    row_of(node, SLOT)
}

/// What a node says of a service.
pub fn row_of(node: &Node, slot: i32) -> Option<ServiceRow> {
    let asked = AdminClient::connect(&node.admin_socket()).and_then(|mut a| a.all(&AdminRequest::Services));
    asked.ok()?.into_iter().find_map(|part| match part {
        AdminAnswer::Services(rows) => rows.into_iter().find(|r| r.slot == slot),
        _ => None,
    })
}

/// An order to move it.
pub fn order(to: usize, hold_ms: u64) -> AdminRequest {
    order_of(SLOT, to, hold_ms)
}

fn order_of(slot: i32, to: usize, hold_ms: u64) -> AdminRequest {
    let (dc, to, program) = (DC.0, to as u16, Vec::new());
    let (check, prepare_ms, folder) = (false, 30_000, None);
    AdminRequest::Migrate(MoveOrder { dc, slot, to, check, prepare_ms, hold_ms, program, folder })
}

/// Has it moved; whether it was and what was said about it. Nothing if whoever was asked went away.
pub fn migrate(admin_socket: &Path, to: usize, hold_ms: u64) -> Option<(bool, String)> {
    migrate_at(admin_socket, SLOT, to, hold_ms)
}

/// The same with a service.
pub fn migrate_at(admin_socket: &Path, slot: i32, to: usize, hold_ms: u64) -> Option<(bool, String)> {
    let mut admin = AdminClient::connect(admin_socket).ok()?;
    for _ in 0..100 {
        let told = admin.all(&order_of(slot, to, hold_ms)).ok()?.into_iter().find_map(|part| match part {
            AdminAnswer::Moved { moved: true, held_ns, .. } => Some((0, format!("{held_ns}"))),
            AdminAnswer::Moved { why, .. } => Some((-1, why)),
            AdminAnswer::Refused { code, why } => Some((code, why)),
            _ => None,
        })?;
        if told.0 != Code::STALE as i32 {
            return Some((told.0 == 0, told.1));
        }
        // The node that was asked learns in a moment where the service is.
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    None
}

/// What became of the calls of one caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Called {
    /// Who.
    pub endpoint: i32,
    /// Those that were answered,
    pub done: u64,
    /// and those of which nobody knows.
    pub unknown: u64,
    /// Those that were not done, by their caller's word.
    pub refused: u64,
    /// The longest one took, ns.
    pub longest_ns: u64,
}

/// Raises a flag when it is dropped, also by a panic: then those who call stop.
#[derive(Debug)]
pub struct Raise<'a>(pub &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Calls until it is told to stop. Every answer counts on from the one before; the count falls back only when
/// the server may `lose` what it had.
///
/// # Panics
/// When a call was lost or done twice.
pub fn call(process: &Process, stop: &AtomicBool, lose: bool) -> Called {
    let port = process.bind(DC, Endpoint::NONE).expect("a free slot");
    count(&port, Endpoint::new(0, SLOT), 0, stop, lose)
}

/// The same at a service that has counted this port to `last`.
///
/// # Panics
/// When a call was lost or done twice.
pub fn count(port: &Port, service: Endpoint, mut last: u64, stop: &AtomicBool, lose: bool) -> Called {
    let mut called = Called { endpoint: port.endpoint().raw(), ..Called::default() };
    let mut maybe = 0;
    while !stop.load(Ordering::Acquire) {
        let began = clock::now();
        let mut m = Message::new(COUNT);
        match port.sendrec(service, &mut m, WATCHDOG) {
            Ok(()) => {
                let now = m.word(0);
                called.done += 1;
                let fits = (last + 1..=last + 1 + maybe).contains(&now);
                assert!(fits || lose, "{now} after {last}, {maybe} unknown");
                (last, maybe) = (now, 0);
            }
            // Its own daemon is gone.
            Err(e) if e.code == Code::DVSINIT => {
                called.unknown += 1;
                break;
            }
            Err(e) if e.effect == Effect::No => {
                assert!(e.code != Code::TIMEDOUT, "a call hung: {e}");
                called.refused += 1;
            }
            Err(e) => {
                assert!(e.code != Code::TIMEDOUT, "a call hung: {e}");
                called.unknown += 1;
                maybe += 1;
            }
        }
        called.longest_ns = called.longest_ns.max(clock::now() - began);
    }
    called
}

/// What the service has counted a caller to.
///
/// # Panics
/// When it does not answer.
pub fn look(process: &Process, caller: i32) -> u64 {
    let port = process.bind(DC, Endpoint::NONE).expect("a free slot");
    look_by(&port, Endpoint::new(0, SLOT), caller)
}

/// The same, asked of a service at a port.
///
/// # Panics
/// When it does not answer.
pub fn look_by(port: &Port, service: Endpoint, caller: i32) -> u64 {
    let mut m = Message::new(LOOK);
    m.set_word(0, caller as u32 as u64);
    port.sendrec(service, &mut m, WATCHDOG).expect("the service answers");
    m.word(0)
}

/// Waits until it is so.
///
/// # Panics
/// When it is not in the watchdog's time.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = clock::now() + WATCHDOG_NS;
    while !so() {
        assert!(clock::now() < end, "waited in vain until {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
