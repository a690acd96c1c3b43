//! Deadlines: one point in time, inherited by the calls made on a caller's behalf.

use crate::act::Act;
use crate::say::{any, call, call_t, ms, msg, poll, receive_t, reply, send_t};
use crate::seen::Seen;
use crate::world::{Pending, Player, Site, World};
use dvs_abi::{Code, Effect, Endpoint, Fault, Timeout};
use std::time::Duration;

fn three(w: &mut World) -> (Player, Player, Player) {
    (w.bound("client", Site::B, 11), w.bound("middle", Site::A, 10), w.bound("last", Site::C, 12))
}

/// An answer that nobody waits for: refused, unless the news that its caller left is still on its way.
fn late(w: &World, seen: &Seen) {
    if w.nodes() == 1 || seen.error.is_some() {
        seen.err(Code::PROCSTS);
    }
}

/// A send, a call and a receive each end at their own time, not before.
pub fn each_call_ends(w: &mut World) {
    let (c, s, _) = three(w);
    let t = Duration::from_millis(80);
    for act in [
        send_t(s.ep(), msg(1, b""), Timeout::After(t)),
        call_t(s.ep(), msg(1, b""), Timeout::After(t)),
        receive_t(s.ep(), Timeout::After(t)),
        Act::Rcvrqst { t: Timeout::After(t) },
    ] {
        let (seen, took) = c.start(act).wait_timed();
        seen.undone(Code::TIMEDOUT, w.nodes() == 1);
        assert!(took >= t, "{took:?}");
    }
    s.run(poll()).err(Code::AGAIN);
}

/// A server that waits forever on a caller's behalf waits no longer than the caller does.
pub fn inherited(w: &mut World) {
    let (c, m, l) = three(w);
    let called = c.start(call_t(m.ep(), msg(1, b""), ms(400)));
    m.run(any()).from(c.ep(), 1);
    let onward = m.start(call(l.ep(), msg(2, b"")));
    l.run(any()).from(m.ep(), 2);
    called.wait().err(Code::TIMEDOUT);
    onward.wait().err_of(Code::TIMEDOUT, Fault::Nobody, Effect::Unknown);
    // Nobody waits for either answer; both are recognised as late.
    late(w, &l.run(reply(m.ep(), msg(3, b""))));
    late(w, &m.run(reply(c.ep(), msg(3, b""))));
}

/// A shorter time of one's own holds under a longer inherited one.
pub fn own_time_is_shorter(w: &mut World) {
    let (c, m, l) = three(w);
    let called = c.start(call_t(m.ep(), msg(1, b""), ms(60_000)));
    m.run(any()).from(c.ep(), 1);
    m.run(call_t(l.ep(), msg(2, b""), ms(80))).undone(Code::TIMEDOUT, w.nodes() == 1);
    m.run(reply(c.ep(), msg(3, b"sorry"))).ok();
    called.wait().from(m.ep(), 3);
}

/// Once it has answered, a server is on its own time again.
pub fn inheritance_ends(w: &mut World) {
    let (c, m, l) = three(w);
    let called = c.start(call_t(m.ep(), msg(1, b""), ms(300)));
    m.run(any()).from(c.ep(), 1);
    m.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(m.ep(), 2);
    let onward = m.start(call(l.ep(), msg(3, b"")));
    l.run(any()).from(m.ep(), 3);
    // Longer than the client would have waited: time must pass here, there is no event to wait for.
    l.run(receive_t(Endpoint::ANY, ms(350))).err(Code::TIMEDOUT);
    onward.still_blocked();
    l.run(reply(m.ep(), msg(4, b""))).ok();
    onward.wait().from(l.ep(), 4);
}

/// Once it has relayed the request, too; a relay that was refused changes nothing.
pub fn relaying_ends_it(w: &mut World) {
    let (c, m, l) = three(w);
    let called = c.start(call_t(m.ep(), msg(1, b""), ms(300)));
    m.run(any()).from(c.ep(), 1);
    m.run(Act::Relay { client: c.ep(), dst: l.ep() }).ok();
    l.run(any()).from(c.ep(), 1);
    let onward = m.start(call(l.ep(), msg(3, b"")));
    l.run(any()).from(m.ep(), 3);
    l.run(receive_t(Endpoint::ANY, ms(350))).err(Code::TIMEDOUT);
    called.wait().err_of(Code::TIMEDOUT, Fault::Nobody, Effect::Unknown);
    onward.still_blocked();
    l.run(reply(m.ep(), msg(4, b""))).ok();
    onward.wait().from(l.ep(), 4);

    let called = c.start(call_t(m.ep(), msg(5, b""), ms(300)));
    m.run(any()).from(c.ep(), 5);
    m.run(Act::Relay { client: c.ep(), dst: m.ep() }).err(Code::ENDPOINT);
    m.run(call(l.ep(), msg(7, b""))).undone(Code::TIMEDOUT, w.nodes() == 1);
    called.wait().err_of(Code::TIMEDOUT, Fault::Nobody, Effect::Unknown);
}

/// The answer to a call that timed out is not taken for the answer to the next one.
pub fn late_answer_is_dropped(w: &mut World) {
    let (c, m, _) = three(w);
    for round in 0..5 {
        let called = taken_in_time(w, &c, &m, round);
        called.wait().err_of(Code::TIMEDOUT, Fault::Nobody, Effect::Unknown);
        let called = c.start(call(m.ep(), msg(100 + round, b"")));
        late(w, &m.run(reply(c.ep(), msg(-1, b"late"))));
        m.run(any()).from(c.ep(), 100 + round);
        m.run(reply(c.ep(), msg(200 + round, b""))).ok();
        called.wait().from(m.ep(), 200 + round);
    }
}

/// A call that was taken up and has little time left: one that had none before it got there, on a machine
/// with too much to do, is made again.
fn taken_in_time(w: &World, c: &Player, m: &Player, mtype: i32) -> Pending {
    loop {
        let called = c.start(call_t(m.ep(), msg(mtype, b""), ms(60)));
        let seen = m.run(receive_t(Endpoint::ANY, ms(500)));
        if seen.error.is_none() {
            seen.from(c.ep(), mtype);
            return called;
        }
        called.wait().undone(Code::TIMEDOUT, w.nodes() == 1);
    }
}

/// A request that times out in the queue is never delivered.
pub fn expired_in_the_queue(w: &mut World) {
    let (c, m, _) = three(w);
    c.run(call_t(m.ep(), msg(1, b"too late"), ms(60))).undone(Code::TIMEDOUT, w.nodes() == 1);
    let seen = m.run(receive_t(Endpoint::ANY, ms(60)));
    // From another node it may be taken before the news of its end is there; its caller was told "unknown".
    if w.nodes() == 1 || seen.error.is_some() {
        seen.err(Code::TIMEDOUT);
    }
}
