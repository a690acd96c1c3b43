//! Notifications (facts §7.5): nobody waits for them, they coalesce, they come before messages.

use crate::act::Act;
use crate::say::{any, call, ep, ms, msg, notify, poll, receive, receive_t, reply, send};
use crate::world::{DC, Player, Site, World};
use dvs_abi::message::NOTIFY_TYPE;
use dvs_abi::{Code, Endpoint};

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("notifier", Site::B, 9))
}

const fn of(slot: i32) -> i32 {
    NOTIFY_TYPE | slot
}

/// Returns once everything `p` notified before has arrived: a call to the same place comes after it.
fn arrived(p: &Player, s: &Player) {
    let called = p.start(call(s.ep(), msg(1, b"")));
    s.run(receive_request(p.ep())).from(p.ep(), 1);
    s.run(reply(p.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
}

/// A request that is taken before pending notifications of others, but after those of its own sender: rcvrqst
/// does not look at notifications at all (facts §2.9).
fn receive_request(_from: Endpoint) -> Act {
    Act::Rcvrqst { t: ms(15_000) }
}

/// 80: a waiting receiver gets it at once: type 0x1000 | slot, source, timestamp.
pub fn receiver_waits(w: &mut World) {
    let (s, n) = pair(w);
    let got = s.start(any());
    s.receiving();
    n.run(notify(s.ep())).ok();
    let got = got.wait().from(n.ep(), 4105);
    assert!(got.stamped);
}

/// 81: the notifier does not block, the next receive delivers.
pub fn before_receive(w: &mut World) {
    let (s, n) = pair(w);
    n.run(notify(s.ep())).ok();
    n.idle();
    s.run(any()).from(n.ep(), of(9));
}

/// 82: two before the receive are one.
pub fn twice_is_once(w: &mut World) {
    let (s, n) = pair(w);
    n.run(notify(s.ep())).ok();
    n.run(notify(s.ep())).ok();
    arrived(&n, &s);
    s.run(any()).from(n.ep(), of(9));
    s.run(poll()).err(Code::AGAIN);
}

/// 83: a pending notification comes before a queued message.
pub fn before_messages(w: &mut World) {
    let (s, n) = pair(w);
    let c = w.bound("client", Site::C, 12);
    let far = s.node != n.node;
    if far {
        // What shows that it has arrived would take the message, so the message comes afterwards.
        n.run(notify(s.ep())).ok();
        arrived(&n, &s);
    }
    let sent = c.start(send(s.ep(), msg(1, b"")));
    c.sending();
    if !far {
        n.run(notify(s.ep())).ok();
    }
    s.run(any()).from(n.ep(), of(9));
    s.run(any()).from(c.ep(), 1);
    sent.wait().ok();
}

/// Where the notifier is elsewhere its notification may be on the way still.
fn w_pending(s: &Player, n: &Player) {
    if s.node != n.node {
        arrived(n, s);
    }
}

/// 84: a receive from Y does not take X's notification.
pub fn filter_holds(w: &mut World) {
    let (s, n) = pair(w);
    let y = w.bound("y", Site::C, 12);
    n.run(notify(s.ep())).ok();
    w_pending(&s, &n);
    let got = s.start(receive(y.ep()));
    s.receiving();
    got.still_blocked();
    y.run(send(s.ep(), msg(5, b"from y"))).ok();
    got.wait().from(y.ep(), 5);
    s.run(any()).from(n.ep(), of(9));
}

/// 85: of several the lowest slot first.
pub fn lowest_first(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let slots = [14, 3, 9];
    let notifiers: Vec<Player> = slots.iter().map(|slot| w.bound("notifier", Site::B, *slot)).collect();
    for n in &notifiers {
        n.run(notify(s.ep())).ok();
        w_pending(&s, n);
    }
    for slot in [3, 9, 14] {
        s.run(any()).from(ep(slot), of(slot));
    }
    s.run(poll()).err(Code::AGAIN);
}

/// 86: in another's name.
pub fn in_anothers_name(w: &mut World) {
    let (s, n) = pair(w);
    let clock = w.bound("clock", Site::B, -30);
    n.run(Act::Notify { src: clock.ep(), dst: s.ep(), value: None }).ok();
    // For a task the or changes nothing but bit 12, which a small negative number has set already.
    s.run(any()).from(clock.ep(), NOTIFY_TYPE | -30);
}

/// 87: from hardware, by somebody who is not bound.
pub fn from_hardware(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let driver = w.actor("driver", Site::A);
    driver.run(Act::HardwareNotify { dc: DC, dst: s.ep() }).ok();
    s.run(any()).from(Endpoint::HARDWARE, -1);
}

/// 88: values become bits of one word, which is cleared by its delivery.
pub fn values_coalesce(w: &mut World) {
    let (s, n) = pair(w);
    for value in [3, 5, 62, 3] {
        n.run(Act::Notify { src: Endpoint::SELF, dst: s.ep(), value: Some(value) }).ok();
    }
    arrived(&n, &s);
    assert_eq!(s.run(any()).from(n.ep(), of(9)).value, 1 << 3 | 1 << 5 | 1 << 62);
    n.run(Act::Notify { src: Endpoint::SELF, dst: s.ep(), value: Some(0) }).ok();
    assert_eq!(s.run(any()).from(n.ep(), of(9)).value, 1);
    n.run(notify(s.ep())).ok();
    assert_eq!(s.run(any()).from(n.ep(), of(9)).value, 0);
    for value in [63, 64] {
        n.run(Act::Notify { src: Endpoint::SELF, dst: s.ep(), value: Some(value) }).err(Code::RANGE);
    }
}

/// 89: user processes cannot be notified.
pub fn not_to_users(w: &mut World) {
    let n = w.bound("notifier", Site::B, 9);
    let u = w.user("user", Site::A);
    n.run(notify(u.ep())).err_in(&[Code::TRAPDENIED, Code::PRIVILEGES]);
    n.run(notify(n.ep())).err(Code::ENDPOINT);
    n.run(notify(Endpoint::HARDWARE)).err(Code::BADDEST);
    n.run(notify(ep(20))).err(Code::DSTDIED);
    n.run(notify(ep(16_000))).err_in(&[Code::RANGE, Code::TRAPDENIED]);
}

/// 90: a notification of the server to the client that awaits its answer ends the call, as in the reference.
pub fn ends_a_call(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::B, 11);
    let called = c.start(call(s.ep(), msg(7, b"")));
    s.run(any()).from(c.ep(), 7);
    c.awaiting(s.ep());
    s.run(notify(c.ep())).ok();
    called.wait().from(s.ep(), of(10));
}

/// 38: the notification of one that is gone before anybody looked is gone as well.
pub fn gone_with_the_notifier(w: &mut World) {
    let (s, n) = pair(w);
    n.run(notify(s.ep())).ok();
    w_pending(&s, &n);
    n.run(crate::say::leave()).ok();
    w.gone(n.ep());
    s.run(receive_t(Endpoint::ANY, ms(60))).err(Code::TIMEDOUT);
}

/// Ten thousand notifications never block their sender and never become more than one at a time.
pub fn flood(w: &mut World) {
    let (s, n) = pair(w);
    for value in 0..2_000 {
        n.run(Act::Notify { src: Endpoint::SELF, dst: s.ep(), value: Some(value % 63) }).ok();
    }
    arrived(&n, &s);
    assert_eq!(s.run(any()).from(n.ep(), of(9)).value, u64::MAX >> 1);
    s.run(poll()).err(Code::AGAIN);
}
