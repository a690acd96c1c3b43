//! The honest helper processes: servers that note what they consume, clients that note how their calls end.
//!
//! | type | what the client does | what the server does |
//! |---|---|---|
//! | [`SEND`] | sends | notes it |
//! | [`CALL`] | calls | notes it, answers |
//! | [`COPY`] | calls, lending memory to read and to write | notes it, copies in, checks, copies out,
//! answers |
//! | [`RELAY`] | calls | hands it to the next server, which notes it and answers |
//!
//! A helper ends with code 0 when its standard input ends, with [`NO_DAEMON`] when its daemon is gone, and
//! with a panic when it sees something that must not be. One whose node was taken for lost lives on: it binds
//! again.

use crate::journal::{Entry, Journal, What};
use crate::rng::Rng;
use crate::{DC, WATCHDOG, server};
use dvs::{Code, Deadline, Effect, Endpoint, Error, Lend, Message, Port, Process, Timeout};
use dvs_linux::clock;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A plain message.
pub const SEND: u32 = 1;
/// A request.
pub const CALL: u32 = 2;
/// A request with memory lent.
pub const COPY: u32 = 3;
/// A request that another server answers.
pub const RELAY: u32 = 4;
/// A request that is never answered.
pub const HOLD: u32 = 5;
/// The answer: done.
const DONE: i32 = 100;
/// The answer: there was nobody to relay to.
const REFUSED: i32 = 101;
/// Exit code of a helper whose daemon is gone.
pub const NO_DAEMON: i32 = 3;
/// Bytes lent for a copy: more than one page, not a whole number of them.
const COPY_BYTES: usize = 70_001;

/// Becomes true when the standard input ends: the one who started us wants us to end, or is gone.
pub(crate) fn told_to_end(at_once: bool) -> Arc<AtomicBool> {
    let flag = Arc::<AtomicBool>::default();
    let raise = flag.clone();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // An error is an end, too.
        let _ = std::io::stdin().read_to_end(&mut rest);
        if at_once {
            std::process::exit(0);
        }
        raise.store(true, Ordering::Release);
    });
    flag
}

/// Says a line to whoever started us.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Ends with [`NO_DAEMON`] if that is what the error says, or that the node was taken for lost; panics else.
fn give_up(what: &str, e: &Error) -> ! {
    if matches!(e.code, Code::DVSINIT | Code::DCNOTRUN | Code::SHUTDOWN) {
        std::process::exit(NO_DAEMON);
    }
    panic!("{what}: {e}");
}

pub(crate) fn attach(socket: &Path, name: &str) -> Process {
    dvs::attach_to(socket, name).unwrap_or_else(|e| give_up("attach", &e))
}

/// Binds a slot; if the daemon has not seen its last owner's death yet, waits for that.
pub(crate) fn bind(process: &Process, endpoint: Endpoint) -> Port {
    let mut waiter = None;
    loop {
        match process.bind(DC, endpoint) {
            Ok(port) => return port,
            Err(e) if e.code == Code::SLOTUSED => {}
            Err(e) => give_up("bind", &e),
        }
        let waiter = waiter.get_or_insert_with(|| {
            process.bind(DC, Endpoint::NONE).unwrap_or_else(|e| give_up("bind to wait", &e))
        });
        match waiter.system().wait_unbind(DC, endpoint, WATCHDOG) {
            Ok(()) => {}
            Err(e) => give_up("wait for the last owner", &e),
        }
    }
}

/// `server SOCKET NUMBER COUNT JOURNAL`: serves until it is told to end.
pub fn serve(socket: &Path, number: usize, count: usize, journal: &Path) {
    told_to_end(true);
    let mut journal = Journal::create(journal).expect("a new journal");
    let process = attach(socket, &format!("server{number}"));
    let mut port = Some(bind(&process, server(number)));
    say("ready");
    let mut m = Message::default();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let bound = port.get_or_insert_with(|| bind(&process, server(number)));
        match bound.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
            Ok(()) => one(bound, &mut m, number, count, &mut journal, &mut buffer),
            Err(e) if e.code == Code::NOTBIND => port = None,
            Err(e) => give_up("receive", &e),
        }
    }
}

fn one(port: &Port, m: &mut Message, number: usize, count: usize, journal: &mut Journal, buffer: &mut [u8]) {
    let (client, call) = (m.source(), m.mtype() as u32);
    if client.slot() == crate::hostile::SLOT
        || !(SEND..=HOLD).contains(&call)
        || m.kind() == Some(dvs::Kind::Notify)
    {
        return; // a flood, or somebody's nonsense
    }
    if call == RELAY && m.word(2) == 0 && count > 1 {
        m.set_word(2, 1);
        match port.relay(client, server((number + 1) % count), m) {
            Ok(()) => return,
            Err(e) if e.code == Code::DVSINIT => give_up("relay", &e),
            Err(_) => m.set_mtype(REFUSED),
        }
        // The client may be gone as well.
        let _ = port.reply(client, m, Timeout::Forever);
        return;
    }
    let entry = Entry {
        what: What::Consumed,
        client: m.word(0) as u32,
        seq: (m.word(0) >> 32) as u32,
        call,
        server: number as u32,
        code: 0,
        effect: 0,
        begun: clock::now(),
        ended: 0,
        allowed: 0,
    };
    journal.add(&entry).expect("the journal");
    if call == SEND || call == HOLD {
        return;
    }
    if call == COPY {
        let copied = copy(port, client, m, buffer);
        m.set_word(5, u64::from(copied));
    }
    m.set_mtype(DONE);
    // The client may be gone, or its time over.
    let _ = port.reply(client, m, Timeout::Forever);
}

/// Copies in what is lent, checks it, copies its complement out. False when a copy failed: the client left,
/// or its node was lost.
fn copy(port: &Port, client: Endpoint, m: &Message, buffer: &mut [u8]) -> bool {
    if port.copy_in(client, m.word(3), buffer).is_err() {
        return false;
    }
    let pattern = (m.word(0) >> 32) as u8;
    let whole = buffer.iter().all(|b| *b == pattern);
    assert!(whole, "the client was held in its call, so its memory is as it was");
    buffer.fill(!pattern);
    port.copy_out(client, m.word(4), buffer).is_ok()
}

/// `idle SOCKET COUNT`: binds so many endpoints, each a coroutine, says `bound` and waits for a line: by then
/// they have been given the right to receive, and each waits for a message.
pub fn idle(socket: &Path, count: usize) {
    let process = attach(socket, "idle");
    let scheduler = dvs::Scheduler::new(&process);
    let bound = std::rc::Rc::new(std::cell::Cell::new(0));
    let told = std::rc::Rc::new(std::cell::Cell::new(false));
    for _ in 0..count {
        let (bound, told) = (bound.clone(), told.clone());
        let wait = move |co: &dvs::Co<'_>| {
            let port = co.bind(DC, Endpoint::NONE).unwrap_or_else(|e| give_up("bind", &e));
            bound.set(bound.get() + 1);
            if bound.get() == count {
                wait_for_rights();
                told.set(true);
            }
            // Not by yielding: the daemon, which binds the others, needs the processor.
            while !told.get() {
                co.sleep_until(Deadline::from_ns(clock::now() + 1_000_000_000));
            }
            match port.receive(Endpoint::ANY, &mut Message::default(), Timeout::Forever) {
                Ok(()) => panic!("nobody sends anything"),
                Err(e) => give_up("receive", &e),
            }
        };
        scheduler.spawn(wait).expect("a stack");
    }
    if count == 0 {
        wait_for_rights();
        std::thread::park();
    }
    scheduler.run();
}

fn wait_for_rights() {
    say("bound");
    // An end of the input is noticed by who is told to end.
    let _ = std::io::stdin().read_line(&mut String::new());
    told_to_end(true);
    say("ready");
}

/// How a client behaves.
pub struct ClientPlan {
    /// Its incarnation: names it in the journals.
    pub incarnation: u32,
    /// Its slot; `None` for a user's, which may only call.
    pub slot: Option<i32>,
    /// How many servers there are.
    pub servers: usize,
    /// Calls between two pauses.
    pub burst: u32,
    /// The pause, so that journals stay small.
    pub pause: Duration,
}

/// `client SOCKET INCARNATION SLOT SERVERS JOURNAL`: calls servers at random until it is told to end.
pub fn call(socket: &Path, plan: &ClientPlan, journal: &Path) {
    let end = told_to_end(false);
    let mut journal = Journal::create(journal).expect("a new journal");
    let process = attach(socket, &format!("client{}", plan.incarnation));
    let bound = || match plan.slot {
        Some(slot) => bind(&process, Endpoint::new(0, slot)),
        None => process.bind(DC, Endpoint::NONE).unwrap_or_else(|e| give_up("bind", &e)),
    };
    let mut port = Some(bound());
    say("ready");
    let mut rng = Rng::new(u64::from(plan.incarnation));
    let mut memory = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    for seq in 1.. {
        if end.load(Ordering::Acquire) {
            return;
        }
        let through = port.get_or_insert_with(bound);
        if attempt(through, plan, seq, &mut rng, &mut journal, &mut memory) == Some(Code::NOTBIND) {
            port = None;
        }
        if seq.is_multiple_of(plan.burst) {
            std::thread::sleep(plan.pause);
        }
    }
}

fn attempt(
    port: &Port,
    plan: &ClientPlan,
    seq: u32,
    rng: &mut Rng,
    journal: &mut Journal,
    memory: &mut (Vec<u8>, Vec<u8>),
) -> Option<Code> {
    let call = match rng.below(16) {
        0 => COPY,
        1 | 2 => RELAY,
        3..=8 if plan.slot.is_some() => SEND,
        _ => CALL,
    };
    let millis = [1, 50, 2000, 2000][rng.below(4) as usize];
    let to = rng.below(plan.servers as u64) as u32;
    let mut entry = Entry {
        what: What::Begun,
        client: plan.incarnation,
        seq,
        call,
        server: to,
        code: 0,
        effect: 0,
        begun: clock::now(),
        ended: 0,
        allowed: millis * 1_000_000,
    };
    journal.begin(&entry).expect("the journal");
    let done = make(port, &entry, memory);
    entry.ended = clock::now();
    entry.what = What::Good;
    if let Err(e) = done {
        entry.what = What::Bad;
        entry.code = e.code as i32;
        entry.effect = e.effect as u32;
    }
    journal.add(&entry).expect("the journal");
    if entry.code == Code::DVSINIT as i32 {
        std::process::exit(NO_DAEMON);
    }
    Code::from_i32(entry.code)
}

/// Makes one call; a refusal by the server counts as an error without effect.
fn make(port: &Port, entry: &Entry, memory: &mut (Vec<u8>, Vec<u8>)) -> Result<(), Error> {
    let mut m = Message::new(entry.call as i32);
    m.set_word(0, u64::from(entry.client) | u64::from(entry.seq) << 32);
    let (to, timeout) = (server(entry.server as usize), Timeout::After(Duration::from_nanos(entry.allowed)));
    match entry.call {
        SEND => return port.send(to, &mut m, timeout),
        COPY => {
            memory.0.fill(entry.seq as u8);
            memory.1.fill(entry.seq as u8);
            m.set_word(3, memory.0.as_ptr() as u64);
            m.set_word(4, memory.1.as_ptr() as u64);
            let mut lends = [Lend::Read(&memory.0), Lend::Write(&mut memory.1)];
            port.sendrec_with(to, &mut m, &mut lends, timeout)?;
            let there = memory.1.iter().all(|b| *b == !(entry.seq as u8));
            assert!(there || m.word(5) == 0, "the server's copy is not there, though it succeeded");
        }
        _ => port.sendrec(to, &mut m, timeout)?,
    }
    match m.mtype() {
        DONE => Ok(()),
        REFUSED => Err(Error::new(Code::BUSY, Effect::No)),
        other => panic!("an answer of type {other}"),
    }
}
