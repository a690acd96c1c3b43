//! The lane protocol under the model checker: every interleaving, and every value the memory model allows a
//! load to see, within a bound on preemptions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p dvs-ipc --release --test loom_lane --test loom_bell`
//!
//! The `buffer` of the models stands for memory outside the lane, such as what a grant lends. It is accessed
//! with relaxed loads and stores only, so a load in the model may give any older value unless the lane's own
//! orderings forbid it: an ordering that is too weak shows as a wrong value. Loads that see values written
//! later do not exist here: that `take` releases and `begin_copy` acquires is by argument alone.
#![cfg(loom)]

use dvs_abi::{Code, Effect, Kind, Message};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::{Cancel, CopyEnd, GrantList, LANE_WORDS, Lane, Outcome, Progress, Taken};
use dvs_ipc::sync::{AtomicU64, Ordering};
use loom::sync::Arc;
use loom::thread;

/// Two words travel, of equal low halves: enough for a torn message to show.
fn message(n: u64) -> Message {
    let mut m = Message::new(n as i32);
    m.words_mut()[0] = n;
    m
}

fn number(m: &Message) -> u64 {
    assert_eq!(m.words()[0], m.mtype() as u64, "a torn message");
    m.words()[0]
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

struct Shared {
    memory: HeapMemory,
    buffer: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { memory: HeapMemory::new(LANE_WORDS), buffer: AtomicU64::new(0) })
    }

    fn lane(&self) -> Lane<'_> {
        Lane::new(self.memory.words()).unwrap()
    }

    fn get(&self) -> u64 {
        self.buffer.load(Ordering::Relaxed)
    }

    fn set(&self, n: u64) {
        self.buffer.store(n, Ordering::Relaxed);
    }
}

/// Runs `callee` beside `caller`; gives back what it returned.
fn beside<T: 'static>(
    shared: &Arc<Shared>,
    callee: impl FnOnce(Lane<'_>, &Shared) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || callee(shared.lane(), &shared))
}

fn try_take(lane: Lane<'_>) -> Option<(u64, Message)> {
    let (seq, _) = lane.peek()?;
    let (mut m, mut grants) = (Message::default(), GrantList::default());
    match lane.take(seq, &mut m, &mut grants) {
        Taken::Yes => Some((seq, m)),
        Taken::Gone => None,
        Taken::Malformed => panic!("an honest caller's message"),
    }
}

fn take(lane: Lane<'_>) -> (u64, Message) {
    loop {
        match try_take(lane) {
            Some(taken) => return taken,
            None => thread::yield_now(),
        }
    }
}

fn finish(lane: Lane<'_>, seq: u64, into: &mut Message) -> Outcome {
    loop {
        match lane.collect(seq, into) {
            Outcome::Pending => thread::yield_now(),
            outcome => return outcome,
        }
    }
}

#[test]
fn loom_requests_and_replies_carry_what_was_written_before_them() {
    check(3, || {
        let shared = Shared::new();
        let callee = beside(&shared, |lane, shared| {
            for n in 1..=2 {
                let (seq, m) = take(lane);
                assert_eq!((number(&m), shared.get()), (n, n * 10));
                shared.set(n * 10 + 1);
                lane.reply(seq, &message(n + 100)).unwrap();
            }
        });
        let (lane, mut m) = (shared.lane(), Message::default());
        for n in 1..=2 {
            shared.set(n * 10);
            let seq = lane.post(Kind::Request, &message(n), &[]).unwrap();
            assert_eq!(finish(lane, seq, &mut m), Outcome::Replied);
            assert_eq!((number(&m), shared.get()), (n + 100, n * 10 + 1));
        }
        callee.join().unwrap();
    });
}

#[test]
fn loom_a_cancelled_send_is_consumed_or_not_and_both_sides_agree() {
    check(4, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Send, &message(1), &[]).unwrap();
        let callee = beside(&shared, |lane, _| try_take(lane).map(|(_, m)| number(&m)));
        let cancel = lane.cancel(seq);
        let consumed = callee.join().unwrap();
        match cancel {
            Cancel::NotTaken => assert_eq!(consumed, None),
            Cancel::Done(Progress::Consumed) => {
                assert_eq!(consumed, Some(1));
                assert_eq!(lane.collect(seq, &mut Message::default()), Outcome::Consumed);
            }
            other => panic!("{other:?}"),
        }
        lane.post(Kind::Send, &message(2), &[]).unwrap();
    });
}

#[test]
fn loom_a_forwarded_send_that_is_given_up_is_not_said_to_be_undone() {
    check(4, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Send, &message(1), &[]).unwrap();
        let callee = beside(&shared, move |lane, shared| {
            let (mut m, mut grants) = (Message::default(), GrantList::default());
            if lane.forward(seq, &mut m, &mut grants) != Taken::Yes {
                return (false, false);
            }
            assert_eq!(number(&m), 1);
            if lane.recalled(seq) && lane.withdrawn(seq, Effect::No).is_ok() {
                return (false, false);
            }
            shared.set(7); // its receiver acts on it
            (true, lane.consumed(seq).is_ok())
        });
        let (cancel, left) = give_up(lane, seq);
        let mut m = Message::default();
        match cancel {
            Cancel::NotTaken | Cancel::Taken => {}
            Cancel::Done(Progress::Consumed) => {
                assert_eq!((lane.collect(seq, &mut m), shared.get()), (Outcome::Consumed, 7));
            }
            other => panic!("{other:?}"),
        }
        let (acted, told) = callee.join().unwrap();
        assert_eq!(matches!(cancel, Cancel::Done(_)), acted && told);
        assert!(cancel != Cancel::NotTaken || !acted, "not done, and yet it was");
        assert!(cancel != Cancel::Taken || left, "the proxy knows more than that");
        lane.post(Kind::Send, &message(2), &[]).unwrap();
    });
}

/// Takes a call back that a proxy may carry; the end of it, and whether it was left without waiting for the
/// proxy.
fn give_up(lane: Lane<'_>, seq: u64) -> (Cancel, bool) {
    let tries = (0..3).map(|_| lane.cancel(seq)).find(|c| *c != Cancel::Recalled);
    // Whoever waits for it in vain leaves, unless it comes at that moment.
    let left = tries.is_none() && lane.abandon(seq);
    (tries.unwrap_or_else(|| if left { Cancel::Taken } else { lane.cancel(seq) }), left)
}

/// A proxy's callee: takes call `seq` to carry it on; whether it got it.
fn forward(lane: Lane<'_>, seq: u64) -> bool {
    let (mut m, mut grants) = (Message::default(), GrantList::default());
    let got = lane.forward(seq, &mut m, &mut grants) == Taken::Yes;
    assert!(!got || number(&m) == 1);
    got
}

#[test]
fn loom_a_forwarded_request_that_is_given_up_is_answered_or_left() {
    check(4, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Request, &message(1), &[]).unwrap();
        let callee = beside(&shared, move |lane, shared| {
            if !forward(lane, seq) {
                return (false, false);
            }
            let begun = lane.begun(seq).is_ok();
            shared.set(7);
            let answered = lane.reply(seq, &message(2)).is_ok();
            assert!(begun || !answered, "a caller that has left is not answered");
            (true, answered)
        });
        let (cancel, _) = give_up(lane, seq);
        let mut m = Message::default();
        match cancel {
            Cancel::NotTaken | Cancel::Taken => {}
            Cancel::Done(Progress::Replied) => {
                assert_eq!((lane.collect(seq, &mut m), shared.get(), number(&m)), (Outcome::Replied, 7, 2));
            }
            other => panic!("{other:?}"),
        }
        let (taken, answered) = callee.join().unwrap();
        assert_eq!((cancel == Cancel::NotTaken, cancel == Cancel::Taken), (!taken, taken && !answered));
        lane.post(Kind::Send, &message(2), &[]).unwrap();
    });
}

#[test]
fn loom_a_close_of_a_forwarded_send_leaves_the_truth_about_the_effect() {
    check(3, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Send, &message(1), &[]).unwrap();
        let callee = beside(&shared, move |lane, _| forward(lane, seq).then(|| lane.consumed(seq).is_ok()));
        let closer = beside(&shared, |lane, _| lane.close());
        let outcome = finish(lane, seq, &mut Message::default());
        let (callee, _) = (callee.join().unwrap(), closer.join().unwrap());
        match outcome {
            Outcome::Consumed => assert_eq!(callee, Some(true)),
            Outcome::Closed(Effect::No) => assert_eq!(callee, None),
            Outcome::Closed(Effect::Unknown) => assert_eq!(callee, Some(false)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_a_reused_lane_never_mixes_two_calls() {
    check(3, || {
        let shared = Shared::new();
        let callee = beside(&shared, |lane, _| {
            let mut first_taken = false;
            loop {
                let (seq, m) = take(lane);
                let n = number(&m);
                first_taken |= n == 1;
                let answered = lane.reply(seq, &message(n + 100)).is_ok();
                if n == 2 {
                    assert!(answered);
                    return first_taken;
                }
            }
        });
        let (lane, mut m) = (shared.lane(), Message::default());
        let first = lane.post(Kind::Request, &message(1), &[]).unwrap();
        let cancel = lane.cancel(first);
        if let Cancel::Done(progress) = cancel {
            assert_eq!(progress, Progress::Replied);
            assert_eq!((lane.collect(first, &mut m), number(&m)), (Outcome::Replied, 101));
        }
        let second = lane.post(Kind::Request, &message(2), &[]).unwrap();
        assert_eq!((finish(lane, second, &mut m), number(&m)), (Outcome::Replied, 102));
        let first_taken = callee.join().unwrap();
        assert_eq!(first_taken, cancel != Cancel::NotTaken);
    });
}

#[test]
fn loom_a_caller_never_leaves_during_a_copy() {
    check(4, || {
        let shared = Shared::new();
        shared.set(5);
        let lane = shared.lane();
        let seq = lane.post(Kind::Request, &message(1), &[]).unwrap();
        let callee = beside(&shared, |lane, shared| {
            let Some((seq, _)) = try_take(lane) else { return false };
            let copies = lane.begin_copy(seq).is_ok();
            if copies {
                assert_eq!(shared.get(), 5, "the caller has gone on");
                shared.set(6);
                if lane.end_copy(seq) == Ok(CopyEnd::CallerLeaves) {
                    return true;
                }
            }
            let _gone = lane.reply(seq, &message(2));
            copies
        });
        // Not by yielding: after a yield the checker gives no load an older value any more.
        let left = (0..3).map(|_| lane.cancel(seq)).find(|c| *c != Cancel::Copying);
        let Some(left) = left else {
            assert!(callee.join().unwrap());
            return assert_eq!(lane.cancel(seq), Cancel::Taken);
        };
        let seen = shared.get();
        shared.set(7);
        match left {
            Cancel::NotTaken => assert_eq!(seen, 5),
            Cancel::Taken => {}
            Cancel::Done(progress) => assert_eq!(progress, Progress::Replied),
            Cancel::Copying | Cancel::Recalled => unreachable!(),
        }
        let copied = callee.join().unwrap();
        assert_eq!(seen, if copied { 6 } else { 5 }, "all of a copy is seen by a caller that left after it");
        assert_eq!(shared.get(), 7, "written after the caller had left");
    });
}

#[test]
fn loom_a_close_leaves_the_truth_about_the_effect() {
    check(3, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Request, &message(1), &[]).unwrap();
        let callee =
            beside(&shared, |lane, _| try_take(lane).map(|(seq, _)| lane.reply(seq, &message(2)).is_ok()));
        let closer = beside(&shared, |lane, _| lane.close());
        let mut m = Message::default();
        let outcome = finish(lane, seq, &mut m);
        let (callee, _) = (callee.join().unwrap(), closer.join().unwrap());
        match outcome {
            Outcome::Replied => assert_eq!((number(&m), callee), (2, Some(true))),
            Outcome::Closed(Effect::No) => assert_eq!(callee, None),
            Outcome::Closed(Effect::Unknown) => assert_eq!(callee, Some(false)),
            other => panic!("{other:?}"),
        }
        assert!(lane.post(Kind::Send, &m, &[]).is_err());
    });
}

#[test]
fn loom_refusing_and_cancelling_do_not_both_win() {
    check(4, || {
        let shared = Shared::new();
        let lane = shared.lane();
        let seq = lane.post(Kind::Request, &message(1), &[]).unwrap();
        let callee = beside(&shared, move |lane, _| lane.fail(seq, Code::DSTDIED, Effect::No).is_ok());
        let cancel = lane.cancel(seq);
        let failed = callee.join().unwrap();
        assert_eq!(cancel == Cancel::NotTaken, !failed);
        if failed {
            let outcome = lane.collect(seq, &mut Message::default());
            assert_eq!(outcome, Outcome::Failed(Code::DSTDIED, Effect::No));
        }
    });
}

#[test]
fn loom_every_bit_of_a_notice_arrives_with_what_was_written_before_it() {
    check(3, || {
        let shared = Shared::new();
        let callee = beside(&shared, |lane, shared| {
            let mut bits = 0;
            while bits != 3 {
                match lane.take_notice() {
                    Some(more) => {
                        assert_eq!(bits & more, 0, "a bit twice");
                        bits |= more;
                        assert!(shared.get() >= bits);
                    }
                    None => thread::yield_now(),
                }
            }
        });
        shared.set(1);
        shared.lane().notify(1);
        shared.set(3);
        shared.lane().notify(2);
        callee.join().unwrap();
    });
}
