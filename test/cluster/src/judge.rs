//! Compares what servers consumed with how clients' calls ended.
//!
//! The rules, for every call of every incarnation of every client:
//! - it was consumed at most once, by the server it was made to (a relayed one: by the next), and the calls
//!   of one
//!   client are consumed in the order they were made;
//! - if it ended well it was consumed; a server killed between consuming and noting leaves one plain message
//!   at most
//!   that nobody noted: each such message is charged to a death of its server in whose life the call began;
//! - if its error says "not done" it was not consumed;
//! - it ended no later than its deadline and a grace that only a hang outlasts; also the one a client was
//!   killed in.

use crate::journal::{self, Entry, What};
use crate::roles::{COPY, RELAY, SEND};
use dvs::Code;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Longer than any delay of a loaded machine, shorter than what a hang is.
const GRACE_NS: u64 = 15_000_000_000;

/// One life of a helper.
#[derive(Clone, Debug)]
pub struct Life {
    /// Number of the server; `None` for a client.
    pub server: Option<u32>,
    /// Its journal.
    pub journal: PathBuf,
    /// When it was started.
    pub from: u64,
    /// When it was known to be dead.
    pub to: u64,
}

/// What the judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Calls that ended.
    pub calls: usize,
    /// Messages consumed.
    pub consumed: usize,
    /// Calls consumed whose caller was killed in them or was told "unknown".
    pub open: usize,
    /// Messages consumed and not noted, because their server was killed in between.
    pub unnoted: usize,
    /// Errors by code, effect.
    pub errors: BTreeMap<(String, u32), usize>,
    /// Longest time a call outlived its deadline, ns.
    pub late_ns: u64,
    /// Longest call, ns.
    pub longest_ns: u64,
    /// What must not be.
    pub wrong: Vec<String>,
}

type Key = (u32, u32);

struct Case {
    servers: usize,
    verdict: Verdict,
    consumed: HashMap<Key, (Entry, usize)>,
    unnoted: Vec<Entry>,
}

/// Judges all lives of a storm.
pub fn judge(lives: &[Life], servers: usize) -> Verdict {
    let (verdict, unnoted) = (Verdict::default(), Vec::new());
    let mut case = Case { servers, verdict, consumed: HashMap::new(), unnoted };
    for life in lives.iter().filter(|l| l.server.is_some()) {
        case.server(&journal::read(&life.journal).1);
    }
    case.verdict.consumed = case.consumed.len();
    for life in lives.iter().filter(|l| l.server.is_none()) {
        let (current, ended) = journal::read(&life.journal);
        case.client(life, current, &ended);
    }
    case.charge(lives);
    let orphans = case.consumed.keys().take(5).map(|k| format!("{k:?} was consumed but never sent"));
    case.verdict.wrong.extend(orphans);
    case.verdict
}

impl Case {
    fn wrong(&mut self, what: &str, e: &Entry) {
        self.verdict.wrong.push(format!("{what}: {e:?}"));
    }

    fn server(&mut self, entries: &[Entry]) {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for e in entries {
            if let Some((_, times)) = self.consumed.get_mut(&(e.client, e.seq)) {
                *times += 1;
                self.wrong("consumed again", e);
            } else {
                self.consumed.insert((e.client, e.seq), (*e, 1));
            }
            let before = last.insert(e.client, e.seq).unwrap_or(0);
            if before >= e.seq {
                self.wrong(&format!("consumed after call {before} of the same client"), e);
            }
        }
    }

    fn client(&mut self, life: &Life, current: Option<Entry>, ended: &[Entry]) {
        for e in ended {
            self.verdict.calls += 1;
            self.time(e, e.ended);
            self.verdict.longest_ns = self.verdict.longest_ns.max(e.ended.saturating_sub(e.begun));
            let by = self.consumed.remove(&(e.client, e.seq)).map(|(by, _)| by);
            if let Some(by) = by {
                self.place(e, &by);
            }
            match (e.what, e.effect, by) {
                (What::Good, _, None) if e.call == SEND => self.unnoted.push(*e),
                (What::Good, _, None) => self.wrong("answered but not consumed", e),
                (What::Bad, 0, Some(_)) => self.wrong("said to be not done, but consumed", e),
                (What::Bad, _, Some(_)) => self.verdict.open += 1,
                _ => {}
            }
            if e.what == What::Bad {
                let name = Code::from_i32(e.code).map_or("?", Code::name);
                *self.verdict.errors.entry((name.into(), e.effect)).or_default() += 1;
            }
        }
        // The call in which the client was killed, if it was in one.
        let last = ended.last().map_or(0, |e| e.seq);
        if let Some(e) = current.filter(|e| e.seq > last) {
            self.time(&e, life.to);
            self.verdict.open += usize::from(self.consumed.remove(&(e.client, e.seq)).is_some());
        }
    }

    fn time(&mut self, e: &Entry, end: u64) {
        let late = end.saturating_sub(e.begun + e.allowed);
        self.verdict.late_ns = self.verdict.late_ns.max(late);
        if late > GRACE_NS {
            self.wrong(&format!("outlived its deadline by {} ms", late / 1_000_000), e);
        }
    }

    fn place(&mut self, e: &Entry, by: &Entry) {
        let next = (e.server + 1) % self.servers as u32;
        let right =
            if e.call == RELAY && self.servers > 1 { by.server == next } else { by.server == e.server };
        if !right || e.call != by.call {
            self.wrong(&format!("consumed by server {} as {}", by.server, by.call), e);
        }
        debug_assert!(e.call <= COPY.max(RELAY), "clients make no other calls");
    }

    /// Charges every message that ended well and was not noted to a death of its server, one a death.
    fn charge(&mut self, lives: &[Life]) {
        self.unnoted.sort_by_key(|e| e.ended);
        self.verdict.unnoted = self.unnoted.len();
        let mut deaths: Vec<(&Life, bool)> = lives.iter().map(|l| (l, false)).collect();
        deaths.sort_by_key(|(l, _)| l.to);
        for e in std::mem::take(&mut self.unnoted) {
            let fits = |l: &Life| l.server == Some(e.server) && e.begun <= l.to && l.from <= e.ended;
            match deaths.iter_mut().find(|(l, used)| !used && fits(l)) {
                Some((_, used)) => *used = true,
                None => self.wrong("sent well, but not consumed", &e),
            }
        }
    }
}
