//! bind, unbind, exit, threads (facts §7.2).

use crate::act::Act;
use crate::say::{
    any, bind_as, call, ep, leave, ms, msg, notify, poll, receive, receive_t, reply, send, set_priv, unbind,
    wait4unbind,
};
use crate::world::{DC, Player, Site, World, own, rts, until_ok};
use dvs_abi::{CallSet, Code, Effect, Endpoint, Fault, Timeout};
use dvs_ipc::control::BindKind;

/// misc_flags of facts §1.6.
mod misc {
    pub const BACKUP: u32 = 1 << 4;
    pub const LEADER: u32 = 1 << 5;
    pub const REPLICATED: u32 = 1 << 7;
    pub const USERMODE: u32 = 1 << 10;
}

fn pair(w: &mut World) -> (Player, Player) {
    (w.bound("server", Site::A, 10), w.bound("client", Site::B, 11))
}

/// 19: bind gives the endpoint asked for, getep knows it, exit frees the slot.
pub fn bind_and_exit(w: &mut World) {
    let p = w.actor("self", Site::A);
    assert_eq!(p.bind(ep(12)), ep(12));
    let me = p.run(Act::Whoami {}).ok();
    assert_eq!(me.fact::<Endpoint>("endpoint"), ep(12));
    assert_eq!(p.run(Act::Getep { pid: p.pid() }).ok().fact::<Endpoint>("endpoint"), ep(12));
    p.start(Act::Exit { code: 0 }).gone();
    p.freed();
}

/// 20: a parent binds its child; both know the same endpoint.
pub fn bind_a_child(w: &mut World) {
    let parent = w.bound("parent", Site::A, 10);
    let child = w.actor("child", Site::A);
    let waiting = child.start(Act::Wait4bind { endpoint: Endpoint::SELF, t: ms(15_000) });
    until_ok(&parent, &bind_as(BindKind::Local, ep(12), child.pid(), parent.node));
    assert_eq!(waiting.wait().ok().fact::<Endpoint>("endpoint"), ep(12));
    assert_eq!(child.run(Act::Getep { pid: child.pid() }).ok().fact::<Endpoint>("endpoint"), ep(12));
    assert_eq!(parent.run(Act::Getep { pid: child.pid() }).ok().fact::<Endpoint>("endpoint"), ep(12));
    let info = w.info(parent.node, 12).ok();
    assert_ne!(info.fact::<u32>("misc") & misc::LEADER, 0, "{info}");
}

/// 21: a replica is local and says so.
pub fn bind_a_replica(w: &mut World) {
    let p = w.actor("replica", Site::A);
    p.run(bind_as(BindKind::Replica, ep(12), 0, p.node)).ok();
    let info = w.info(p.node, 12).ok();
    assert_ne!(info.fact::<u32>("misc") & misc::REPLICATED, 0, "{info}");
    assert_eq!(info.fact::<u32>("rts"), 0, "{info}");
}

/// 22: a slot that is used cannot be bound, by anyone on any node.
pub fn occupied(w: &mut World) {
    let (s, _) = pair(w);
    let p = w.actor("late", Site::B);
    p.run(own(DC, s.ep())).err_of(Code::SLOTUSED, Fault::Caller, Effect::No);
    p.run(own(DC, Endpoint::new(1, 10))).err(Code::SLOTUSED);
    s.run(own(DC, ep(13))).err_in(&[Code::SLOTUSED]);
}

/// 23: a remote endpoint has no process here, and its node is known.
pub fn bind_remote(w: &mut World) {
    let far = w.node(Site::B);
    let near = w.node(Site::A);
    w.watcher(near).run(bind_as(BindKind::Remote, ep(13), 0, far)).ok();
    let info = w.info(near, 13).ok();
    assert_ne!(info.fact::<u32>("rts") & rts::REMOTE, 0, "{info}");
    assert_eq!((info.fact::<i32>("pid"), info.fact::<i32>("node")), (-1, far as i32));
}

/// 24: a remote binding needs a node that exists, is in the container and is not this one.
pub fn bind_remote_wrongly(w: &mut World) {
    let near = w.node(Site::A);
    let p = w.watcher(near);
    p.run(bind_as(BindKind::Remote, ep(13), 0, near)).err(Code::BADNODEID);
    p.run(bind_as(BindKind::Remote, ep(13), 0, 33)).err(Code::BADNODEID);
    p.run(bind_as(BindKind::Remote, ep(13), 0, 31)).err_in(&[Code::NOPROXY, Code::NODCNODE, Code::BADNODEID]);
    let far = w.node(Site::B);
    p.run(Act::DelNode { dc: DC, node: far }).ok();
    p.run(bind_as(BindKind::Remote, ep(13), 0, far)).err(Code::NODCNODE);
}

/// 25: a remote binding over a used slot.
pub fn bind_remote_twice(w: &mut World) {
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let p = w.watcher(near);
    p.run(bind_as(BindKind::Remote, ep(13), 0, far)).ok();
    p.run(bind_as(BindKind::Remote, Endpoint::new(1, 13), 0, far)).err(Code::SLOTUSED);
}

/// 26: a backup looks remote, has a process here and names its primary's node.
pub fn bind_a_backup(w: &mut World) {
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let primary = w.bound("primary", Site::B, 12);
    let standby = w.actor("standby", Site::A);
    standby.run(bind_as(BindKind::Backup, primary.ep(), 0, far)).ok();
    let info = w.info(near, 12).ok();
    assert_ne!(info.fact::<u32>("rts") & rts::REMOTE, 0, "{info}");
    assert_ne!(info.fact::<u32>("misc") & misc::BACKUP, 0, "{info}");
    assert_eq!(info.fact::<i32>("node"), far as i32);
    assert_eq!(info.fact::<i32>("pid"), standby.pid() as i32);
}

/// 27: user mode.
pub fn bind_user_mode(w: &mut World) {
    let p = w.actor("um", Site::A);
    p.run(bind_as(BindKind::UserMode, ep(12), 0, p.node)).ok();
    let info = w.info(p.node, 12).ok();
    assert_ne!(info.fact::<u32>("misc") & misc::USERMODE, 0, "{info}");
}

/// 28: two threads of a process with an endpoint each; both can talk.
pub fn two_threads(w: &mut World) {
    let (s, c) = pair(w);
    for (from, to) in [(&s, &c), (&c, &s)] {
        let sent = from.start(send(to.ep(), msg(1, b"")));
        to.run(any()).from(from.ep(), 1);
        sent.wait().ok();
    }
}

/// 30: one actor cannot be bound in two containers.
pub fn bound_elsewhere(w: &mut World) {
    let (s, _) = pair(w);
    w.container(DC + 1, "other");
    let again = own(DC + 1, ep(12));
    s.run(again).err_in(&[Code::BADDCID, Code::SLOTUSED]);
}

/// 31: getep before anything is bound.
pub fn getep_unbound(w: &mut World) {
    let s = w.bound("asker", Site::A, 10);
    let p = w.actor("unbound", Site::A);
    s.run(Act::Getep { pid: p.pid() }).err_of(Code::NOTBIND, Fault::Caller, Effect::No);
    s.run(Act::Getep { pid: 0x3fff_fff0 }).err_in(&[Code::BADPID, Code::NOTBIND]);
}

/// 32: getep of a process of another container.
pub fn getep_elsewhere(w: &mut World) {
    let s = w.bound("asker", Site::A, 10);
    w.container(DC + 1, "other");
    let p = w.actor("elsewhere", Site::A);
    until_ok(&p, &own(DC + 1, ep(12)));
    s.run(Act::Getep { pid: p.pid() }).err_in(&[Code::NOTBIND, Code::BADPROC]);
}

/// 33: the end of one leaves the other untouched.
pub fn parent_exits(w: &mut World) {
    let (parent, child) = pair(w);
    let got = child.start(any());
    child.receiving();
    parent.start(Act::Exit { code: 0 }).gone();
    parent.freed();
    got.still_blocked();
    let third = w.bound("third", Site::C, 12);
    third.run(send(child.ep(), msg(4, b""))).ok();
    got.wait().from(third.ep(), 4);
}

/// 34: a third party unbinds a receiver: its receive ends SHUTDOWN; the caller returns when the slot is free.
pub fn unbound_by_another(w: &mut World) {
    let (s, c) = pair(w);
    let got = s.start(any());
    s.receiving();
    let asked = c.start(unbind(s.ep(), ms(15_000)));
    got.wait().err_of(Code::SHUTDOWN, Fault::System, Effect::No);
    s.run(leave()).ok_or(&[Code::NOTBIND]);
    asked.wait().ok();
    c.run(send(s.ep(), msg(1, b""))).err(Code::DSTDIED);
}

/// 35: a caller that is not bound cannot wait for it, but the target ends all the same.
pub fn unbound_by_nobody(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let admin = w.actor_on("admin", s.node);
    let got = s.start(any());
    s.receiving();
    admin.run(unbind(s.ep(), ms(15_000))).err_of(Code::AGAIN, Fault::Nobody, Effect::Unknown);
    got.wait().err(Code::SHUTDOWN);
    s.run(leave()).ok_or(&[Code::NOTBIND]);
    w.watcher(s.node).run(wait4unbind(s.ep(), ms(15_000))).ok();
}

/// 36: the destination unbinds while a sender waits in its queue.
pub fn queued_sender_learns(w: &mut World) {
    let (s, c) = pair(w);
    let sent = c.start(send(s.ep(), msg(1, b"")));
    c.sending();
    s.run(leave()).ok();
    let seen = sent.wait();
    assert_eq!(seen.err_of(Code::DSTDIED, Fault::Peer, Effect::No).peer, s.ep());
}

/// 37: the source of a specific receive unbinds.
pub fn awaited_source_learns(w: &mut World) {
    let (s, c) = pair(w);
    let got = c.start(receive(s.ep()));
    c.receiving();
    s.run(leave()).ok();
    assert_eq!(got.wait().err(Code::SRCDIED).peer, s.ep());
}

/// 39: the server unbinds while the request waits in its queue.
pub fn queued_call_learns(w: &mut World) {
    let (s, c) = pair(w);
    let called = c.start(call(s.ep(), msg(1, b"")));
    c.sending();
    s.run(leave()).ok();
    assert_eq!(called.wait().err_of(Code::DSTDIED, Fault::Peer, Effect::No).peer, s.ep());
}

/// 40: the server unbinds after it took the request.
pub fn taken_call_learns(w: &mut World) {
    let (s, c) = pair(w);
    let called = c.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(c.ep(), 1);
    c.awaiting(s.ep());
    s.run(leave()).ok();
    assert_eq!(called.wait().err_of(Code::SRCDIED, Fault::Peer, Effect::Unknown).peer, s.ep());
}

/// 41: nothing to unbind.
pub fn unbind_free(w: &mut World) {
    let (s, _) = pair(w);
    s.run(unbind(ep(20), ms(1_000))).err(Code::NOTBIND);
    s.run(unbind(Endpoint::new(1, 11), ms(1_000))).err_in(&[Code::ENDPOINT, Code::NOTBIND]);
    s.run(unbind(ep(16_000), ms(1_000))).err_in(&[Code::RANGE, Code::ENDPOINT]);
}

/// 42: the warn process learns of an end, with the exit code, from the endpoint that ended.
pub fn warned_of_an_end(w: &mut World) {
    let dc = DC + 1;
    let make = Act::DcInit {
        dc,
        name: "warned".into(),
        procs: 221,
        sysprocs: 64,
        warn: ep(0),
        warn_type: 77,
        nodes: (0..w.nodes()).collect(),
    };
    w.watcher(0).run(make).ok();
    let pm = w.actor("pm", Site::A);
    until_ok(&pm, &own(dc, ep(0)));
    let p = w.actor("mortal", Site::B);
    until_ok(&p, &own(dc, ep(12)));
    p.run(Act::Wait4bind { endpoint: ep(0), t: ms(15_000) }).ok();
    let told = pm.start(receive_t(Endpoint::ANY, ms(15_000)));
    p.start(Act::Exit { code: 9 }).gone();
    let got = told.wait().from(ep(12), 77);
    assert_eq!(code_of(&got.bytes), (Some(9), Some(-1)), "{got:?}");
    pm.run(reply(ep(12), msg(0, b""))).ok_or(&[Code::PROCSTS, Code::DSTDIED]);
}

/// 42, of one endpoint alone: its rights name who is to know; killed, it had no code to give.
pub fn warned_by_rights(w: &mut World) {
    let pm = w.bound("pm", Site::A, 5);
    let p = w.bound("mortal", Site::B, 12);
    w.watcher(p.node).run(set_priv(p.ep(), pm.ep(), 0, u128::MAX, CallSet::ALL.0)).ok();
    p.kill();
    let got = pm.run(Act::Rcvrqst { t: ms(15_000) }).from(p.ep(), 0);
    assert_eq!(code_of(&got.bytes), (Some(-1), Some(-1)), "{got:?}");
}

/// 42, when nobody waits for it: it keeps its place among the messages, and nobody is blocked by it.
pub fn ends_wait_their_turn(w: &mut World) {
    let pm = w.bound("pm", Site::A, 5);
    let (p, c) = (w.bound("mortal", Site::B, 12), w.bound("client", Site::A, 13));
    w.watcher(p.node).run(set_priv(p.ep(), pm.ep(), 0, u128::MAX, CallSet::ALL.0)).ok();
    p.start(Act::Exit { code: 3 }).gone();
    w.gone(p.ep());
    if w.nodes() == 1 {
        // Known to be told: what comes now comes after it.
        let sent = c.start(send(pm.ep(), msg(7, b"")));
        c.sending();
        let got = pm.run(receive_t(Endpoint::ANY, ms(15_000))).from(p.ep(), 0);
        assert_eq!(code_of(&got.bytes).0, Some(3));
        pm.run(receive_t(Endpoint::ANY, ms(15_000))).from(c.ep(), 7);
        sent.wait().ok();
    } else {
        pm.run(receive_t(Endpoint::ANY, ms(15_000))).from(p.ep(), 0);
    }
    pm.run(poll()).err(Code::AGAIN);
}

fn code_of(bytes: &[u8]) -> (Option<i64>, Option<i64>) {
    let word = |i: usize| bytes.get(8 * i..8 * i + 8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    (word(0), word(1))
}

/// 43: what the table says of a bound, a free and an impossible slot.
pub fn table_entries(w: &mut World) {
    let (s, _) = pair(w);
    let info = w.info(s.node, 10).ok();
    assert_eq!(info.fact::<Endpoint>("endpoint"), s.ep());
    assert_eq!((info.fact::<i32>("slot"), info.fact::<i32>("node")), (10, s.node as i32));
    assert_eq!(info.fact::<u32>("rts") & (rts::SENDING | rts::RECEIVING), 0);
    let free = w.info(s.node, 20).ok();
    assert_eq!(free.fact::<u32>("rts") & rts::FREE, rts::FREE);
    w.info(s.node, 16_000).err(Code::BADPROC);
    w.info(s.node, -36).err(Code::BADPROC);
}

/// An unbound actor can do nothing but bind and wait.
pub fn unbound_can_nothing(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let p = w.actor("unbound", Site::B);
    p.run(send(s.ep(), msg(1, b""))).err_of(Code::NOTBIND, Fault::Caller, Effect::No);
    p.run(poll()).err(Code::NOTBIND);
    p.run(call(s.ep(), msg(1, b""))).err(Code::NOTBIND);
    p.run(notify(s.ep())).err(Code::NOTBIND);
    p.run(reply(s.ep(), msg(1, b""))).err(Code::NOTBIND);
    p.run(leave()).err(Code::NOTBIND);
}

/// Any free user slot: a used one gets a new generation, so that its old endpoint stays dead.
pub fn slots_are_reborn(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let first = w.user("first", Site::A);
    let old = first.ep();
    assert!(old.slot() >= 29, "{old}");
    first.run(leave()).ok();
    w.gone(old);
    let again = w.actor("again", Site::A);
    let reborn = Endpoint::new(old.generation() + 1, old.slot());
    again.bind(reborn);
    w.known(reborn);
    s.run(send(old, msg(1, b""))).err(Code::ENDPOINT);
}

/// Binding and unbinding in a circle leaves nothing behind.
pub fn thousand_rebinds(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let p = w.actor("restless", Site::A);
    for _ in 0..1_000 {
        p.bind(Endpoint::NONE);
        p.run(leave()).ok();
    }
    let p = w.user("settled", Site::A);
    let called = p.start(call(s.ep(), msg(1, b"")));
    s.run(any()).from(p.ep(), 1);
    s.run(reply(p.ep(), msg(2, b""))).ok();
    called.wait().from(s.ep(), 2);
}

/// The nothing-left-behind half of unbinding: what was queued on the slot is not the next owner's.
pub fn queue_is_not_inherited(w: &mut World) {
    let (s, c) = pair(w);
    let sent = c.start(send(s.ep(), msg(1, b"for the old one")));
    c.sending();
    s.run(leave()).ok();
    sent.wait().err(Code::DSTDIED);
    let heir = w.actor("heir", Site::A);
    until_ok(&heir, &own(DC, s.ep()));
    heir.run(receive_t(Endpoint::ANY, Timeout::Now)).err(Code::AGAIN);
}
