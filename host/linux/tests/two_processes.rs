//! Two real processes over one link: many calls, cancelled calls, copies, and either side killed at any
//! moment.
//!
//! The test binary starts itself again with the name of a socket in its environment; the second process then
//! runs [`other_process`] only.
mod common;

use common::{End, HOST, LINK, lane, view};
use dvs_abi::{Access, Code, Deadline, Effect, Grant, Message};
use dvs_ipc::bell::Ringer;
use dvs_ipc::host::Host;
use dvs_ipc::lane::{CopyEnd, GrantList, Lane, Outcome};
use dvs_linux::memory::Mapping;
use dvs_linux::pidfd::PidFd;
use dvs_linux::socket::{Listener, Socket};
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const SOCKET: &str = "DVS_TEST_SOCKET";
const WATCHDOG_NS: u64 = 120_000_000_000;
const ECHO: i32 = 1;
const SUM: i32 = 2;

fn watchdog() -> Deadline {
    Deadline::from_ns(HOST.now() + WATCHDOG_NS)
}

/// What the server does: echo with the words shifted by one, or the sum of a granted range.
fn service(m: &mut Message, grants: &GrantList, lane: Lane<'_>, seq: u64, client: u32) {
    if m.mtype() != SUM {
        m.set_word(0, m.word(0) + 1);
        return;
    }
    let grant = grants.as_slice()[0];
    let mut bytes = vec![0; grant.length as usize];
    if lane.begin_copy(seq).is_err() {
        return;
    }
    let copied = HOST.read_peer(client, grant.address, &mut bytes);
    let gone = matches!(lane.end_copy(seq), Ok(CopyEnd::CallerLeaves) | Err(_));
    match copied {
        Ok(()) => m.set_word(0, bytes.iter().map(|b| *b as u64).sum()),
        Err(code) => assert!(gone || code == Code::SRCH || code == Code::FAULT, "{code}"),
    }
}

/// The second process. In the first, where the variable is not set, it does nothing.
#[test]
fn other_process() {
    let Ok(path) = std::env::var(SOCKET) else { return };
    let (path, client) = path.split_once('|').unwrap();
    dvs_linux::peer::allow_peers();
    let socket = Socket::connect(path.as_ref()).unwrap();
    let mut end = End::accept(&socket).unwrap();
    let until = watchdog();
    if client == "client" {
        let mut n = 0;
        while !until.passed(HOST.now()) {
            n += 1;
            if !matches!(echo(&mut end, n, until), Some(Outcome::Replied)) {
                return;
            }
        }
        return;
    }
    while !until.passed(HOST.now()) && !lane(&end.link).state().closed() {
        let pid = end.peer_pid;
        while end.serve(|m, g, lane, seq| service(m, g, lane, seq, pid)) {}
        end.wait(until);
    }
}

fn echo(end: &mut End, n: u64, deadline: Deadline) -> Option<Outcome> {
    let (mut m, mut answer) = (Message::new(ECHO), Message::default());
    m.set_word(0, n);
    m.set_word((n % 24) as usize, n);
    let done = end.call(&m, &[], &mut answer, deadline);
    if done == Some(Outcome::Replied) {
        assert_eq!(answer.word(0), m.word(0) + 1);
        assert_eq!((1..24).find(|i| answer.word(*i) != m.word(*i)), None);
    }
    done
}

struct Pair {
    child: Child,
    held: Arc<PidFd>,
    end: End,
}

impl Pair {
    fn start(role: &str) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&path).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["other_process", "--exact"])
            .env(SOCKET, format!("{}|{role}", path.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let held = Arc::new(PidFd::open(child.id()).unwrap());
        let socket = listener.accept(watchdog()).unwrap();
        let end = End::offer(&socket).unwrap();
        Pair { child, held, end }
    }

    /// The daemon's part: when the other process ends, close the link and wake this one.
    fn supervise(&self) -> std::thread::JoinHandle<()> {
        let (held, link, ringer) = (self.held.clone(), self.end.link.clone(), self.end.bell.ringer());
        std::thread::spawn(move || close_at_death(&held, &link, &ringer))
    }
}

fn close_at_death(held: &PidFd, link: &Mapping, ringer: &Ringer) {
    assert!(held.wait(watchdog()).unwrap(), "watchdog");
    view(link).close();
    ringer.ring(&HOST, LINK);
}

/// A small generator: the tests want variety, not secrets.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

#[test]
fn a_hundred_thousand_calls() {
    let mut pair = Pair::start("server");
    let supervisor = pair.supervise();
    let until = watchdog();
    for n in 0..100_000 {
        assert_eq!(echo(&mut pair.end, n, until), Some(Outcome::Replied), "call {n}");
    }
    pair.held.signal(Signal::KILL).unwrap();
    supervisor.join().unwrap();
    pair.child.wait().unwrap();
    assert_eq!(echo(&mut pair.end, 1, until), Some(Outcome::Closed(Effect::No)));
}

#[test]
fn copies_and_calls_that_run_out_of_time() {
    dvs_linux::peer::allow_peers();
    let mut pair = Pair::start("server");
    let supervisor = pair.supervise();
    let mut seed = 42;
    let (mut done, mut cancelled) = (0, 0);
    for n in 0..20_000u64 {
        let short = Deadline::from_ns(HOST.now() + random(&mut seed) % 30_000);
        let deadline = if n % 2 == 0 { short } else { watchdog() };
        let data = vec![n as u8; 1 + (random(&mut seed) % 20_000) as usize];
        let grant = Grant { address: data.as_ptr() as u64, length: data.len() as u64, access: Access::Read };
        let mut answer = Message::default();
        match pair.end.call(&Message::new(SUM), &[grant], &mut answer, deadline) {
            None => cancelled += 1,
            Some(Outcome::Replied) => {
                done += 1;
                assert_eq!(answer.word(0), data.len() as u64 * (n as u8 as u64), "another call's answer");
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(done >= 10_000, "{done} done, {cancelled} cancelled");
    pair.held.signal(Signal::KILL).unwrap();
    supervisor.join().unwrap();
    pair.child.wait().unwrap();
}

#[test]
fn a_server_killed_at_any_moment_ends_its_call() {
    let mut seed = 7;
    for round in 0..30 {
        let mut pair = Pair::start("server");
        let supervisor = pair.supervise();
        let (held, pause) = (pair.held.clone(), random(&mut seed) % 3_000_000);
        let killer = std::thread::spawn(move || {
            let at = HOST.now() + pause;
            while HOST.now() < at {
                std::hint::spin_loop();
            }
            held.signal(Signal::KILL).unwrap();
        });
        let until = watchdog();
        let last = (0..)
            .map(|n| echo(&mut pair.end, n, until))
            .find(|done| *done != Some(Outcome::Replied))
            .flatten();
        assert!(matches!(last, Some(Outcome::Closed(_))), "round {round}: {last:?}");
        killer.join().unwrap();
        supervisor.join().unwrap();
        pair.child.wait().unwrap();
    }
}

#[test]
fn a_client_killed_at_any_moment_leaves_a_server_that_goes_on() {
    let mut seed = 9;
    for round in 0..30 {
        let mut pair = Pair::start("client");
        let supervisor = pair.supervise();
        let until = watchdog();
        let calls = random(&mut seed) % 3000;
        let mut served = 0;
        while !lane(&pair.end.link).state().closed() {
            assert!(!until.passed(HOST.now()), "watchdog in round {round}");
            while pair.end.serve(|m, g, lane, seq| service(m, g, lane, seq, 0)) {
                served += 1;
                if served == calls + 1 {
                    pair.held.signal(Signal::KILL).unwrap();
                }
            }
            pair.end.wait(until);
        }
        supervisor.join().unwrap();
        pair.child.wait().unwrap();
        assert!(lane(&pair.end.link).peek().is_none(), "nothing of the dead is left to serve");
        assert_eq!(HOST.read_peer(pair.end.peer_pid, 4096, &mut [0; 8]), Err(Code::SRCH));
    }
}
