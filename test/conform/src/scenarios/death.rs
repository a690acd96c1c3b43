//! Death is told at once, in every state a peer can be blocked in; nothing is left behind.

use crate::act::Act;
use crate::say::{any, call, ep, ms, msg, poll, readable, receive, reply, send, wait4bind, wait4unbind};
use crate::world::{DC, Player, Site, World, own, until_ok};
use dvs_abi::{Code, Effect, Endpoint, Fault, Timeout};

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("victim", Site::A, 10), w.bound("survivor", Site::B, 11))
}

/// Killed while a sender waits in its queue.
pub fn killed_with_a_sender(w: &mut World) {
    let (v, p) = pair(w);
    let sent = p.start(send(v.ep(), msg(1, b"")));
    p.sending();
    v.kill();
    assert_eq!(sent.wait().err_of(Code::DSTDIED, Fault::Peer, Effect::No).peer, v.ep());
}

/// Killed with a request in its queue.
pub fn killed_with_a_request_queued(w: &mut World) {
    let (v, p) = pair(w);
    let called = p.start(call(v.ep(), msg(1, b"")));
    p.sending();
    v.kill();
    assert_eq!(called.wait().err_of(Code::DSTDIED, Fault::Peer, Effect::No).peer, v.ep());
}

/// Killed with a request taken and not answered.
pub fn killed_with_a_request_taken(w: &mut World) {
    let (v, p) = pair(w);
    let called = p.start(call(v.ep(), msg(1, b"")));
    v.run(any()).from(p.ep(), 1);
    p.awaiting(v.ep());
    v.kill();
    assert_eq!(called.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::Unknown).peer, v.ep());
}

/// Killed while somebody receives from it alone.
pub fn killed_as_a_source(w: &mut World) {
    let (v, p) = pair(w);
    let got = p.start(receive(v.ep()));
    p.receiving();
    v.kill();
    assert_eq!(got.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::No).peer, v.ep());
}

/// Killed while it waits itself in a queue: its message is gone, the receiver goes on.
pub fn killed_while_sending(w: &mut World) {
    let (v, p) = pair(w);
    let _never = v.start(send(p.ep(), msg(1, b"last words")));
    v.sending();
    v.kill();
    w.watcher(p.node).run(wait4unbind(v.ep(), Timeout::Forever)).ok();
    p.run(poll()).err(Code::AGAIN);
}

/// A client killed while the server works for it: the answer goes nowhere, the server goes on.
pub fn client_killed(w: &mut World) {
    let (v, s) = pair(w);
    let _never = v.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(v.ep(), 1);
    v.kill();
    w.watcher(s.node).run(wait4unbind(v.ep(), Timeout::Forever)).ok();
    s.run(reply(v.ep(), msg(2, b""))).err_in(&[Code::PROCSTS, Code::DSTDIED]);
    let again = w.bound("next", Site::A, 12);
    let called = again.start(call(s.ep(), msg(3, b"")));
    s.run(any()).from(again.ep(), 3);
    s.run(reply(again.ep(), msg(4, b""))).ok();
    called.wait().from(s.ep(), 4);
}

/// A receiver of anybody is not disturbed by a death.
pub fn receiver_of_any_goes_on(w: &mut World) {
    let (v, p) = pair(w);
    let d = w.bound("second", Site::C, 12);
    let got = p.start(any());
    p.receiving();
    v.kill();
    w.watcher(p.node).run(wait4unbind(v.ep(), Timeout::Forever)).ok();
    got.still_blocked();
    d.run(send(p.ep(), msg(1, b""))).ok();
    got.wait().from(d.ep(), 1);
}

/// Killed in the middle of being copied from: the copy ends with an error or had ended.
pub fn killed_with_grants(w: &mut World) {
    let (v, s) = pair(w);
    let _never = v.start(crate::say::lend(s.ep(), msg(1, b""), &[readable(0, 1 << 20)]));
    s.run(any()).from(v.ep(), 1);
    let grant = crate::word::At::Grant(0, 0);
    s.run(Act::CopyIn { src: v.ep(), from: grant, to: 0, len: 1 << 20 }).ok();
    v.kill();
    w.watcher(s.node).run(wait4unbind(v.ep(), Timeout::Forever)).ok();
    let address = crate::word::At::Address(0x1000);
    s.run(Act::CopyIn { src: v.ep(), from: address, to: 0, len: 100 }).err_in(&[
        Code::SRCDIED,
        Code::SRCH,
        Code::PROCSTS,
        Code::FAULT,
    ]);
}

/// The one that waited for its end is told; the slot can be bound again, and clients go on with the new one.
pub fn server_restarts(w: &mut World) {
    let (v, p) = pair(w);
    let waiting = p.start(wait4unbind(v.ep(), Timeout::Forever));
    v.kill();
    waiting.wait().ok();
    let s = w.actor("successor", Site::A);
    until_ok(&s, &own(DC, ep(10)));
    p.run(wait4bind(ep(10), ms(15_000))).ok();
    let called = p.start(call(ep(10), msg(1, b"")));
    s.run(any()).from(p.ep(), 1);
    s.run(reply(p.ep(), msg(2, b""))).ok();
    called.wait().from(ep(10), 2);
}

/// A relayed call whose second server dies is told so.
pub fn relayed_then_killed(w: &mut World) {
    let (v, c) = pair(w);
    let s = w.bound("first server", Site::C, 12);
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    let request = v.start(any());
    s.run(Act::Relay { client: c.ep(), dst: v.ep() }).ok();
    request.wait().from(c.ep(), 1);
    v.kill();
    called.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::Unknown);
}

/// Twenty kills under load: every client learns it, the next server serves.
pub fn killed_under_load(w: &mut World) {
    let clients: Vec<Player> = (0..3).map(|i| w.bound("client", Site::B, 11 + i)).collect();
    for _ in 0..20 {
        let s = w.actor("mortal", Site::A);
        until_ok(&s, &own(DC, ep(10)));
        w.known(ep(10));
        let _never = s.start(Act::Serve { count: u64::MAX, send: false });
        let calls: Vec<_> = clients
            .iter()
            .map(|c| c.start(Act::Call { dst: ep(10), count: u64::MAX, t: Timeout::Forever }))
            .collect();
        let served = w.watcher(clients[0].node).clone();
        served.run(Act::Sendrec { dst: ep(10), m: msg(7, &[0; 8]), lends: vec![], t: Timeout::Forever }).ok();
        s.kill();
        for c in calls {
            c.wait().err_in(&[Code::DSTDIED, Code::SRCDIED]);
        }
        w.gone(ep(10));
    }
}

/// In one process: the victim unbinds instead of dying, in each state at once.
pub fn everybody_is_told(w: &mut World) {
    let (v, p) = pair(w);
    let a = w.bound("sender", Site::B, 12);
    let b = w.bound("caller", Site::C, 13);
    let taken = p.start(call(v.ep(), msg(1, b"")));
    v.run(any()).from(p.ep(), 1);
    let sent = a.start(send(v.ep(), msg(2, b"")));
    a.sending();
    let got = b.start(receive(v.ep()));
    b.receiving();
    v.run(crate::say::leave()).ok();
    taken.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::Unknown);
    sent.wait().err_of(Code::DSTDIED, Fault::Peer, Effect::No);
    got.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::No);
    assert_ne!(v.ep(), Endpoint::NONE);
}
