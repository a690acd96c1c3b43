//! A hostile peer: it scribbles over all the memory it shares with us while we work, and we must neither
//! panic nor hang, and go on serving those who behave.
//!
//! Threads stand for sessions here: what a session can do to another goes through shared memory alone.
use dvs_abi::limits::LINK_LANES_MAX;
use dvs_abi::{Code, Deadline, Effect, Endpoint, Kind, Message};
use dvs_ipc::bell::{BELL_BYTES, Bell, Ringer, Waited, bits};
use dvs_ipc::host::{Host, Memory};
use dvs_ipc::lane::{Cancel, GrantList, Lane, Outcome, Taken};
use dvs_ipc::link::{LINK_BYTES, Link, Side};
use dvs_linux::LinuxHost;
use dvs_linux::memory::Mapping;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const HOST: LinuxHost = LinuxHost;
const WATCHDOG_NS: u64 = 120_000_000_000;
/// How long the scribbling lasts: a lower bound of the work done under it, nothing is asserted about time.
const RUN_NS: u64 = 1_500_000_000;

struct Session {
    memory: Arc<Mapping>,
    bell: Bell,
    ringer: Ringer,
}

fn session() -> Session {
    let (bell, _) = Mapping::create("bell", BELL_BYTES).unwrap();
    let (status, _) = Mapping::create_status("status", BELL_BYTES).unwrap();
    let (memory, status) = (Arc::new(bell), Arc::new(status));
    let bell = Bell::new(memory.clone(), status.clone()).unwrap();
    Session { ringer: bell.ringer(), memory, bell }
}

fn link() -> Arc<Mapping> {
    Arc::new(Mapping::create("link", LINK_BYTES).unwrap().0)
}

fn view(memory: &Mapping) -> Link<'_> {
    Link::new(memory.words()).unwrap()
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Writes until told to stop: any bits, and values near to what is expected there, which go further.
fn scribble(link: &Mapping, bell: &Mapping, stop: &AtomicBool) -> u64 {
    let (mut seed, mut writes) = (0x9e37_79b9_7f4a_7c15, 0);
    while !stop.load(Ordering::Relaxed) {
        let words = if random(&mut seed).is_multiple_of(8) { bell.words() } else { link.words() };
        let word = &words[random(&mut seed) as usize % words.len()];
        match random(&mut seed) % 6 {
            0 => word.store(random(&mut seed), Ordering::Relaxed),
            1 => word.store(0, Ordering::Relaxed),
            2 => _ = word.fetch_xor(1 << (random(&mut seed) % 9), Ordering::Relaxed),
            3 => _ = word.fetch_add(1 << 8, Ordering::Relaxed),
            4 => word.store(random(&mut seed) % 1024, Ordering::Relaxed),
            _ => view(link).mark(Side::A, random(&mut seed) as usize % LINK_LANES_MAX),
        }
        writes += 1;
    }
    writes
}

/// What an honest caller does with a lane, whatever it finds there. Always comes back.
fn call(lane: Lane<'_>, n: u64) {
    let mut m = Message::new(n as i32);
    let seq = match lane.post(if n.is_multiple_of(2) { Kind::Send } else { Kind::Request }, &m, &[]) {
        Ok(seq) => seq,
        Err(_) => return lane.reset(),
    };
    lane.notify(n);
    for _ in 0..4 {
        if lane.collect(seq, &mut m) != Outcome::Pending {
            return;
        }
    }
    if lane.cancel(seq) == Cancel::Copying {
        lane.abandon(seq);
    }
}

/// What an honest callee does with a lane.
fn serve(lane: Lane<'_>, n: u64) {
    let (mut m, mut grants) = (Message::default(), GrantList::default());
    let _bits = lane.take_notice();
    let Some((seq, _)) = lane.peek() else { return };
    if lane.take(seq, &mut m, &mut grants) != Taken::Yes {
        return;
    }
    assert!(grants.as_slice().iter().all(|g| g.address.checked_add(g.length).is_some()));
    let _gone = match n % 4 {
        0 => lane.fail(seq, Code::PERM, Effect::No),
        1 => lane.redirect(seq, Endpoint::new(0, 1), &m),
        2 => lane.begin_copy(seq).and_then(|()| lane.end_copy(seq).map(drop)),
        _ => lane.reply(seq, &m),
    };
}

/// Ends the other threads also when this one fails.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_scribbling_peer_hurts_only_its_own_calls() {
    let (stop, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (victim, client) = (session(), session());
    let (bad, good) = (link(), link());
    let until = HOST.now() + RUN_NS;
    let watchdog = Deadline::from_ns(HOST.now() + WATCHDOG_NS);
    std::thread::scope(|s| {
        let (raise_stop, raise_ended) = (Raise(&stop), Raise(&ended));
        let scribbler = s.spawn(|| scribble(&bad, &victim.memory, &stop));
        let (victim_ringer, client_ringer) = (victim.ringer.clone(), client.ringer.clone());
        // The victim: link 0 is the hostile peer's, link 40 an honest client's.
        let server = s.spawn({
            let (bad, good, ended, mut bell) = (&bad, &good, &ended, victim.bell);
            move || {
                let (mut n, mut rechecks) = (0u64, 0u64);
                while !ended.load(Ordering::Acquire) {
                    assert!(!watchdog.passed(HOST.now()), "watchdog");
                    let waited = bell.wait(&HOST, watchdog, n % 2 * 1000);
                    rechecks += (waited == Waited::Recheck) as u64;
                    let ready = view(bad).take_ready(Side::A);
                    for i in (0..4).flat_map(|_| bits(ready)) {
                        n += 1;
                        let lane = view(bad).lane(i).unwrap();
                        if n.is_multiple_of(2) { serve(lane, n / 2) } else { call(lane, n / 2) }
                    }
                    if view(good).take_ready(Side::A) != 0 {
                        let lane = view(good).lane(0).unwrap();
                        let (mut m, mut grants) = (Message::default(), GrantList::default());
                        if let Some((seq, _)) = lane.peek() {
                            assert_eq!(lane.take(seq, &mut m, &mut grants), Taken::Yes);
                            lane.reply(seq, &m).unwrap();
                            view(good).mark(Side::B, 0);
                            client_ringer.ring(&HOST, 3);
                        }
                    }
                }
                (n, rechecks)
            }
        });
        let mut bell = client.bell;
        let (lane, mut calls) = (view(&good).lane(0).unwrap(), 0u64);
        while HOST.now() < until || calls < 20 {
            calls += 1;
            let (mut m, mut answer) = (Message::new(1), Message::default());
            m.set_word(0, calls);
            let seq = lane.post(Kind::Request, &m, &[]).unwrap();
            view(&good).mark(Side::A, 0);
            victim_ringer.ring(&HOST, 40);
            while lane.collect(seq, &mut answer) == Outcome::Pending {
                assert!(!watchdog.passed(HOST.now()), "the honest client's call hangs");
                let _rung = bell.wait(&HOST, watchdog, 0);
                view(&good).take_ready(Side::B);
            }
            assert_eq!(answer.word(0), calls);
        }
        // First the scribbler, which could erase the ring that tells the server.
        drop(raise_stop);
        let writes = scribbler.join().unwrap();
        drop(raise_ended);
        victim_ringer.ring_own(&HOST);
        let (looked, rechecks) = server.join().unwrap();
        println!("{calls} honest calls, {looked} hostile lanes, {rechecks} re-checks, {writes} scribbles");
        assert!(looked > 100 && writes > 1000);
    });
}
