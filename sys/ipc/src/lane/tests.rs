use super::{Cancel, CopyEnd, GrantList, LANE_WORDS, Lane, Lost, Outcome, Phase, Progress, Refused, Taken};
use crate::host::{HeapMemory, Memory};
use crate::sync::Ordering;
use dvs_abi::{Access, Code, Effect, Endpoint, Grant, Kind, Message};
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};

fn memory() -> HeapMemory {
    HeapMemory::new(LANE_WORDS)
}

fn take(lane: Lane<'_>, seq: u64) -> (Taken, Message, GrantList) {
    let (mut m, mut g) = (Message::default(), GrantList::default());
    let t = lane.take(seq, &mut m, &mut g);
    (t, m, g)
}

fn posted(lane: Lane<'_>, kind: Kind) -> u64 {
    lane.post(kind, &Message::new(1), &[]).unwrap()
}

#[test]
fn all_256_bytes_and_the_grants_arrive() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let full = Message::from_words(core::array::from_fn(|i| u64::MAX - i as u64));
    let grants = [Grant { address: 4096, length: 10, access: Access::ReadWrite }; 4];
    let seq = lane.post(Kind::Request, &full, &grants).unwrap();
    let (taken, mut m, g) = take(lane, seq);
    assert_eq!((taken, m.kind(), g.as_slice()), (Taken::Yes, Some(Kind::Request), &grants[..]));
    m.words_mut()[1] = full.words()[1];
    assert_eq!(m, full);
    // A short one after it: what the long one left behind is not seen.
    lane.reply(seq, &Message::new(2)).unwrap();
    let mut m = Message::from_words([9; 32]);
    assert_eq!(lane.collect(seq, &mut m), Outcome::Replied);
    let mut expected = Message::new(2);
    expected.set_kind(Kind::Reply);
    assert_eq!(m, expected);
}

#[test]
fn a_send_ends_when_consumed() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let seq = posted(lane, Kind::Send);
    let mut none = Message::default();
    assert_eq!(lane.post(Kind::Send, &none, &[]), Err(Refused::Busy));
    assert_eq!((lane.peek(), lane.collect(seq, &mut none)), (Some((seq, Kind::Send)), Outcome::Pending));
    assert_eq!(take(lane, seq).0, Taken::Yes);
    assert_eq!(
        (lane.progress(seq), lane.cancel(seq)),
        (Progress::Consumed, Cancel::Done(Progress::Consumed))
    );
    assert_eq!(lane.reply(seq, &none), Err(Lost::Gone));
    assert_eq!(lane.collect(seq, &mut none), Outcome::Consumed);
    assert_eq!(lane.state().phase(), Some(Phase::Idle));
}

#[test]
fn a_forwarded_message_that_is_left_is_given_back_or_not() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let recalled = |kind| {
        let seq = posted(lane, kind);
        assert_eq!(lane.forward(seq, &mut Message::default(), &mut GrantList::default()), Taken::Yes);
        assert_eq!(lane.withdrawn(seq, Effect::No), Err(Lost::Gone), "nobody wants it back");
        assert!(!lane.recalled(seq));
        assert_eq!((lane.cancel(seq), lane.cancel(seq)), (Cancel::Recalled, Cancel::Recalled));
        assert!(lane.recalled(seq) && lane.progress(seq) == Progress::Posted && !lane.wanted(seq));
        seq
    };
    let mut m = Message::default();
    for (effect, left) in
        [(Effect::No, Cancel::NotTaken), (Effect::Yes, Cancel::Taken), (Effect::Unknown, Cancel::Taken)]
    {
        let seq = recalled(Kind::Send);
        lane.withdrawn(seq, effect).unwrap();
        assert_eq!((lane.progress(seq), lane.collect(seq, &mut m)), (Progress::Released, Outcome::Pending));
        assert_eq!(lane.cancel(seq), left);
    }
    // Too late: how it ended counts.
    let seq = recalled(Kind::Send);
    lane.consumed(seq).unwrap();
    assert_eq!(lane.cancel(seq), Cancel::Done(Progress::Consumed));
    assert_eq!(lane.collect(seq, &mut m), Outcome::Consumed);
    let seq = recalled(Kind::Request);
    lane.reply(seq, &Message::new(6)).unwrap();
    assert_eq!((lane.collect(seq, &mut m), m.mtype()), (Outcome::Replied, 6));
    let seq = recalled(Kind::Request);
    lane.begun(seq).unwrap();
    assert_eq!(lane.cancel(seq), Cancel::Taken);
    let seq = recalled(Kind::Request);
    lane.redirect(seq, Endpoint::new(0, 5), &Message::new(7)).unwrap();
    assert_eq!(lane.cancel(seq), Cancel::Taken, "whoever leaves does not call again");
    let seq = recalled(Kind::Request);
    lane.withdrawn(seq, Effect::No).unwrap();
    lane.close();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Closed(Effect::No));
}

#[test]
fn a_forwarded_send_ends_when_its_receiver_had_it() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let forward = |seq| lane.forward(seq, &mut Message::default(), &mut GrantList::default());
    let mut m = Message::new(9);
    let seq = posted(lane, Kind::Send);
    assert_eq!((forward(seq), lane.progress(seq)), (Taken::Yes, Progress::Posted));
    assert_eq!(lane.consumed(seq + 1), Err(Lost::Gone));
    lane.consumed(seq).unwrap();
    assert_eq!(lane.consumed(seq), Err(Lost::Gone));
    assert_eq!((lane.collect(seq, &mut m), m.mtype()), (Outcome::Consumed, 9));
    // Given up under way: not "not done".
    let seq = posted(lane, Kind::Send);
    assert_eq!((forward(seq), lane.cancel(seq), lane.abandon(seq)), (Taken::Yes, Cancel::Recalled, true));
    assert_eq!(lane.consumed(seq), Err(Lost::Gone));
    let seq = posted(lane, Kind::Send);
    assert_eq!(forward(seq), Taken::Yes);
    lane.fail(seq, Code::DSTDIED, Effect::No).unwrap();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Failed(Code::DSTDIED, Effect::No));
    // A request: what is known of it grows.
    let seq = posted(lane, Kind::Request);
    assert_eq!((forward(seq), lane.begin_copy(seq)), (Taken::Yes, Err(Lost::Gone)));
    lane.begun(seq).unwrap();
    assert_eq!((lane.begun(seq), lane.progress(seq)), (Err(Lost::Gone), Progress::Taken));
    lane.reply(seq, &Message::new(4)).unwrap();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Replied);
    let seq = posted(lane, Kind::Request);
    assert_eq!(forward(seq), Taken::Yes);
    lane.reply(seq, &Message::new(5)).unwrap();
    assert_eq!((lane.collect(seq, &mut m), m.mtype()), (Outcome::Replied, 5));
    let seq = posted(lane, Kind::Send);
    assert_eq!(forward(seq), Taken::Yes);
    lane.close();
    assert_eq!(lane.consumed(seq), Err(Lost::Closed));
    assert_eq!(lane.collect(seq, &mut m), Outcome::Closed(Effect::Unknown));
}

#[test]
fn an_old_number_reaches_nothing() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let old = posted(lane, Kind::Request);
    assert_eq!(lane.cancel(old), Cancel::NotTaken);
    let seq = posted(lane, Kind::Request);
    assert_eq!(take(lane, old).0, Taken::Gone);
    assert_eq!(take(lane, seq).0, Taken::Yes);
    assert_eq!(lane.reply(old, &Message::new(1)), Err(Lost::Gone));
    assert_eq!(lane.fail(old, Code::PERM, Effect::No), Err(Lost::Gone));
    assert_eq!(lane.begin_copy(old), Err(Lost::Gone));
    assert_eq!((lane.cancel(old), lane.progress(old)), (Cancel::Done(Progress::Broken), Progress::Broken));
    assert!(lane.wanted(seq) && !lane.wanted(old) && !lane.abandon(seq));
    assert_eq!(lane.cancel(seq), Cancel::Taken);
    assert_eq!(lane.reply(seq, &Message::new(1)), Err(Lost::Gone));
}

#[test]
fn failing_and_redirecting() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let mut m = Message::default();
    let seq = posted(lane, Kind::Request);
    lane.fail(seq, Code::DSTDIED, Effect::No).unwrap();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Failed(Code::DSTDIED, Effect::No));
    let seq = posted(lane, Kind::Request);
    assert_eq!(take(lane, seq).0, Taken::Yes);
    lane.fail(seq, Code::SRCDIED, Effect::Unknown).unwrap();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Failed(Code::SRCDIED, Effect::Unknown));
    let seq = posted(lane, Kind::Request);
    assert_eq!(take(lane, seq).0, Taken::Yes);
    lane.redirect(seq, Endpoint::from_raw(-5), &Message::new(3)).unwrap();
    assert_eq!(lane.collect(seq, &mut m), Outcome::Redirected(Endpoint::from_raw(-5)));
    assert_eq!((m.mtype(), m.kind()), (3, Some(Kind::Request)));
}

#[test]
fn a_copy_holds_the_caller() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let seq = posted(lane, Kind::Request);
    assert_eq!(take(lane, seq).0, Taken::Yes);
    lane.begin_copy(seq).unwrap();
    assert_eq!(lane.begin_copy(seq), Err(Lost::Copying));
    assert_eq!(lane.reply(seq, &Message::new(1)), Err(Lost::Copying));
    assert_eq!(lane.end_copy(seq), Ok(CopyEnd::Goes));
    lane.begin_copy(seq).unwrap();
    assert_eq!((lane.cancel(seq), lane.cancel(seq)), (Cancel::Copying, Cancel::Copying));
    assert!(lane.progress(seq).pending());
    assert_eq!(lane.end_copy(seq), Ok(CopyEnd::CallerLeaves));
    assert_eq!(lane.begin_copy(seq), Err(Lost::Gone));
    assert_eq!(lane.cancel(seq), Cancel::Taken);
    let seq = posted(lane, Kind::Request);
    assert_eq!(take(lane, seq).0, Taken::Yes);
    lane.begin_copy(seq).unwrap();
    assert_eq!(lane.cancel(seq), Cancel::Copying);
    assert!(lane.abandon(seq));
    assert_eq!(lane.end_copy(seq), Err(Lost::Gone));
}

#[test]
fn closing_tells_what_is_known_about_the_effect() {
    for (moves, effect) in [(0, Effect::No), (1, Effect::Unknown), (2, Effect::Unknown)] {
        let memory = memory();
        let lane = Lane::new(memory.words()).unwrap();
        let seq = posted(lane, Kind::Request);
        if moves > 0 {
            take(lane, seq);
        }
        if moves > 1 {
            lane.begin_copy(seq).unwrap();
        }
        lane.close();
        let mut m = Message::default();
        assert_eq!(lane.collect(seq, &mut m), Outcome::Closed(effect));
        assert_eq!(lane.cancel(seq), Cancel::Done(Progress::Closed(effect)));
        assert_eq!((take(lane, seq).0, lane.peek()), (Taken::Gone, None));
        assert_eq!(lane.reply(seq, &m), Err(Lost::Closed));
        assert_eq!(lane.end_copy(seq), Err(Lost::Closed));
        assert!(!lane.abandon(seq) || moves == 2);
        assert_eq!(lane.post(Kind::Send, &m, &[]), Err(Refused::Closed));
        lane.reset();
        assert!(lane.post(Kind::Send, &m, &[]).unwrap() > seq);
    }
}

#[test]
fn an_answer_given_before_the_close_is_still_collected() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    let seq = posted(lane, Kind::Request);
    take(lane, seq);
    lane.reply(seq, &Message::new(9)).unwrap();
    lane.close();
    let mut m = Message::default();
    assert_eq!((lane.collect(seq, &mut m), m.mtype()), (Outcome::Replied, 9));
    assert_eq!(lane.post(Kind::Send, &m, &[]), Err(Refused::Closed));
}

#[test]
fn notices_merge_in_every_phase() {
    let memory = memory();
    let lane = Lane::new(memory.words()).unwrap();
    assert_eq!((lane.take_notice(), lane.notify(0), lane.take_notice()), (None, false, Some(0)));
    lane.close();
    assert_eq!((lane.notify(1), lane.notify(6), lane.take_notice()), (false, true, Some(7)));
}

#[test]
fn malformed_requests_fail_at_their_caller() {
    let bad: [(usize, u64); 5] = [
        (super::REQUEST_META, 33),
        (super::REQUEST_META, 5 << 8),
        (super::REQUEST_META, u64::MAX),
        (super::GRANTS + 2, 4),
        (super::GRANTS, u64::MAX),
    ];
    for (word, value) in bad {
        let memory = memory();
        let lane = Lane::new(memory.words()).unwrap();
        let grant = Grant { address: 1, length: 1, access: Access::Read };
        let seq = lane.post(Kind::Request, &Message::new(1), &[grant]).unwrap();
        memory.words()[word].store(value, Ordering::Relaxed);
        assert_eq!(take(lane, seq).0, Taken::Malformed, "{word} {value}");
        let mut m = Message::default();
        assert_eq!(lane.collect(seq, &mut m), Outcome::Failed(Code::INVAL, Effect::No));
    }
}

/// What a caller and a callee may do, with numbers that may be right or wrong.
#[derive(Clone, Debug)]
enum Op {
    Post(bool),
    Collect,
    Cancel,
    Abandon,
    Take,
    Reply,
    Fail,
    BeginCopy,
    EndCopy,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0..9u8, any::<bool>()).prop_map(|(n, b)| match n {
        0 => Op::Post(b),
        1 => Op::Collect,
        2 => Op::Cancel,
        3 => Op::Abandon,
        4 => Op::Take,
        5 => Op::Reply,
        6 => Op::Fail,
        7 => Op::BeginCopy,
        _ => Op::EndCopy,
    });
    prop::collection::vec(op, 0..200)
}

/// The lane again as a plain enum, by which every answer of the real one is predicted.
#[derive(Default)]
struct Model {
    phase: Option<Phase>,
    seq: u64,
}

impl Model {
    fn at(&self, phases: &[Phase]) -> bool {
        self.phase.is_some_and(|p| phases.contains(&p))
    }

    fn step(&mut self, op: &Op, lane: Lane<'_>) -> (bool, bool) {
        use Phase::{
            Consumed, Copying, Failed, Leaving, Left, PostedRequest, PostedSend, Replied, Taken as Held,
        };
        let mut m = Message::default();
        let seq = self.seq;
        let (allowed, next, real) = match op {
            Op::Post(send) => {
                let kind = if *send { Kind::Send } else { Kind::Request };
                let done = lane.post(kind, &m, &[]);
                self.seq = done.unwrap_or(seq);
                (self.phase.is_none(), Some(if *send { PostedSend } else { PostedRequest }), done.is_ok())
            }
            Op::Collect => {
                let done = !matches!(lane.collect(seq, &mut m), Outcome::Pending | Outcome::Broken);
                (self.at(&[Consumed, Replied, Failed]), None, done)
            }
            Op::Cancel => {
                let done = matches!(lane.cancel(seq), Cancel::NotTaken | Cancel::Taken);
                if self.at(&[Copying]) {
                    self.phase = Some(Leaving);
                }
                (self.at(&[PostedSend, PostedRequest, Held, Left]), None, done)
            }
            Op::Abandon => (self.at(&[Copying, Leaving]), None, lane.abandon(seq)),
            Op::Take => {
                let next = if self.at(&[PostedSend]) { Consumed } else { Held };
                (self.at(&[PostedSend, PostedRequest]), Some(next), take(lane, seq).0 == Taken::Yes)
            }
            Op::Reply => (self.at(&[Held]), Some(Replied), lane.reply(seq, &m).is_ok()),
            Op::Fail => {
                let done = lane.fail(seq, Code::IO, Effect::No).is_ok();
                (self.at(&[PostedSend, PostedRequest, Held]), Some(Failed), done)
            }
            Op::BeginCopy => (self.at(&[Held]), Some(Copying), lane.begin_copy(seq).is_ok()),
            Op::EndCopy => {
                let next = if self.at(&[Copying]) { Held } else { Left };
                (self.at(&[Copying, Leaving]), Some(next), lane.end_copy(seq).is_ok())
            }
        };
        if allowed {
            self.phase = next;
        }
        (allowed, real)
    }
}

proptest! {
    #[test]
    fn follows_the_model(ops in ops()) {
        let memory = memory();
        let lane = Lane::new(memory.words()).unwrap();
        let mut model = Model::default();
        for op in &ops {
            let (allowed, real) = model.step(op, lane);
            prop_assert_eq!(allowed, real, "{:?}", op);
            prop_assert_eq!(lane.state().phase(), Some(model.phase.unwrap_or(Phase::Idle)));
            prop_assert_eq!(lane.state().seq(), model.seq);
        }
    }

    #[test]
    fn garbage_gives_answers_only(
        words in prop::collection::vec(any::<u64>(), LANE_WORDS), seq in any::<u64>(), ops in ops(),
    ) {
        let memory = memory();
        for (to, from) in memory.words().iter().zip(&words) {
            to.store(*from, Ordering::Relaxed);
        }
        let lane = Lane::new(memory.words()).unwrap();
        let seq = if seq % 2 == 0 { seq >> 8 } else { lane.state().seq() };
        let mut model = Model { phase: None, seq };
        for op in &ops {
            model.step(op, lane);
        }
        let _ = (lane.take_notice(), lane.notify(seq), lane.peek(), lane.wanted(seq), lane.close());
    }
}
