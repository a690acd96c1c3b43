//! Moves, backups and replicas (facts §7.8).

use crate::act::Act;
use crate::say::{
    any, bind_as, call, ep, leave, move_back, move_start, move_to, ms, msg, poll, reply, send, wait4bind,
    wait4unbind,
};
use crate::world::{DC, Player, Site, World, own, rts, until_ok};
use dvs_abi::{Code, Effect, Endpoint, Timeout};
use dvs_ipc::control::BindKind;

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("mover", Site::A, 10), w.bound("client", Site::B, 11))
}

/// Returns once every node has the slot's owner at `node` and no move going on.
#[track_caller]
fn lives(w: &World, slot: i32, node: u16) {
    for n in 0..w.nodes() {
        w.info_until(n, slot, |seen| {
            seen.error.is_none()
                && seen.fact::<i32>("node") == node as i32
                && seen.fact::<u32>("rts") & rts::MIGRATE == 0
        });
    }
}

/// 123, 124: a send while the receiver is being moved waits; after roll-back it is delivered.
pub fn rolled_back(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    let admin = w.watcher(s.node).clone();
    admin.run(move_start(s.ep())).ok();
    let sent = c.start(send(s.ep(), msg(1, b"held")));
    c.held();
    sent.still_blocked();
    got.still_blocked();
    admin.run(move_back(s.ep())).ok();
    assert_eq!(got.wait().from(c.ep(), 1).bytes, b"held");
    sent.wait().ok();
}

/// Returns once the move that was started somewhere is known at `node`: only then it can be committed there.
#[track_caller]
fn moving(w: &World, slot: i32, node: u16) {
    w.info_until(node, slot, |seen| seen.error.is_none() && seen.fact::<u32>("rts") & rts::MIGRATE != 0);
}

/// Moves `ep(10)` from `s` to a new actor on `node`, which becomes it.
fn moved(w: &mut World, s: &Player, node: u16) -> Player {
    let heir = w.actor_on("heir", node);
    moving(w, s.ep().slot(), node);
    heir.run(move_to(s.ep(), node, 0)).ok();
    heir.ep.set(s.ep());
    lives(w, s.ep().slot(), node);
    heir
}

/// 125: a send during the move is delivered at the new place.
pub fn committed(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    w.watcher(s.node).run(move_start(s.ep())).ok();
    let sent = c.start(send(s.ep(), msg(1, b"re-routed")));
    c.held();
    let node = w.node(Site::B);
    let heir = moved(w, &s, node);
    assert_eq!(heir.run(any()).from(c.ep(), 1).bytes, b"re-routed");
    sent.wait().ok();
    got.wait().err_in(&[Code::RMTPROC, Code::NOTBIND]);
    s.run(poll()).err_in(&[Code::RMTPROC, Code::NOTBIND]);
}

/// 126: commit and roll-back without a start.
pub fn without_start(w: &mut World) {
    let (s, _) = pair(w);
    let admin = w.watcher(s.node);
    admin.run(move_back(s.ep())).err(Code::MIGRATE);
    admin.run(move_to(s.ep(), w.node(Site::B), 0)).err(Code::PROCSTS);
    admin.run(move_start(ep(20))).err_in(&[Code::NOTBIND, Code::DSTDIED]);
    admin.run(move_start(ep(16_000))).err(Code::RANGE);
}

/// 127: one that owes an answer is not moved.
pub fn owes_an_answer(w: &mut World) {
    let (s, c) = pair(w);
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    c.awaiting(s.ep());
    let admin = w.watcher(s.node);
    admin.run(move_start(s.ep())).err(Code::PROCSTS);
    s.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
    admin.run(move_start(s.ep())).ok();
    admin.run(move_back(s.ep())).ok();
}

/// 128: to a node that is not in the container, or not there at all.
pub fn to_a_wrong_node(w: &mut World) {
    let (s, _) = pair(w);
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let admin = w.watcher(near).clone();
    admin.run(move_start(s.ep())).ok();
    admin.run(move_to(s.ep(), 30, 0)).err_in(&[Code::NOPROXY, Code::DCNODE]);
    admin.run(move_to(s.ep(), 32, 0)).err_in(&[Code::NOPROXY, Code::BADNODEID]);
    admin.run(Act::DelNode { dc: DC, node: far }).ok();
    admin.run(move_to(s.ep(), far, 0)).err(Code::DCNODE);
    admin.run(move_back(s.ep())).ok();
}

/// 129: senders that were queued before the start are delivered at the new place, once.
pub fn queued_before(w: &mut World) {
    let (s, c) = pair(w);
    let d = w.bound("neighbour", Site::A, 12);
    let far = c.start(send(s.ep(), msg(1, b"from afar")));
    c.sending();
    let near = d.start(send(s.ep(), msg(2, b"from here")));
    d.sending();
    w.watcher(s.node).run(move_start(s.ep())).ok();
    let node = w.node(Site::B);
    let heir = moved(w, &s, node);
    let mut sources = [heir.run(any()).got().source, heir.run(any()).got().source];
    sources.sort();
    assert_eq!(sources, [c.ep(), d.ep()]);
    far.wait().ok();
    near.wait().ok();
    heir.run(poll()).err(Code::AGAIN);
}

/// 130: a standby waits to be bound; after the move it is the server, and the clients go on.
pub fn standby_takes_over(w: &mut World) {
    let (s, c) = pair(w);
    let node = w.node(Site::B);
    let standby = w.actor("standby", Site::B);
    standby.run(bind_as(BindKind::Backup, s.ep(), 0, s.node)).ok();
    let promoted = standby.start(wait4bind(Endpoint::SELF, Timeout::Forever));
    let serving = s.start(Act::Serve { count: 20, send: false });
    c.run(Act::Call { dst: s.ep(), count: 20, t: Timeout::Forever }).ok();
    serving.wait().ok();
    promoted.still_blocked();
    let admin = w.watcher(s.node).clone();
    admin.run(move_start(s.ep())).ok();
    let calling = c.start(Act::Call { dst: s.ep(), count: 20, t: Timeout::Forever });
    c.held();
    moving(w, s.ep().slot(), node);
    w.watcher(node).run(move_to(s.ep(), node, standby.pid())).ok();
    assert_eq!(promoted.wait().ok().fact::<Endpoint>("endpoint"), s.ep());
    let serving = standby.start(Act::Serve { count: 20, send: false });
    calling.wait().ok();
    serving.wait().ok();
}

/// 131, 132: requests go on while the server moves between nodes, to where the client is and away from it.
pub fn moved_under_requests(w: &mut World) {
    let (s, c) = pair(w);
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let mut server = s.clone();
    let calling = c.start(Act::Call { dst: s.ep(), count: 200, t: Timeout::Forever });
    for (i, node) in [far, near, far, near].into_iter().enumerate() {
        let serving = server.start(Act::Serve { count: 40, send: false });
        serving.wait().ok();
        w.watcher(server.node).run(move_start(s.ep())).ok();
        let heir = w.actor_on(&format!("heir{i}"), node);
        moving(w, 10, node);
        heir.run(move_to(s.ep(), node, 0)).ok();
        heir.ep.set(s.ep());
        server = heir;
    }
    let serving = server.start(Act::Serve { count: 40, send: false });
    calling.wait().ok();
    serving.wait().ok();
}

/// 133: a standby cannot talk before it is promoted.
pub fn standby_is_silent(w: &mut World) {
    let (s, c) = pair(w);
    let standby = w.actor("standby", Site::B);
    standby.run(bind_as(BindKind::Backup, s.ep(), 0, s.node)).ok();
    standby.run(crate::say::send_t(c.ep(), msg(1, b"not me"), ms(100))).err_in(&[
        Code::RMTPROC,
        Code::TIMEDOUT,
        Code::NOTBIND,
    ]);
    c.run(poll()).err(Code::AGAIN);
}

/// 134: the end of a standby leaves the primary alone.
pub fn standby_leaves(w: &mut World) {
    let (s, c) = pair(w);
    let standby = w.actor("standby", Site::B);
    standby.run(bind_as(BindKind::Backup, s.ep(), 0, s.node)).ok();
    standby.start(Act::Exit { code: 0 }).gone();
    let node = w.node(Site::B);
    w.info_until(node, 10, |seen| {
        seen.error.is_none() && seen.fact::<u32>("misc") & 1 << 4 == 0 && seen.fact::<i32>("pid") == -1
    });
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    s.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
}

/// Two replicas of slot 10, at A and B, and a client of each.
fn replicas(w: &mut World) -> [(Player, Player); 2] {
    [(Site::A, 11), (Site::B, 12)].map(|(site, slot)| {
        let r = w.actor("replica", site);
        until_ok(&r, &bind_as(BindKind::Replica, ep(10), 0, r.node));
        r.ep.set(ep(10));
        (r, w.bound("client", site, slot))
    })
}

/// 135: each node's client is served by its own replica.
pub fn own_replica_serves(w: &mut World) {
    for (i, (r, c)) in replicas(w).iter().enumerate() {
        let called = c.start(call(ep(10), msg(i as i32, b"")));
        r.run(any()).from(c.ep(), i as i32);
        r.run(reply(c.ep(), msg(50 + i as i32, b""))).ok();
        called.wait().from(ep(10), 50 + i as i32);
    }
}

/// 136: a replica ends; its client goes on with the other one.
pub fn replica_ends(w: &mut World) {
    let [(first, client), (second, _)] = replicas(w);
    first.run(leave()).ok();
    client.run(wait4bind(ep(10), ms(15_000))).ok();
    let node = second.node;
    w.info_until(client.node, 10, |seen| seen.error.is_none() && seen.fact::<i32>("node") == node as i32);
    let called = client.start(call(ep(10), msg(1, b"")));
    second.run(any()).from(client.ep(), 1);
    second.run(reply(client.ep(), msg(2, b""))).ok();
    called.wait().from(ep(10), 2);
}

/// 137: a server that was restarted finds itself unbound, binds again and goes on.
pub fn restarted_in_place(w: &mut World) {
    let (s, c) = pair(w);
    s.kill();
    w.watcher(c.node).run(wait4unbind(s.ep(), Timeout::Forever)).ok();
    let again = w.actor("restarted", Site::A);
    again.run(any()).err(Code::NOTBIND);
    until_ok(&again, &own(DC, ep(10)));
    c.run(wait4bind(ep(10), ms(15_000))).ok();
    let called = c.start(call(ep(10), msg(1, b"")));
    again.run(any()).from(c.ep(), 1);
    again.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(ep(10), 2);
}

/// Pending notifications move along.
pub fn notifications_move(w: &mut World) {
    let (s, c) = pair(w);
    c.run(Act::Notify { src: Endpoint::SELF, dst: s.ep(), value: Some(4) }).ok();
    // A call after it has come through, so that the notification is there for sure.
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(crate::say::rcvrqst()).from(c.ep(), 1);
    s.run(reply(c.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
    w.watcher(s.node).run(move_start(s.ep())).ok();
    let node = w.node(Site::B);
    let heir = moved(w, &s, node);
    assert_eq!(heir.run(any()).from(c.ep(), 0x1000 | 11).value, 1 << 4);
}

/// The deadline of a held send runs on.
pub fn held_send_expires(w: &mut World) {
    let (s, c) = pair(w);
    let admin = w.watcher(s.node).clone();
    admin.run(move_start(s.ep())).ok();
    let seen = c.run(crate::say::send_t(s.ep(), msg(1, b""), ms(100)));
    let sure = seen.undone(Code::TIMEDOUT, w.nodes() == 1).effect == Effect::No;
    admin.run(move_back(s.ep())).ok();
    let polled = s.run(poll());
    if sure || polled.error.is_some() {
        polled.err(Code::AGAIN);
    }
    let sent = c.start(send(s.ep(), msg(2, b"")));
    s.run(any()).from(c.ep(), 2);
    sent.wait().ok();
}
