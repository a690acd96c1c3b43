//! The checker of histories: good ones are accepted, bad ones are not.

use Number::{Done, Is, Swapped};
use Register::{Read, Swap, Write};
use dvs_sim::{
    Call, Counter, End, History, Map, Model, NotLinear, Number, Random, Register, Set, check_linear,
};

/// Calls as (began, ended or 0 for unknown, what, reply).
fn history<M: Model>(calls: &[(u64, u64, M, M::Reply)]) -> History<M, M::Reply> {
    let mut h = History::new();
    for (began, ended, op, reply) in calls {
        let call = h.begin(*began, op.clone());
        if *ended > 0 {
            h.reply(call, reply.clone(), *ended);
        }
    }
    h
}

fn good<M: Model>(calls: &[(u64, u64, M, M::Reply)]) {
    check_linear(&history(calls)).unwrap();
}

fn bad<M: Model>(calls: &[(u64, u64, M, M::Reply)]) {
    let found = check_linear(&history(calls));
    assert!(matches!(found, Err(NotLinear::Wrong(_))), "{found:?}");
}

#[test]
fn a_read_sees_the_last_write_and_no_older_one() {
    let (w1, w2) = ((1, 2, Write("x", 1), Done), (3, 4, Write("x", 2), Done));
    good(&[w1, w2, (5, 6, Read("x"), Is(2))]);
    bad(&[w1, w2, (5, 6, Read("x"), Is(1))]);
    bad(&[w1, w2, (5, 6, Read("x"), Is(0))]);
    good(&[w1, w2, (5, 6, Read("y"), Is(0))]);
}

#[test]
fn while_a_write_is_under_way_reads_may_see_either_but_not_back_again() {
    let w = (1, 10, Write("x", 1), Done);
    good(&[w, (2, 3, Read("x"), Is(0)), (4, 5, Read("x"), Is(1))]);
    bad(&[w, (2, 3, Read("x"), Is(1)), (4, 5, Read("x"), Is(0))]);
    good(&[w, (2, 5, Read("x"), Is(1)), (4, 6, Read("x"), Is(0))]);
}

#[test]
fn a_write_that_timed_out_may_be_done_late_or_never_but_once() {
    let w = (1, 0, Write("x", 1), Done);
    let other = (2, 3, Write("x", 2), Done);
    good(&[w, other, (4, 5, Read("x"), Is(2)), (6, 7, Read("x"), Is(1))]);
    good(&[w, other, (4, 5, Read("x"), Is(2)), (6, 7, Read("x"), Is(2))]);
    bad(&[w, other, (4, 5, Read("x"), Is(1)), (6, 7, Read("x"), Is(2)), (8, 9, Read("x"), Is(1))]);
    bad(&[(4, 5, Read("x"), Is(1)), (6, 0, Write("x", 1), Done)]);
}

#[test]
fn a_call_that_said_nothing_was_done_must_not_show() {
    let mut h = history(&[(1, 2, Write("x", 1), Done)]);
    let refused = h.begin(3, Write("x", 9));
    h.nothing(refused);
    let read = h.begin(5, Read("x"));
    h.reply(read, Is(9), 6);
    assert!(matches!(check_linear(&h), Err(NotLinear::Wrong(_))));
    assert_eq!(h.calls()[refused].end, End::Nothing);
}

#[test]
fn of_two_swaps_from_the_same_value_one_wins() {
    let (a, b) = (Swap("x", 0, 1), Swap("x", 0, 2));
    good(&[(1, 5, a, Swapped(true)), (2, 6, b, Swapped(false)), (7, 8, Read("x"), Is(1))]);
    bad(&[(1, 5, a, Swapped(true)), (2, 6, b, Swapped(true))]);
}

#[test]
fn a_counter_shows_what_was_done_twice_or_lost() {
    use Counter::{Add, Read};
    good(&[(1, 5, Add(1), Is(2)), (1, 4, Add(1), Is(1)), (6, 7, Read, Is(2))]);
    bad(&[(1, 5, Add(1), Is(2)), (1, 4, Add(1), Is(1)), (6, 7, Read, Is(3))]);
    bad(&[(1, 5, Add(1), Is(2)), (1, 4, Add(1), Is(1)), (6, 7, Read, Is(1))]);
    good(&[(1, 0, Add(1), Is(0)), (6, 7, Read, Is(0)), (8, 9, Read, Is(1))]);
}

#[test]
fn maps_and_sets_are_checked_key_by_key() {
    let put = |k: &str, v: u8| Map::Put(k.into(), vec![v]);
    let get = |k: &str| Map::Get(k.into());
    good(&[(1, 2, put("a", 1), None), (1, 2, put("b", 2), None), (3, 4, get("a"), Some(vec![1]))]);
    bad(&[(1, 2, put("a", 1), None), (3, 4, Map::Delete("a".into()), None)]);
    good(&[(1, 2, Set::Insert(1), true), (3, 4, Set::Insert(1), false), (5, 6, Set::Remove(1), true)]);
    bad(&[(1, 2, Set::Insert(1), true), (3, 4, Set::Remove(1), true), (5, 6, Set::Remove(1), true)]);
}

/// A true register with clients that overlap: its histories are good; with one reply changed to what was
/// never written they are bad.
#[test]
fn histories_of_a_true_register_are_good_and_a_reply_changed_makes_them_bad() {
    for seed in 0..60 {
        let mut r = Random::new(seed);
        let mut h = History::new();
        let (mut now, mut value) = (0, 0);
        let mut reads = Vec::new();
        let mut busy_until = [0u64; 6];
        for n in 0..300 {
            now += 1 + r.below(3);
            let client = r.below(6) as usize;
            let began = now.max(busy_until[client] + 1);
            // The moment at which it is done, now, lies between begin and end.
            now = began + r.below(3);
            let ended = now + r.below(20);
            busy_until[client] = ended;
            let unknown = r.odds(50);
            if r.odds(500) {
                let call = h.begin(began, Write("x", n));
                if !unknown || r.odds(500) {
                    value = n;
                }
                if !unknown {
                    h.reply(call, Done, ended);
                }
            } else {
                let call = h.begin(began, Read("x"));
                h.reply(call, Is(value), ended);
                reads.push((call, ended));
            }
        }
        check_linear(&h).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let (call, ended) = reads[r.below(reads.len() as u64) as usize];
        h.reply(call, Is(-1), ended);
        assert!(matches!(check_linear(&h), Err(NotLinear::Wrong(_))), "seed {seed}");
    }
}

/// All orders, tried without any thought: the measure for the checker.
fn some_order(calls: &[Call<Register<'_>, Number>], done: &mut Vec<bool>, state: i64) -> bool {
    let open: Vec<_> = (0..calls.len()).filter(|c| !done[*c]).collect();
    let must = |c: &usize| matches!(calls[*c].end, End::Reply(..));
    if !open.iter().any(must) {
        return true;
    }
    let ends = |c: &usize| match calls[*c].end {
        End::Reply(_, at) => at,
        _ => u64::MAX,
    };
    let first_end = open.iter().map(ends).min().unwrap_or(u64::MAX);
    open.iter().any(|c| {
        let (next, reply) = calls[*c].op.run(&state);
        let fits = matches!(&calls[*c].end, End::Unknown) || calls[*c].end == End::Reply(reply, ends(c));
        if calls[*c].began > first_end || !fits {
            return false;
        }
        done[*c] = true;
        let found = some_order(calls, done, next);
        done[*c] = false;
        found
    })
}

#[test]
fn small_histories_are_judged_as_by_trying_all_orders() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..4000 {
        let mut r = Random::new(seed);
        let mut h = History::new();
        for _ in 0..2 + r.below(6) {
            let began = r.below(12);
            let (a, b) = (r.below(3) as i64, r.below(3) as i64);
            let (op, reply) = match r.below(3) {
                0 => (Read("x"), Is(a)),
                1 => (Write("x", a), Done),
                _ => (Swap("x", a, b), Swapped(r.odds(500))),
            };
            let call = h.begin(began, op);
            if r.odds(700) {
                h.reply(call, reply, began + r.below(8));
            }
        }
        let so = some_order(h.calls(), &mut vec![false; h.calls().len()], 0);
        assert_eq!(check_linear(&h).is_ok(), so, "seed {seed}: {h:?}");
        good += u64::from(so);
        bad += u64::from(!so);
    }
    assert!(good > 500 && bad > 500, "{good} {bad}");
}
