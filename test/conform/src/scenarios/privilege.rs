//! Who may use which call, and who may call whom (facts §7.3, 53–59).

use crate::say::{any, call, ep, get_priv, msg, poll, reply, send, set_priv};
use crate::world::{Player, Site, World};
use dvs_abi::{Call, CallSet, Code, Effect, Endpoint, Fault};

const TASKS: i32 = 35;
/// Slot 10 in the map of targets.
const SERVER: u128 = 1 << 45;

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("client", Site::B, 11))
}

/// 53: what a system process may when it is bound.
pub fn at_bind(w: &mut World) {
    let (s, _) = pair(w);
    let p = s.run(get_priv(s.ep())).ok();
    assert_eq!((p.fact::<i32>("id"), p.fact::<i32>("level")), (10 + TASKS, 0));
    assert_eq!(p.fact::<Endpoint>("warn"), Endpoint::NONE);
    assert_eq!(p.fact::<u64>("calls"), CallSet::ALL.0);
    let everybody = (1u128 << 64) - 1;
    assert_eq!(p.fact::<u128>("ipc_to") & everybody, everybody);
    let u = w.user("user", Site::A);
    let p = s.run(get_priv(u.ep())).ok();
    assert_eq!((p.fact::<i32>("id"), p.fact::<u64>("calls")), (64, CallSet::USER.0));
}

/// 54: what is set is read back; the id stays.
pub fn set_and_get(w: &mut World) {
    let (s, _) = pair(w);
    let calls = CallSet::ALL.without(Call::Notify).0;
    s.run(set_priv(s.ep(), ep(-33), 3, u128::MAX, calls)).ok();
    let p = s.run(get_priv(s.ep())).ok();
    assert_eq!((p.fact::<i32>("id"), p.fact::<i32>("level")), (10 + TASKS, 3));
    assert_eq!((p.fact::<Endpoint>("warn"), p.fact::<u64>("calls")), (ep(-33), calls));
}

/// 55: no such level, no such warn process.
pub fn wrong_values(w: &mut World) {
    let (s, _) = pair(w);
    s.run(set_priv(s.ep(), Endpoint::NONE, 33, u128::MAX, CallSet::ALL.0)).err(Code::BADVALUE);
    s.run(set_priv(s.ep(), Endpoint::from_raw(-55), 3, u128::MAX, CallSet::ALL.0)).err(Code::BADPROC);
    s.run(get_priv(ep(20))).err(Code::DSTDIED);
    s.run(get_priv(ep(16_000))).err(Code::BADPROC);
    let p = s.run(get_priv(s.ep())).ok();
    assert_eq!(p.fact::<i32>("level"), 0);
}

/// 56: a target that is not in the map.
pub fn target_denied(w: &mut World) {
    let (s, c) = pair(w);
    let map = !SERVER;
    w.watcher(c.node).run(set_priv(c.ep(), Endpoint::NONE, 0, map, CallSet::ALL.0)).ok();
    c.run(call(s.ep(), msg(1, b""))).err_of(Code::TRAPDENIED, Fault::Caller, Effect::No);
    c.run(send(s.ep(), msg(1, b""))).err(Code::TRAPDENIED);
    s.run(poll()).err(Code::AGAIN);
    w.watcher(c.node).run(set_priv(c.ep(), Endpoint::NONE, 0, u128::MAX, CallSet::ALL.0)).ok();
    let sent = c.start(send(s.ep(), msg(2, b"")));
    s.run(any()).from(c.ep(), 2);
    sent.wait().ok();
}

/// 56, while they talk: rights that are withdrawn hold from then on.
pub fn target_denied_later(w: &mut World) {
    let (s, c) = pair(w);
    let sent = c.start(send(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    sent.wait().ok();
    let map = !SERVER;
    w.watcher(c.node).run(set_priv(c.ep(), Endpoint::NONE, 0, map, CallSet::ALL.0)).ok();
    c.run(send(s.ep(), msg(1, b""))).err(Code::TRAPDENIED);
    s.run(poll()).err(Code::AGAIN);
}

/// 57: a user process does not receive, send or notify.
pub fn user_may_only_call(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let u = w.user("user", Site::B);
    u.run(poll()).err_of(Code::BADCALL, Fault::Caller, Effect::No);
    u.run(send(s.ep(), msg(1, b""))).err(Code::BADCALL);
    u.run(crate::say::notify(s.ep())).err_in(&[Code::BADCALL, Code::TRAPDENIED]);
    s.run(poll()).err(Code::AGAIN);
}

/// 58: it calls.
pub fn user_calls(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let u = w.user("user", Site::B);
    let called = u.start(call(s.ep(), msg(1, b"please")));
    assert_eq!(s.run(any()).from(u.ep(), 1).bytes, b"please");
    s.run(reply(u.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
}

/// 59: one call withdrawn.
pub fn call_denied(w: &mut World) {
    let (s, c) = pair(w);
    let calls = CallSet::ALL.without(Call::Send).0;
    w.watcher(c.node).run(set_priv(c.ep(), Endpoint::NONE, 0, u128::MAX, calls)).ok();
    c.run(send(s.ep(), msg(1, b""))).err_of(Code::BADCALL, Fault::Caller, Effect::No);
    let called = c.start(call(s.ep(), msg(2, b"")));
    s.run(any()).from(c.ep(), 2);
    s.run(reply(c.ep(), msg(3, b""))).ok();
    called.wait().from(s.ep(), 3);
}

/// A user process that was given more rights serves.
pub fn user_given_more(w: &mut World) {
    let u = w.user("user", Site::A);
    let s = w.bound("caller", Site::B, 10);
    w.watcher(u.node).run(set_priv(u.ep(), Endpoint::NONE, 0, u128::MAX, CallSet::ALL.0)).ok();
    let called = s.start(call(u.ep(), msg(1, b"")));
    u.run(any()).from(s.ep(), 1);
    u.run(send(s.ep(), msg(2, b""))).ok();
    called.wait().from(u.ep(), 2);
}
