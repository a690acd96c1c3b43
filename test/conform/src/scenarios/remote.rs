//! Between nodes (facts §7.7): what the other scripts do not say already by running with sites far apart.

use crate::act::Act;
use crate::actor::pattern_hash;
use crate::say::{
    any, call, call_t, ep, fill, hash, lend, ms, msg, notify, poll, rcvrqst, readable, receive, reply, send,
    vcopy, wait4bind, wait4unbind, writable,
};
use crate::word::At;
use crate::world::{DC, Player, Site, World, own, until_ok};
use dvs_abi::{Code, Effect, Endpoint, Fault, Timeout};

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("client", Site::B, 11))
}

/// What a caller may be told when a node or its connection is lost.
const LOST: [Code; 3] = [Code::NOTCONN, Code::DSTDIED, Code::SRCDIED];

/// 100, 103: a remote send completes when the receiver consumed it, whoever came first.
pub fn send_completes_on_consumption(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    c.run(send(s.ep(), msg(1, b"waiting"))).ok();
    assert_eq!(got.wait().from(c.ep(), 1).bytes, b"waiting");
    let sent = c.start(send(s.ep(), msg(2, b"not waiting")));
    c.sending();
    s.run(crate::say::receive_t(w.watcher(s.node).ep(), ms(50))).err(Code::TIMEDOUT);
    sent.still_blocked();
    assert_eq!(s.run(any()).from(c.ep(), 2).bytes, b"not waiting");
    sent.wait().ok();
    for _ in 0..100 {
        let sent = c.start(send(s.ep(), msg(3, b"there")));
        s.run(any()).from(c.ep(), 3);
        sent.wait().ok();
        let sent = s.start(send(c.ep(), msg(4, b"back")));
        c.run(any()).from(s.ep(), 4);
        sent.wait().ok();
    }
}

/// 101, 102: remote calls answered by send and by reply.
pub fn calls(w: &mut World) {
    let (s, c) = pair(w);
    for (serve, send) in [(200, true), (200, false)] {
        let serving = s.start(Act::Serve { count: serve, send });
        c.run(Act::Call { dst: s.ep(), count: serve, t: Timeout::Forever }).ok();
        serving.wait().ok();
    }
}

/// 104: a remote notification, answered by a send.
pub fn notify_and_send_back(w: &mut World) {
    let (s, c) = pair(w);
    for _ in 0..50 {
        c.run(notify(s.ep())).ok();
        s.run(any()).from(c.ep(), 0x1000 | 11);
        let sent = s.start(send(c.ep(), msg(5, b"")));
        c.run(any()).from(s.ep(), 5);
        sent.wait().ok();
    }
}

/// 105–107: large copies both ways in one call, and between two far parties.
pub fn large_copies(w: &mut World) {
    const LEN: u64 = 1 << 20;
    let (s, c) = pair(w);
    let d = w.bound("third", Site::C, 12);
    c.run(fill(0, LEN, 1)).ok();
    s.run(fill(0, LEN, 2)).ok();
    let one = c.start(lend(s.ep(), msg(7, b""), &[readable(0, LEN), writable(LEN, LEN)]));
    s.run(any()).from(c.ep(), 7);
    let two = d.start(lend(s.ep(), msg(7, b""), &[writable(0, LEN)]));
    s.run(any()).from(d.ep(), 7);
    s.run(Act::CopyIn { src: c.ep(), from: At::Grant(0, 0), to: LEN, len: LEN }).ok();
    s.run(Act::CopyOut { dst: c.ep(), to: At::Grant(1, 0), from: 0, len: LEN }).ok();
    s.run(vcopy(c.ep(), At::Grant(0, 0), d.ep(), At::Grant(0, 0), LEN)).ok();
    for (p, called) in [(&c, one), (&d, two)] {
        s.run(reply(p.ep(), msg(8, b""))).ok();
        called.wait().from(s.ep(), 8);
    }
    for (p, at, seed) in [(&s, LEN, 1), (&c, LEN, 2), (&d, 0, 1)] {
        assert_eq!(p.run(hash(at, LEN)).ok().fact::<u64>("hash"), pattern_hash(seed, LEN));
    }
}

/// 108: clients against servers over one connection.
pub fn many_over_one_connection(w: &mut World) {
    let mut at_work = Vec::new();
    for i in 0..3 {
        let s = w.bound("server", Site::A, 1 + 2 * i);
        let c = w.bound("client", Site::B, 2 + 2 * i);
        at_work.push(s.start(Act::Serve { count: 400, send: false }));
        at_work.push(c.start(Act::Call { dst: s.ep(), count: 400, t: Timeout::Forever }));
    }
    at_work.into_iter().for_each(|p| {
        p.wait().ok();
    });
}

/// 109: a token goes round over all sites.
pub fn ring(w: &mut World) {
    let players: Vec<Player> =
        (0..5).map(|i| w.bound("member", [Site::A, Site::B, Site::C][i as usize % 3], 10 + i)).collect();
    let mut at_work = Vec::new();
    for i in (0..5).rev() {
        let next = players[(i + 1) % 5].ep();
        at_work.push(players[i].start(Act::Ring { next, count: 50, start: i == 0 }));
    }
    let first = at_work.pop().expect("the first member started last").wait().ok();
    assert_eq!(first.fact::<u64>("hops"), 250);
    at_work.into_iter().for_each(|p| {
        p.wait().ok();
    });
}

/// 110: a remote destination that unbound.
pub fn destination_unbound(w: &mut World) {
    let (s, c) = pair(w);
    let sent = c.start(send(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    sent.wait().ok();
    s.run(crate::say::leave()).ok();
    c.run(wait4unbind(s.ep(), Timeout::Forever)).ok();
    c.run(send(s.ep(), msg(1, b""))).err_of(Code::DSTDIED, Fault::Peer, Effect::No);
}

/// 111: a remote server dies with one call queued and one taken.
pub fn server_killed(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("second", Site::C, 12);
    let taken = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    let queued = d.start(call(s.ep(), msg(2, b"")));
    d.sending();
    let awaiting = w.bound("third", Site::B, 13);
    let got = awaiting.start(receive(s.ep()));
    awaiting.receiving();
    s.kill();
    taken.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::Unknown);
    queued.wait().err_of(Code::DSTDIED, Fault::Peer, Effect::No);
    got.wait().err(Code::SRCDIED);
}

/// 112: a node that is down.
pub fn node_unreachable(w: &mut World) {
    let (s, c) = pair(w);
    let far = w.node(Site::A);
    w.home().kill_node(far);
    w.watcher(c.node).run(wait4unbind(s.ep(), Timeout::Forever)).ok();
    c.run(send(s.ep(), msg(1, b""))).err_in(&LOST);
    c.run(call(s.ep(), msg(1, b""))).err_in(&LOST);
}

/// 113: the connection breaks while a call waits: it is resumed, nothing is lost or done twice.
pub fn connection_resumed(w: &mut World) {
    let (s, c) = pair(w);
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let called = c.start(call(s.ep(), msg(1, b"before the cut")));
    s.run(any()).from(c.ep(), 1);
    w.home().cut(near, far);
    let replied = s.start(reply(c.ep(), msg(2, b"into the cut")));
    w.home().heal(near, far);
    replied.wait().ok();
    assert_eq!(called.wait().from(s.ep(), 2).bytes, b"into the cut");
    let serving = s.start(Act::Serve { count: 500, send: false });
    let calling = c.start(Act::Call { dst: s.ep(), count: 500, t: Timeout::Forever });
    for _ in 0..3 {
        w.home().cut(near, far);
        w.home().heal(near, far);
    }
    calling.wait().ok();
    serving.wait().ok();
    s.run(poll()).err(Code::AGAIN);
}

/// 114: a node dies while others wait for it in every way.
pub fn node_dies(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("second", Site::B, 12);
    let e = w.bound("third", Site::B, 13);
    let far = w.node(Site::A);
    let taken = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    let sent = d.start(send(s.ep(), msg(2, b"")));
    d.sending();
    let got = e.start(receive(s.ep()));
    e.receiving();
    w.home().kill_node(far);
    assert_eq!(taken.wait().err_in(&LOST).effect, Effect::Unknown);
    sent.wait().err_in(&LOST);
    got.wait().err_in(&LOST);
    w.watcher(c.node).run(wait4unbind(s.ep(), Timeout::Forever)).ok();
}

/// 115: a user process nobody announced calls a bound server.
pub fn unannounced_client(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let u = w.actor("stranger", Site::B);
    u.bind(Endpoint::NONE);
    let called = u.start(call(s.ep(), msg(1, b"hello")));
    s.run(any()).from(u.ep(), 1);
    s.run(reply(u.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
}

/// 116: the same user endpoint, now on another node.
pub fn client_on_another_node(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let first = w.bound("client", Site::B, 60);
    let called = first.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(first.ep(), 1);
    s.run(reply(first.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
    first.run(crate::say::leave()).ok();
    w.gone(ep(60));
    let again = w.actor("client again", Site::C);
    until_ok(&again, &own(DC, ep(60)));
    let called = again.start(call(s.ep(), msg(3, b"")));
    s.run(any()).from(ep(60), 3);
    s.run(reply(ep(60), msg(4, b""))).ok();
    called.wait().from(s.ep(), 4);
}

/// 120: one server answers three remote clients back to back.
pub fn three_answers_at_once(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let clients: Vec<Player> = (0..3).map(|i| w.bound("client", Site::B, 11 + i)).collect();
    let calls: Vec<_> = clients.iter().map(|c| c.start(call(s.ep(), msg(1, b"")))).collect();
    let order: Vec<Endpoint> = (0..3).map(|_| s.run(rcvrqst()).got().source).collect();
    for client in order {
        s.run(reply(client, msg(client.slot(), b""))).ok();
    }
    for (c, called) in clients.iter().zip(calls) {
        called.wait().from(s.ep(), c.ep().slot());
    }
}

/// 121: batches and data mixed: order and contents hold.
pub fn messages_among_data(w: &mut World) {
    const LEN: u64 = 1 << 20;
    let (s, c) = pair(w);
    let d = w.bound("bulk server", Site::A, 12);
    let e = w.bound("bulk client", Site::B, 13);
    e.run(fill(0, LEN, 9)).ok();
    let draining = s.start(Act::Drain { count: 400, t: Timeout::Forever });
    let posting = c.start(Act::Post { dst: s.ep(), count: 400, t: Timeout::Forever });
    let called = e.start(lend(d.ep(), msg(7, b""), &[readable(0, LEN)]));
    d.run(any()).from(e.ep(), 7);
    for round in 0..8 {
        d.run(Act::CopyIn { src: e.ep(), from: At::Grant(0, 0), to: round, len: LEN }).ok();
        assert_eq!(d.run(hash(round, LEN)).ok().fact::<u64>("hash"), pattern_hash(9, LEN));
    }
    d.run(reply(e.ep(), msg(8, b""))).ok();
    called.wait().from(d.ep(), 8);
    posting.wait().ok();
    draining.wait().ok();
}

/// 122: a connection without traffic stays up, and a call with a long time-out works after it.
pub fn idle_connection(w: &mut World) {
    let (s, c) = pair(w);
    s.run(crate::say::receive_t(Endpoint::ANY, ms(1_500))).err(Code::TIMEDOUT);
    let called = c.start(call_t(s.ep(), msg(1, b""), ms(30_000)));
    s.run(any()).from(c.ep(), 1);
    s.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
    c.run(wait4bind(s.ep(), Timeout::Now)).ok();
}
