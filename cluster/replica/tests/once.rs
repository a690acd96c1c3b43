//! Callers send calls again at any moment, replicas crash and come back from snapshots: each call is done
//! once.

use dvs_abi::limits::REPLICA_CALLERS_MAX;
use dvs_abi::{DcId, Endpoint};
use dvs_replica::active::{self, Active};
use dvs_replica::call::{CallName, Caller, Done};
use dvs_replica::duplicates::{Duplicates, Verdict};
use dvs_replica::parts::Parts;
use dvs_replica::passive::{self, Passive, Plan, Planned, StateError};
use proptest::prelude::*;

/// Adds what it is told, and answers the sum.
#[derive(Clone, Default, Debug, PartialEq)]
struct Sum(u64);

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

impl active::Server for Sum {
    fn request(&mut self, _: &Caller, request: &[u8]) -> Vec<u8> {
        self.0 += number(request);
        self.0.to_le_bytes().to_vec()
    }
    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        request.is_empty().then(|| self.0.to_le_bytes().to_vec())
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = u64::from_le_bytes(snapshot.try_into().map_err(|_| "eight bytes are a sum")?);
        Ok(())
    }
}

impl passive::Server for Sum {
    fn plan(&self, _: &Caller, request: &[u8]) -> Plan {
        let sum = (self.0 + number(request)).to_le_bytes().to_vec();
        Plan { change: (number(request) > 0).then(|| sum.clone()), answer: sum }
    }
    fn change(&mut self, change: &[u8]) {
        self.0 = number(change);
    }
    fn snapshot(&self) -> Vec<u8> {
        active::Server::snapshot(self)
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        active::Server::restore(self, snapshot)
    }
}

fn caller(n: u64) -> Caller {
    Caller { dc: DcId(0), endpoint: Endpoint::new(1, 30 + n as i32 % 1000), binding: n }
}

fn name(n: u64, number: u64, again: bool) -> CallName {
    CallName { caller: caller(n), number, again }
}

fn answer(bytes: &[u8]) -> u64 {
    match Done::decode(bytes) {
        Done::Answer(a) => number(&a),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_is_sent_again_is_answered_as_before_and_not_done() {
    let mut a = Active::new(Sum::default());
    let five = || 5_u64.to_le_bytes().to_vec();
    let first = a.apply(&active::call(name(1, 1, false), five()));
    assert_eq!(answer(&first), 5);
    assert_eq!(answer(&a.apply(&active::call(name(2, 1, false), five()))), 10);
    // It may be the same process that doubts, or a new instance that is told "again".
    for again in [false, true] {
        assert_eq!(a.apply(&active::call(name(1, 1, again), five())), first);
    }
    assert_eq!(Done::decode(&a.apply(&active::call(name(1, 0, true), five()))), Done::Late);
    assert_eq!(
        answer(&a.apply(&active::call(name(1, 2, true), five()))),
        15,
        "the one before was done, not this"
    );
    a.apply(&active::ended(caller(1)));
    assert_eq!(
        Done::decode(&a.apply(&active::call(name(1, 2, true), five()))),
        Done::Late,
        "and nobody waits"
    );
    assert_eq!(
        answer(&a.apply(&active::call(name(9, 1, true), five()))),
        20,
        "its first instance never logged it"
    );
    assert_eq!(a.query(b"").map(|s| number(&s)), Some(20));
    assert_eq!(a.query(b"x"), None);
    assert_eq!(Done::decode(&a.apply(b"nonsense")), Done::Malformed);
}

#[test]
fn callers_beyond_the_bound_are_forgotten_longest_ago_first() {
    let mut table = Duplicates::default();
    for n in 0..REPLICA_CALLERS_MAX as u64 {
        table.keep(&name(n, 1, false), b"x");
    }
    table.keep(&name(0, 2, false), b"y");
    table.keep(&name(u64::MAX, 1, false), b"z");
    assert_eq!(table.callers(), REPLICA_CALLERS_MAX);
    assert_eq!(table.look(&name(0, 2, true)), Verdict::Known(Done::Answer(b"y".to_vec())));
    assert_eq!(table.look(&name(1, 1, true)), Verdict::Known(Done::Unknown), "called longest ago");
    assert_eq!(table.look(&name(1, 2, false)), Verdict::New);
    let large = vec![0; 1 << 20];
    (0..100).for_each(|n| table.keep(&name(n, 9, false), &large));
    assert!(table.callers() < 100, "answers are bounded in bytes, too");
    assert_eq!(table.look(&name(99, 9, true)), Verdict::Known(Done::Answer(large)));
}

#[test]
fn a_plan_on_an_old_state_is_refused_and_planned_anew() {
    let mut p = Passive::new(Sum::default());
    let one = 1_u64.to_le_bytes();
    let Planned::Log(first) = p.plan(name(1, 1, false), &one) else { panic!() };
    // The primary that planned this was deposed; the new one has put another call into the log.
    let Planned::Log(second) = p.plan(name(2, 1, false), &one) else { panic!() };
    assert_eq!(answer(&p.apply(&second)), 1);
    assert_eq!(Done::decode(&p.apply(&first)), Done::Replan);
    let Planned::Log(anew) = p.plan(name(1, 1, true), &one) else { panic!() };
    assert_eq!(answer(&p.apply(&anew)), 2);
    assert_eq!(p.plan(name(1, 1, true), &one), Planned::Done(Done::Answer(2_u64.to_le_bytes().to_vec())));
    let nothing = p.plan(name(3, 1, false), &0_u64.to_le_bytes());
    assert_eq!(nothing, Planned::Done(Done::Answer(2_u64.to_le_bytes().to_vec())), "no entry for a read");
}

#[test]
fn a_snapshot_that_is_none_is_refused() {
    let mut a = Active::new(Sum(7));
    assert_eq!(a.restore(b"?"), Err(StateError::Malformed));
    let good = a.snapshot();
    assert_eq!(Active::new(Sum(0)).restore(&good), Ok(()));
    let short = postcard::to_stdvec(&(vec![1_u8], Duplicates::default(), Parts::default())).unwrap();
    assert!(matches!(a.restore(&short), Err(StateError::Server(_))));
    assert_eq!(a.server(), &Sum(7));
}

/// What happens next: a caller makes a new call, sends its last one again, or the replica comes back from a
/// snapshot.
#[derive(Clone, Debug)]
enum Act {
    Call(u64, u64),
    Again(u64),
    Restart,
}

proptest! {
    #[test]
    fn whatever_is_sent_again_the_sum_is_that_of_the_calls(acts in proptest::collection::vec(prop_oneof![
        4 => (0..4_u64, 1..9_u64).prop_map(|(n, add)| Act::Call(n, add)),
        3 => (0..4_u64).prop_map(Act::Again),
        1 => Just(Act::Restart),
    ], 1..100)) {
        let (mut a, mut p) = (Active::new(Sum::default()), Passive::new(Sum::default()));
        let mut calls = [(0_u64, 0_u64, 0_u64); 4];
        let mut sum = 0;
        for act in acts {
            let (n, again) = match act {
                Act::Call(n, add) => {
                    sum += add;
                    calls[n as usize] = (calls[n as usize].0 + 1, add, sum);
                    (n, false)
                }
                Act::Again(n) if calls[n as usize].0 > 0 => (n, true),
                Act::Again(_) => continue,
                Act::Restart => {
                    let (state, other) = (a.snapshot(), p.snapshot());
                    (a, p) = (Active::new(Sum::default()), Passive::new(Sum::default()));
                    prop_assert_eq!((a.restore(&state), p.restore(&other)), (Ok(()), Ok(())));
                    continue;
                }
            };
            let (count, add, told) = calls[n as usize];
            let request = add.to_le_bytes().to_vec();
            let done = a.apply(&active::call(name(n, count, again), request.clone()));
            prop_assert_eq!(answer(&done), told);
            let done = match p.plan(name(n, count, again), &request) {
                Planned::Log(entry) => Done::decode(&p.apply(&entry)),
                Planned::Done(done) => done,
                Planned::Parts(_) => panic!("plans are one entry"),
            };
            prop_assert_eq!(done, Done::Answer(told.to_le_bytes().to_vec()));
            prop_assert_eq!((a.server(), p.server()), (&Sum(sum), &Sum(sum)));
        }
    }

    #[test]
    fn no_entry_is_a_surprise(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let (mut a, mut p) = (Active::new(Sum(3)), Passive::new(Sum(3)));
        let _ = (a.apply(&bytes), p.apply(&bytes), a.restore(&bytes), p.restore(&bytes));
    }
}
