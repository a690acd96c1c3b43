//! send, receive, sendrec, rcvrqst, reply, relay (facts §7.4): rendezvous wherever the two sides are.

use crate::act::Act;
use crate::say::{any, call, call_t, ep, ms, msg, poll, rcvrqst, receive, receive_t, reply, send, send_t};
use crate::seen::Seen;
use crate::world::{DC, Player, Site, World, own, until_ok};
use dvs_abi::{Code, Effect, Endpoint, Fault, Timeout};

/// Two servers, at A (slot 10) and B (slot 11).
fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("client", Site::B, 11))
}

/// 60: the receiver waits first, so the sender does not block; the source is the sender.
pub fn receiver_first(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    c.run(send(s.ep(), msg(5, b"one"))).ok();
    let got = got.wait().from(c.ep(), 5);
    assert_eq!(got.bytes, b"one");
    s.idle();
}

/// 61: the sender waits in the queue until the receiver comes.
pub fn sender_first(w: &mut World) {
    let (s, c) = pair(w);
    let sent = c.start(send(s.ep(), msg(6, b"two")));
    c.sending();
    sent.still_blocked();
    assert_eq!(s.run(any()).from(c.ep(), 6).bytes, b"two");
    sent.wait().ok();
}

/// 62: a receive from one source takes that one although another is queued before it.
pub fn specific_source(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("second", Site::C, 12);
    let first = c.start(send(s.ep(), msg(1, b"first")));
    c.sending();
    let second = d.start(send(s.ep(), msg(2, b"second")));
    d.sending();
    s.run(receive(d.ep())).from(d.ep(), 2);
    second.wait().ok();
    first.still_blocked();
    c.sending();
    s.run(any()).from(c.ep(), 1);
    first.wait().ok();
}

/// 63: the first send finds the receiver waiting, the second blocks until the second receive.
pub fn two_sends(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    c.run(send(s.ep(), msg(1, &[1; 192]))).ok();
    assert_eq!(got.wait().from(c.ep(), 1).bytes, [1; 192]);
    let second = c.start(send(s.ep(), msg(2, &[2; 100])));
    c.sending();
    assert_eq!(s.run(any()).from(c.ep(), 2).bytes, [2; 100]);
    second.wait().ok();
}

/// 64: five queued senders are served in the order of arrival.
pub fn five_senders(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let senders: Vec<Player> = (0..5)
        .map(|i| {
            let site = [Site::B, Site::C][i as usize % 2];
            w.bound("sender", site, 11 + i)
        })
        .collect();
    let mut sent = Vec::new();
    for (i, p) in senders.iter().enumerate() {
        sent.push(p.start(send(s.ep(), msg(i as i32, b""))));
        p.sending();
    }
    let served: Vec<_> = senders.iter().map(|_| s.run(any()).got()).collect();
    for (i, p) in senders.iter().enumerate() {
        let got = served.iter().filter(|g| (g.source, g.mtype) == (p.ep(), i as i32)).count();
        assert_eq!(got, 1, "{} is served once", p.ep());
        // Messages that lie in lanes when the receiver comes have no order among them (DEVIATIONS.md, 64).
        assert!(!w.one_table() || served[i].source == p.ep(), "served in the order of arrival");
    }
    sent.into_iter().for_each(|p| {
        p.wait().ok();
    });
    s.run(poll()).err(Code::AGAIN);
}

/// 65: a receive with a time-out ends with TIMEDOUT, and not before.
pub fn receive_times_out(w: &mut World) {
    let (s, _) = pair(w);
    let (seen, took) = s.start(receive_t(Endpoint::ANY, ms(120))).wait_timed();
    seen.err_of(Code::TIMEDOUT, Fault::Nobody, Effect::No);
    assert!(took >= std::time::Duration::from_millis(120), "{took:?}");
}

/// 66: without a partner and without time both ends say AGAIN and leave nothing behind.
pub fn no_wait_leaves_nothing(w: &mut World) {
    let (s, c) = pair(w);
    s.run(poll()).err_of(Code::AGAIN, Fault::Nobody, Effect::No);
    let sent = c.run(send_t(s.ep(), msg(1, b"x"), Timeout::Now));
    sent.undone(Code::AGAIN, w.nodes() == 1);
    let called = c.run(call_t(s.ep(), msg(1, b"x"), Timeout::Now));
    called.undone(Code::AGAIN, w.nodes() == 1);
    nothing_left(&s, &[&sent, &called]);
    c.run(poll()).err(Code::AGAIN);
    c.idle();
}

/// 67: a wait that is interrupted ends with INTR, and the next receive works.
pub fn interrupted(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    s.cancel();
    got.wait().err_of(Code::INTR, Fault::Nobody, Effect::No);
    let sent = c.start(send(s.ep(), msg(3, b"still works")));
    s.run(any()).from(c.ep(), 3);
    sent.wait().ok();
}

/// 68: nobody talks to himself.
pub fn to_self(w: &mut World) {
    let (s, _) = pair(w);
    s.run(send(s.ep(), msg(1, b""))).err_of(Code::ENDPOINT, Fault::Caller, Effect::No);
    s.run(receive(s.ep())).err(Code::ENDPOINT);
    s.run(call(s.ep(), msg(1, b""))).err(Code::ENDPOINT);
}

/// 69: an endpoint that nobody holds is dead.
pub fn to_free_slot(w: &mut World) {
    let (s, _) = pair(w);
    s.run(send(ep(20), msg(1, b""))).err_of(Code::DSTDIED, Fault::Peer, Effect::No);
    s.run(call(ep(20), msg(1, b""))).err_of(Code::DSTDIED, Fault::Peer, Effect::No);
    s.run(receive(ep(20))).err(Code::SRCDIED);
}

/// 70: slots outside the table, and the pseudo-source of hardware.
pub fn out_of_range(w: &mut World) {
    let (s, _) = pair(w);
    s.run(send(ep(16_001), msg(1, b""))).err_of(Code::RANGE, Fault::Caller, Effect::No);
    s.run(call(ep(16_000), msg(1, b""))).err(Code::RANGE);
    s.run(send(Endpoint::from_raw(-36), msg(1, b""))).err(Code::RANGE);
    s.run(send(Endpoint::HARDWARE, msg(1, b""))).err_of(Code::BADDEST, Fault::Caller, Effect::No);
    s.run(send(Endpoint::ANY, msg(1, b""))).err_in(&[Code::RANGE, Code::BADDEST, Code::ENDPOINT]);
    s.run(send(Endpoint::NONE, msg(1, b""))).err_in(&[Code::RANGE, Code::BADDEST, Code::ENDPOINT]);
}

/// 71: sendrec answered by a plain send, with the server first and with the client first, twice in a row.
pub fn call_and_send_back(w: &mut World) {
    let (s, c) = pair(w);
    for round in 0..2 {
        let request = s.start(any());
        s.receiving();
        let called = c.start(call(s.ep(), msg(7, b"server first")));
        assert_eq!(request.wait().from(c.ep(), 7).bytes, b"server first");
        c.awaiting(s.ep());
        called.still_blocked();
        s.run(send(c.ep(), msg(70 + round, b"answer"))).ok();
        assert_eq!(called.wait().from(s.ep(), 70 + round).bytes, b"answer");

        let called = c.start(call(s.ep(), msg(8, b"client first")));
        c.sending();
        assert_eq!(s.run(any()).from(c.ep(), 8).bytes, b"client first");
        s.run(send(c.ep(), msg(80 + round, b""))).ok();
        assert_eq!(called.wait().from(s.ep(), 80 + round).bytes, b"");
    }
}

/// 72: sendrec answered by rcvrqst and reply, twice.
pub fn call_and_reply(w: &mut World) {
    let (s, c) = pair(w);
    for round in 0..2 {
        let request = s.start(rcvrqst());
        s.receiving();
        let called = c.start(call(s.ep(), msg(7, b"please")));
        request.wait().from(c.ep(), 7);
        s.run(reply(c.ep(), msg(100 + round, b"there"))).ok();
        assert_eq!(called.wait().from(s.ep(), 100 + round).bytes, b"there");
    }
    let called = c.start(call(s.ep(), msg(9, b"")));
    c.sending();
    s.run(rcvrqst()).from(c.ep(), 9);
    s.run(reply(c.ep(), msg(-1, b"negative types are the program's"))).ok();
    called.wait().from(s.ep(), -1);
}

/// 73: a reply to somebody who does not wait for me fails without blocking.
pub fn reply_to_nobody(w: &mut World) {
    let (s, c) = pair(w);
    s.run(reply(c.ep(), msg(1, b""))).err_of(Code::PROCSTS, Fault::Peer, Effect::No);
    let called = c.start(call(s.ep(), msg(1, b"")));
    c.sending();
    s.run(reply(c.ep(), msg(1, b"too early"))).err(Code::PROCSTS);
    s.run(any()).from(c.ep(), 1);
    s.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
    s.run(reply(c.ep(), msg(3, b"twice"))).err(Code::PROCSTS);
}

/// 74: user processes may not serve.
pub fn user_may_not_serve(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let u = w.user("user", Site::B);
    u.run(rcvrqst()).err_in(&[Code::TRAPDENIED, Code::BADCALL]);
    u.run(reply(s.ep(), msg(1, b""))).err_in(&[Code::TRAPDENIED, Code::BADCALL]);
}

/// 75: the answer to a call that timed out goes nowhere and disturbs nobody.
pub fn late_answer(w: &mut World) {
    let (s, c) = pair(w);
    let called = c.start(call_t(s.ep(), msg(7, b"slow"), ms(150)));
    s.run(any()).from(c.ep(), 7);
    called.wait().err_of(Code::TIMEDOUT, Fault::Nobody, Effect::Unknown);
    let late = s.run(reply(c.ep(), msg(8, b"late")));
    // The news that a caller on another node left may still be on its way; its library drops the answer then.
    if w.nodes() == 1 || late.error.is_some() {
        late.err(Code::PROCSTS);
    }
    s.run(send_t(c.ep(), msg(8, b"late"), ms(80))).err(Code::TIMEDOUT);
    let called = c.start(call(s.ep(), msg(9, b"again")));
    s.run(any()).from(c.ep(), 9);
    s.run(reply(c.ep(), msg(10, b"in time"))).ok();
    assert_eq!(called.wait().from(s.ep(), 10).bytes, b"in time");
    c.run(poll()).err(Code::AGAIN);
}

/// 76: a relayed request is answered by the third; the server is free at once.
pub fn relay(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("second", Site::C, 12);
    let called = c.start(call(s.ep(), msg(7, b"to whom it concerns")));
    s.run(any()).from(c.ep(), 7);
    let request = d.start(any());
    s.run(Act::Relay { client: c.ep(), dst: d.ep() }).ok();
    let got = request.wait().from(c.ep(), 7);
    assert_eq!(got.bytes, b"to whom it concerns");
    s.run(poll()).err(Code::AGAIN);
    called.still_blocked();
    d.run(reply(c.ep(), msg(11, b"from the third"))).ok();
    assert_eq!(called.wait().from(d.ep(), 11).bytes, b"from the third");
    s.run(reply(c.ep(), msg(12, b"no longer mine"))).err(Code::PROCSTS);
}

/// 77: two that send to each other both time out and leave empty queues.
pub fn crossed_sends(w: &mut World) {
    let (s, c) = pair(w);
    let one = s.start(send_t(c.ep(), msg(1, b""), ms(150)));
    let two = c.start(send_t(s.ep(), msg(2, b""), ms(150)));
    // Where circles are looked for before the time is over, one of them is told so; that is no worse.
    let (one, two) = (one.wait(), two.wait());
    one.err_in(&[Code::TIMEDOUT, Code::LOCKED]);
    two.err_in(&[Code::TIMEDOUT, Code::LOCKED]);
    nothing_left(&s, &[&two]);
    nothing_left(&c, &[&one]);
}

/// Nothing waits for `p` of calls that failed with effect *no*. Where one is unknown (its message was on
/// its way to another node and could not be taken back in time), it may have come.
fn nothing_left(p: &Player, failed: &[&Seen]) {
    let sure = failed.iter().all(|f| f.error.as_ref().is_some_and(|e| e.effect == Effect::No));
    let seen = p.run(poll());
    if sure || seen.error.is_some() {
        seen.err(Code::AGAIN);
    }
}

/// 78: pairs at work at the same time, without loss or hang.
pub fn many_pairs(w: &mut World) {
    let mut at_work = Vec::new();
    for i in 0..5 {
        let s = w.bound("server", Site::A, 1 + 2 * i);
        let c = w.bound("client", Site::B, 2 + 2 * i);
        at_work.push(s.start(Act::Serve { count: 300, send: i % 2 == 1 }));
        at_work.push(c.start(Act::Call { dst: s.ep(), count: 300, t: Timeout::Forever }));
    }
    for p in at_work {
        assert_eq!(p.wait().ok().fact::<u64>("n"), 300);
    }
}

/// 79: the same endpoints in two containers never meet.
pub fn containers_apart(w: &mut World) {
    let (s, c) = pair(w);
    w.container(DC + 1, "other");
    let other_s = w.actor("other server", Site::A);
    let other_c = w.actor("other client", Site::B);
    until_ok(&other_s, &own(DC + 1, s.ep()));
    until_ok(&other_c, &own(DC + 1, c.ep()));
    if w.nodes() > 1 {
        other_c.run(Act::Wait4bind { endpoint: s.ep(), t: ms(10_000) }).ok();
    }
    let here = s.start(any());
    s.receiving();
    let there = other_s.start(any());
    other_c.run(send(s.ep(), msg(2, b"there"))).ok();
    assert_eq!(there.wait().from(c.ep(), 2).bytes, b"there");
    here.still_blocked();
    c.run(send(s.ep(), msg(1, b"here"))).ok();
    assert_eq!(here.wait().from(c.ep(), 1).bytes, b"here");
    other_s.run(poll()).err(Code::AGAIN);
}

/// A stale generation is another endpoint.
pub fn generations_differ(w: &mut World) {
    let (s, c) = pair(w);
    c.run(send(Endpoint::new(1, 10), msg(1, b""))).err_of(Code::ENDPOINT, Fault::Caller, Effect::No);
    c.run(receive(Endpoint::new(2, 10))).err_in(&[Code::ENDPOINT, Code::SRCDIED]);
    s.run(poll()).err(Code::AGAIN);
}

/// A message cannot be forged: the source is whoever sent it, all 192 bytes arrive, no more are taken.
pub fn full_message(w: &mut World) {
    let (s, c) = pair(w);
    let bytes: Vec<u8> = (0..192).collect();
    let sent = c.start(send(s.ep(), msg(i32::MIN, &bytes)));
    assert_eq!(s.run(any()).from(c.ep(), i32::MIN).bytes, bytes);
    assert_eq!(sent.wait().ok().fact::<Endpoint>("src"), c.ep());
    c.run(send(s.ep(), msg(1, &[0; 193]))).err(Code::MSGSIZE);
}

/// A cancelled call whose request was consumed says that its effect is unknown, and the next one is clean.
pub fn cancelled_call(w: &mut World) {
    let (s, c) = pair(w);
    let called = c.start(call(s.ep(), msg(7, b"first")));
    s.run(any()).from(c.ep(), 7);
    c.awaiting(s.ep());
    c.cancel();
    called.wait().err_of(Code::INTR, Fault::Nobody, Effect::Unknown);
    let called = c.start(call(s.ep(), msg(8, b"second")));
    let late = s.run(reply(c.ep(), msg(70, b"answer to the first")));
    if w.nodes() == 1 || late.error.is_some() {
        late.err(Code::PROCSTS);
    }
    s.run(any()).from(c.ep(), 8);
    s.run(reply(c.ep(), msg(80, b"answer to the second"))).ok();
    called.wait().from(s.ep(), 80);
    let called = c.start(call(s.ep(), msg(9, b"third")));
    c.sending();
    c.cancel();
    called.wait().undone(Code::INTR, w.nodes() == 1);
    s.run(poll()).err(Code::AGAIN);
}

/// Ten thousand calls of one pair.
pub fn ten_thousand_calls(w: &mut World) {
    let (s, c) = pair(w);
    let serving = s.start(Act::Serve { count: 10_000, send: false });
    let calling = c.start(Act::Call { dst: s.ep(), count: 10_000, t: Timeout::Forever });
    calling.wait().ok();
    serving.wait().ok();
}
