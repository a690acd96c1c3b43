//! Circles of waits are found: one call of the circle fails and names it; the others go on.

use crate::say::{any, call, call_t, ms, msg, reply, send};
use crate::world::{Pending, Player, Site, World};
use dvs_abi::{Code, Endpoint};

/// Every player calls the next. The youngest wait fails; answers the other calls in turn. Over nodes it may
/// be too young to be told from the others: then the greatest endpoint fails, and that is the last one, too.
fn circle(w: &mut World, sites: &[Site]) {
    let players: Vec<Player> =
        sites.iter().enumerate().map(|(i, s)| w.bound("member", *s, 10 + i as i32)).collect();
    let mut calls: Vec<Pending> = Vec::new();
    for (i, p) in players.iter().enumerate() {
        let next = &players[(i + 1) % players.len()];
        calls.push(p.start(call(next.ep(), msg(i as i32, b""))));
        if i + 1 < players.len() {
            p.sending();
        }
    }
    let youngest = players.last().expect("a circle has members");
    let failed = calls.pop().expect("a call each").wait();
    let e = failed.undone(Code::LOCKED, w.nodes() == 1);
    let cycle: Vec<Endpoint> = e.cycle.as_ref().expect("the circle is in the error").to_vec();
    assert_eq!(cycle.len(), players.len(), "{failed}");
    for p in &players {
        assert!(cycle.contains(&p.ep()), "{} is not in {failed}", p.ep());
    }
    // The one that failed is free to serve; so the rest unwinds from the end.
    let mut server = youngest.clone();
    for (i, called) in calls.into_iter().enumerate().rev() {
        called.still_blocked();
        server.run(any()).from(players[i].ep(), i as i32);
        server.run(reply(players[i].ep(), msg(50, b""))).ok();
        called.wait().from(server.ep(), 50);
        server = players[i].clone();
    }
}

/// Two that call each other.
pub fn two_callers(w: &mut World) {
    circle(w, &[Site::A, Site::B]);
}

/// Three in a circle.
pub fn three_callers(w: &mut World) {
    circle(w, &[Site::A, Site::B, Site::C]);
}

/// Two that send to each other.
pub fn two_senders(w: &mut World) {
    let a = w.bound("a", Site::A, 10);
    let b = w.bound("b", Site::B, 11);
    let first = a.start(send(b.ep(), msg(1, b"")));
    a.sending();
    b.run(send(a.ep(), msg(2, b""))).undone(Code::LOCKED, w.nodes() == 1);
    b.run(any()).from(a.ep(), 1);
    first.wait().ok();
}

/// A server that calls the client it works for.
pub fn server_calls_its_client(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::B, 11);
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    c.awaiting(s.ep());
    s.run(call_t(c.ep(), msg(2, b""), ms(15_000))).err(Code::LOCKED);
    s.run(reply(c.ep(), msg(3, b""))).ok();
    called.wait().from(s.ep(), 3);
}

/// A chain without a circle is left alone.
pub fn chain_is_no_circle(w: &mut World) {
    let a = w.bound("a", Site::A, 10);
    let b = w.bound("b", Site::B, 11);
    let c = w.bound("c", Site::C, 12);
    let one = a.start(call(b.ep(), msg(1, b"")));
    b.run(any()).from(a.ep(), 1);
    let two = b.start(call(c.ep(), msg(2, b"")));
    b.sending();
    // Longer than the search for circles waits before it looks: nothing may happen, so time must pass.
    let nobody = w.watcher(c.node).ep();
    c.run(crate::say::receive_t(nobody, ms(600))).err(Code::TIMEDOUT);
    one.still_blocked();
    two.still_blocked();
    c.run(any()).from(b.ep(), 2);
    c.run(reply(b.ep(), msg(3, b""))).ok();
    two.wait().from(c.ep(), 3);
    b.run(reply(a.ep(), msg(4, b""))).ok();
    one.wait().from(b.ep(), 4);
}
