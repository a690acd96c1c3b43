//! wait4bind, wait4unbind, wakeup (facts §7.3).

use crate::act::Act;
use crate::say::{any, bind_as, ep, leave, ms, poll, rcvrqst, receive, wait4bind, wait4unbind};
use crate::world::{DC, Site, World, until_ok};
use dvs_abi::{Code, Effect, Endpoint, Fault, Timeout};
use dvs_ipc::control::BindKind;
use std::time::Duration;

/// 44: nobody binds me.
pub fn nobody_binds_me(w: &mut World) {
    let p = w.actor("unbound", Site::A);
    let (seen, took) = p.start(wait4bind(Endpoint::SELF, ms(100))).wait_timed();
    seen.err_of(Code::TIMEDOUT, Fault::Nobody, Effect::No);
    assert!(took >= Duration::from_millis(100), "{took:?}");
    p.run(wait4bind(Endpoint::SELF, Timeout::Now)).err(Code::TIMEDOUT);
}

/// 45: I am bound already.
pub fn bound_already(w: &mut World) {
    let s = w.bound("bound", Site::A, 10);
    assert_eq!(s.run(wait4bind(Endpoint::SELF, ms(15_000))).ok().fact::<Endpoint>("endpoint"), ep(10));
}

/// 46: wait for another until it binds.
pub fn wait_for_another(w: &mut World) {
    let s = w.bound("parent", Site::A, 10);
    let c = w.actor("child", Site::B);
    s.run(wait4bind(ep(12), ms(60))).err(Code::TIMEDOUT);
    let waiting = s.start(wait4bind(ep(12), Timeout::Forever));
    waiting.still_blocked();
    c.bind(ep(12));
    assert_eq!(waiting.wait().ok().fact::<Endpoint>("endpoint"), ep(12));
    assert_eq!(s.run(wait4bind(ep(12), Timeout::Now)).ok().fact::<Endpoint>("endpoint"), ep(12));
}

/// 47: wait for another until it is gone.
pub fn wait_for_the_end(w: &mut World) {
    let s = w.bound("parent", Site::A, 10);
    let c = w.bound("child", Site::B, 12);
    s.run(wait4unbind(c.ep(), ms(60))).err(Code::TIMEDOUT);
    let waiting = s.start(wait4unbind(c.ep(), Timeout::Forever));
    waiting.still_blocked();
    c.run(leave()).ok();
    waiting.wait().ok();
    s.run(wait4unbind(c.ep(), Timeout::Now)).ok();
}

/// 48: both wait to be bound, the parent binds them, then they work.
pub fn bound_from_outside(w: &mut World) {
    let parent = w.bound("parent", Site::A, 10);
    let (s, c) = (w.actor("server", Site::A), w.actor("client", Site::A));
    let pending: Vec<_> =
        [&s, &c].map(|p| p.start(wait4bind(Endpoint::SELF, ms(15_000)))).into_iter().collect();
    until_ok(&parent, &bind_as(BindKind::Local, ep(12), s.pid(), parent.node));
    until_ok(&parent, &bind_as(BindKind::Local, ep(40), c.pid(), parent.node));
    for (p, slot) in pending.into_iter().zip([12, 40]) {
        assert_eq!(p.wait().ok().fact::<Endpoint>("endpoint"), ep(slot));
    }
    c.run(wait4bind(ep(12), ms(15_000))).ok();
    let serving = s.start(Act::Serve { count: 100, send: false });
    c.run(Act::Call { dst: ep(12), count: 100, t: Timeout::Forever }).ok();
    serving.wait().ok();
}

/// 49: waiting for myself under my own name.
pub fn wait_for_myself(w: &mut World) {
    let s = w.bound("self", Site::A, 10);
    s.run(wait4bind(ep(10), ms(1_000))).err(Code::ENDPOINT);
    s.run(wait4bind(ep(16_000), ms(1_000))).err_in(&[Code::RANGE, Code::ENDPOINT]);
}

/// 50: wakeup ends a receive(ANY).
pub fn wakeup_a_receiver(w: &mut World) {
    let s = w.bound("sleeper", Site::A, 10);
    let waker = w.bound("waker", Site::A, 11);
    for act in [any(), rcvrqst()] {
        let got = s.start(act);
        s.receiving();
        waker.run(Act::Wakeup { dc: DC, endpoint: s.ep() }).ok();
        got.wait().err_of(Code::WOKENUP, Fault::Nobody, Effect::No);
    }
}

/// 51: wakeup of a running process is kept for its next receive(ANY), once.
pub fn wakeup_is_kept(w: &mut World) {
    let s = w.bound("busy", Site::A, 10);
    let waker = w.bound("waker", Site::A, 11);
    waker.run(Act::Wakeup { dc: DC, endpoint: s.ep() }).err(Code::PROCRUN);
    s.run(any()).err(Code::WOKENUP);
    s.run(poll()).err(Code::AGAIN);
}

/// 52: wakeup of nobody, of myself and of somebody elsewhere.
pub fn wakeup_wrongly(w: &mut World) {
    let s = w.bound("waker", Site::A, 10);
    s.run(Act::Wakeup { dc: DC, endpoint: ep(20) }).err(Code::DSTDIED);
    s.run(Act::Wakeup { dc: DC, endpoint: s.ep() }).err(Code::BADPROC);
    s.run(Act::Wakeup { dc: DC, endpoint: ep(16_000) }).err(Code::RANGE);
    s.run(Act::Wakeup { dc: 31, endpoint: ep(20) }).err_in(&[Code::BADDCID, Code::DCNOTRUN, Code::DSTDIED]);
}

/// 52: wakeup of a remote process.
pub fn wakeup_remote(w: &mut World) {
    let s = w.bound("waker", Site::A, 10);
    let far = w.bound("far", Site::B, 11);
    s.run(Act::Wakeup { dc: DC, endpoint: far.ep() }).err(Code::RMTPROC);
}

/// 51, the other half: a receive from one source does not take the wakeup.
pub fn wakeup_spares_specific(w: &mut World) {
    let s = w.bound("specific", Site::A, 10);
    let waker = w.bound("waker", Site::A, 11);
    let got = s.start(receive(waker.ep()));
    s.receiving();
    waker.run(Act::Wakeup { dc: DC, endpoint: s.ep() }).err_in(&[Code::PROCRUN]);
    got.still_blocked();
    waker.run(crate::say::send(s.ep(), crate::say::msg(1, b""))).ok();
    got.wait().from(waker.ep(), 1);
    s.run(any()).err(Code::WOKENUP);
}
