//! Many calls through one lane by two threads that never sleep: cancelled, copied under, answered, at once.
#![cfg(not(loom))]

use dvs_abi::{Access, Grant, Kind, Message};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::{Cancel, CopyEnd, GrantList, LANE_WORDS, Lane, Outcome, Progress, Taken};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const CALLS: u64 = 20_000;
/// Looks after which the callee must have come by, were it not dead: many time slices.
const PATIENT: u64 = 100_000_000;

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

/// All 32 words hold the number, so that a mixture of two messages shows.
fn message(n: u64) -> Message {
    let mut words = [n; 32];
    words[1] = n & 0xffff_ffff;
    Message::from_words(words)
}

fn number(m: &Message) -> u64 {
    let n = m.words()[0];
    assert_eq!(m.words()[1] & 0xffff_ffff, n & 0xffff_ffff);
    assert!(m.words()[2..].iter().all(|w| *w == n), "a torn message: {:?}", m.words());
    n
}

/// The callee answers every request with its number + 1; in between it "copies" into `lent`.
fn callee(lane: Lane<'_>, lent: &AtomicU64, taken: &AtomicU64, stop: &AtomicBool) {
    let (mut m, mut grants) = (Message::default(), GrantList::default());
    while !stop.load(Ordering::Relaxed) {
        let Some((seq, kind)) = lane.peek() else {
            std::thread::yield_now();
            continue;
        };
        match lane.take(seq, &mut m, &mut grants) {
            Taken::Yes => {}
            Taken::Gone => continue,
            Taken::Malformed => panic!("an honest caller's message"),
        }
        let n = number(&m);
        assert_eq!(grants.as_slice().len() as u64, n % 5);
        assert!(grants.as_slice().iter().all(|g| g.address == n && g.length == n));
        taken.store(n, Ordering::Release);
        if kind == Kind::Send {
            continue;
        }
        if lane.begin_copy(seq).is_ok() {
            assert_eq!(lent.load(Ordering::Relaxed), n, "the caller had left");
            lent.store(n + 1, Ordering::Relaxed);
            if lane.end_copy(seq) == Ok(CopyEnd::CallerLeaves) {
                continue;
            }
        }
        let _gone = lane.reply(seq, &message(n + 1));
    }
}

/// One call, cancelled after a random while; whether its end was seen.
fn call(lane: Lane<'_>, n: u64, patience: u64, lent: &AtomicU64, taken: &AtomicU64) -> bool {
    let kind = if n.is_multiple_of(3) { Kind::Send } else { Kind::Request };
    let grants = [Grant { address: n, length: n, access: Access::Read }; 4];
    lent.store(n, Ordering::Relaxed);
    let seq = lane.post(kind, &message(n), &grants[..(n % 5) as usize]).unwrap();
    for _ in 0..patience {
        if !lane.progress(seq).pending() {
            break;
        }
        if patience == PATIENT { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
    let progress = loop {
        match lane.cancel(seq) {
            Cancel::NotTaken => {
                assert!(taken.load(Ordering::Acquire) < n, "taken and yet not");
                return false;
            }
            Cancel::Taken => return false,
            Cancel::Copying | Cancel::Recalled => std::thread::yield_now(),
            Cancel::Done(progress) => break progress,
        }
    };
    let mut answer = Message::default();
    match (progress, lane.collect(seq, &mut answer)) {
        (Progress::Consumed, Outcome::Consumed) => {
            // The callee says so only after it took it.
            while taken.load(Ordering::Acquire) != n {
                std::thread::yield_now();
            }
        }
        (Progress::Replied, Outcome::Replied) => {
            answer.set_kind(Kind::Send);
            answer.words_mut()[1] &= 0xffff_ffff;
            assert_eq!((number(&answer), lent.load(Ordering::Relaxed)), (n + 1, n + 1));
        }
        other => panic!("{other:?}"),
    }
    true
}

/// Stops the other thread also when this one fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn cancelled_answered_and_copied_calls_do_not_mix() {
    let memory = HeapMemory::new(LANE_WORDS);
    let (lent, taken, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        let server = s.spawn(|| callee(Lane::new(memory.words()).unwrap(), &lent, &taken, &stop));
        let _stop = Stop(&stop);
        let (mut seed, mut ended) = (1, 0);
        let lane = Lane::new(memory.words()).unwrap();
        for n in 1..=CALLS {
            // A few have all the patience in the world, so that the other thread gets to run on one core,
            // too.
            let patience = if n.is_multiple_of(4000) { PATIENT } else { random(&mut seed) % 2000 };
            assert!(!server.is_finished(), "the callee failed");
            ended += call(lane, n, patience, &lent, &taken) as u64;
        }
        assert!(ended >= CALLS / 4000, "{ended}");
    });
}
