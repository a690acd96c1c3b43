//! The system, its containers and nodes (facts §7.1).

use crate::act::Act;
use crate::say::{any, bind_as, call, ep, leave, ms, msg, poll, receive, reply, send};
use crate::world::{DC, Site, World, dc_init, own, until_ok};
use dvs_abi::limits::{COPY_BYTES_MAX, DCS_MAX, NODES_MAX, SYSPROCS_MAX, TASKS_MAX};
use dvs_abi::{Code, Endpoint, Timeout};
use dvs_ipc::control::BindKind;

/// Flags of a node (facts §1.5).
mod flags {
    pub const ATTACHED: u32 = 2;
    pub const SENDER: u32 = 4;
    pub const RECEIVER: u32 = 8;
}

/// 1: what the system says of itself.
pub fn system_info(w: &mut World) {
    for node in 0..w.nodes() {
        let info = w.watcher(node).run(Act::DvsInfo {}).ok();
        assert_eq!(info.fact::<u32>("node"), node as u32);
        assert_eq!(info.fact::<u32>("nodes"), NODES_MAX as u32);
        assert_eq!(info.fact::<u32>("dcs"), DCS_MAX as u32);
        assert_eq!(info.fact::<i32>("tasks"), TASKS_MAX);
        assert_eq!(info.fact::<i32>("sysprocs"), SYSPROCS_MAX);
        assert_eq!(info.fact::<u64>("copy"), COPY_BYTES_MAX);
    }
}

/// 3: a second daemon for the same node refuses and says why.
pub fn second_daemon(w: &mut World) {
    let why = w.home().start_again(0).expect_err("two daemons cannot own one node");
    assert!(!why.trim().is_empty());
    w.watcher(0).run(Act::DvsInfo {}).ok();
}

/// 4: a node number that is none.
pub fn wrong_node_number(w: &mut World) {
    for number in [-1, NODES_MAX as i64, 70_000] {
        let why = w.home().start_as(number).expect_err("no such node");
        assert!(!why.trim().is_empty(), "{number}");
    }
}

/// 6: three containers at once, each with its name.
pub fn three_containers(w: &mut World) {
    let p = w.watcher(0);
    for dc in 2..5 {
        p.run(dc_init(dc, &format!("DC{dc}"), vec![0])).ok();
    }
    for dc in 2..5 {
        let info = p.run(Act::DcInfo { dc }).ok();
        assert_eq!(info.fact::<u32>("flags"), 0);
        assert_eq!(info.fact::<String>("name"), format!("DC{dc}"));
    }
}

/// 7: a number or a name twice.
pub fn container_twice(w: &mut World) {
    let p = w.watcher(0);
    p.run(dc_init(DC, "another", vec![0])).err(Code::RSCBUSY);
    p.run(dc_init(DC + 1, "conform", vec![0])).err(Code::RSCBUSY);
    p.run(dc_init(DC + 1, "a-name-that-is-longer-than-15", vec![0])).err(Code::NAMESIZE);
    p.run(dc_init(DCS_MAX as u16, "far", vec![0])).err(Code::BADDCID);
}

/// 8: limits above the system's.
pub fn container_too_large(w: &mut World) {
    let p = w.watcher(0);
    let with = |procs, sysprocs| Act::DcInit {
        dc: 2,
        name: "large".into(),
        procs,
        sysprocs,
        warn: Endpoint::NONE,
        warn_type: 0,
        nodes: vec![0],
    };
    for wrong in [with(20_000, 64), with(221, 97), with(0, 64), with(221, 35), with(10, 64)] {
        p.run(wrong).err(Code::BADRANGE);
    }
    p.run(with(221, 64)).ok();
}

/// 9: what a container says of itself.
pub fn container_info(w: &mut World) {
    let info = w.watcher(0).run(Act::DcInfo { dc: DC }).ok();
    assert_eq!(info.fact::<u32>("flags"), 0);
    assert_eq!(info.fact::<u32>("nodes"), (1 << w.nodes()) - 1);
    assert_eq!(info.fact::<Endpoint>("warn"), Endpoint::NONE);
    assert_eq!((info.fact::<i32>("procs"), info.fact::<i32>("tasks")), (221, 35));
    w.watcher(0).run(Act::DcInfo { dc: 99 }).err(Code::BADDCID);
}

/// 10: the end of a container releases everybody in it.
pub fn container_ends(w: &mut World) {
    let dc = DC + 1;
    let admin = w.watcher(0).clone();
    admin.run(dc_init(dc, "doomed", (0..w.nodes()).collect())).ok();
    let s = w.actor("server", Site::A);
    let c = w.actor("client", Site::B);
    until_ok(&s, &own(dc, ep(10)));
    until_ok(&c, &own(dc, ep(11)));
    c.run(Act::Wait4bind { endpoint: ep(10), t: ms(15_000) }).ok();
    let called = c.start(call(ep(10), msg(1, b"")));
    s.run(any()).from(ep(11), 1);
    let got = s.start(receive(ep(11)));
    admin.run(Act::DcEnd { dc }).ok();
    let told = [Code::SHUTDOWN, Code::DCNOTRUN, Code::SRCDIED, Code::DSTDIED];
    called.wait().err_in(&told);
    got.wait().err_in(&told);
    s.run(poll()).err_in(&[Code::NOTBIND, Code::DCNOTRUN, Code::SHUTDOWN]);
    admin.run(Act::DcEnd { dc }).err(Code::DCNOTRUN);
    let info = admin.run(Act::DcInfo { dc });
    assert!(info.error.is_some() || info.fact::<u32>("flags") == 2, "{info}");
    admin.run(dc_init(dc, "reborn", vec![0])).ok();
}

/// 11, 5: the daemon stops in order: what is blocked ends, nothing hangs, later calls say so.
pub fn daemon_stops(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::A, 11);
    let other = w.bound("other", Site::B, 12);
    // On this node it is another process; from another node the loss of the connection is told elsewhere.
    let calls: Vec<_> = if w.nodes() == 1 { vec![&c, &other] } else { vec![&c] };
    let calls: Vec<_> = calls
        .into_iter()
        .map(|p| {
            let called = p.start(call(s.ep(), msg(1, b"")));
            s.run(any()).from(p.ep(), 1);
            (p, called)
        })
        .collect();
    let got = s.start(any());
    s.receiving();
    let node = w.node(Site::A);
    w.home().stop_node(node);
    let told = [Code::SHUTDOWN, Code::DCNOTRUN, Code::DVSINIT, Code::NOSYS, Code::SRCDIED];
    got.wait().err_in(&told);
    for (p, called) in calls {
        if p.pid() == s.pid() {
            // Endpoints of one process need no daemon to reach each other.
            s.run(reply(p.ep(), msg(2, b""))).ok();
            called.wait().from(s.ep(), 2);
        } else {
            called.wait().err_in(&told);
        }
    }
    s.run(send(other.ep(), msg(1, b""))).err_in(&[
        Code::NOTBIND,
        Code::DVSINIT,
        Code::NOSYS,
        Code::SHUTDOWN,
        Code::PROCSTS,
    ]);
}

/// 12: connected nodes say so; a cut takes both halves away, healing brings them back.
pub fn connection_flags(w: &mut World) {
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let all = flags::ATTACHED | flags::SENDER | flags::RECEIVER;
    flags_until(w, near, far, |f| f == all);
    w.home().cut(near, far);
    flags_until(w, near, far, |f| f & (flags::SENDER | flags::RECEIVER) == 0);
    w.home().heal(near, far);
    flags_until(w, near, far, |f| f == all);
}

#[track_caller]
fn flags_until(w: &World, near: u16, far: u16, wanted: impl Fn(u32) -> bool) {
    let end = std::time::Instant::now() + crate::world::WATCHDOG;
    loop {
        let seen = w.watcher(near).run(Act::NodeInfo { node: far as i32 }).ok();
        if wanted(seen.fact("flags")) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{seen}");
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

/// 13: a node that nobody configured is free and cannot join a container.
pub fn unknown_node(w: &mut World) {
    let p = w.watcher(0);
    let info = p.run(Act::NodeInfo { node: 30 });
    assert!(info.error.is_some() || info.fact::<u32>("flags") == 0, "{info}");
    p.run(Act::AddNode { dc: DC, node: 30 }).err_in(&[Code::NODEFREE, Code::NOPROXY]);
    p.run(Act::NodeInfo { node: 32 }).err(Code::BADNODEID);
}

/// 14: a node that died takes its endpoints with it, and may come back.
pub fn node_down_and_up(w: &mut World) {
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::B, 11);
    w.home().kill_node(far);
    w.watcher(near).run(Act::Wait4unbind { endpoint: c.ep(), t: Timeout::Forever }).ok();
    s.run(send(c.ep(), msg(1, b""))).err_in(&[Code::DSTDIED, Code::NOTCONN]);
    w.home().start_node(far);
    let all = flags::ATTACHED | flags::SENDER | flags::RECEIVER;
    flags_until(w, near, far, |f| f == all);
}

/// 15: a node is added once.
pub fn add_node_twice(w: &mut World) {
    let far = w.node(Site::B);
    let p = w.watcher(w.node(Site::A));
    p.run(dc_init(2, "small", vec![w.node(Site::A)])).ok();
    p.run(Act::AddNode { dc: 2, node: far }).ok();
    p.run(Act::AddNode { dc: 2, node: far }).err(Code::DCNODE);
    assert_eq!(p.run(Act::DcInfo { dc: 2 }).ok().fact::<u32>("nodes"), 1 << far | 1 << w.node(Site::A));
    p.run(Act::DelNode { dc: 2, node: far }).ok();
    p.run(Act::DelNode { dc: 2, node: far }).err(Code::DCNODE);
}

/// 16: the local node cannot be added, nor one that is none.
pub fn add_wrong_node(w: &mut World) {
    let p = w.watcher(0);
    p.run(Act::AddNode { dc: DC, node: 0 }).err_in(&[Code::BADNODEID]);
    p.run(Act::AddNode { dc: DC, node: 32 }).err(Code::BADNODEID);
    p.run(Act::AddNode { dc: 31, node: 30 }).err_in(&[Code::DCNOTRUN, Code::NODEFREE, Code::NOPROXY]);
}

/// 17: a node is taken out: who waits on an endpoint there learns it, and no remote binding is made again.
pub fn del_node(w: &mut World) {
    let (near, far) = (w.node(Site::A), w.node(Site::B));
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::B, 11);
    let got = s.start(receive(c.ep()));
    s.receiving();
    w.watcher(near).run(Act::DelNode { dc: DC, node: far }).ok();
    got.wait().err_in(&[Code::SRCDIED, Code::NODCNODE, Code::NOTCONN]);
    w.watcher(near).run(bind_as(BindKind::Remote, ep(13), 0, far)).err(Code::NODCNODE);
}

/// 18: what the node says of itself.
pub fn node_info(w: &mut World) {
    for node in 0..w.nodes() {
        let own = w.watcher(node).run(Act::NodeInfo { node: -1 }).ok();
        assert_eq!(own.fact::<u32>("node"), node as u32);
        assert_eq!(own.fact::<u32>("flags"), flags::ATTACHED | flags::SENDER);
        assert_ne!(own.fact::<u32>("dcs") & 1 << DC, 0);
    }
}

/// Messages are counted, here and far.
pub fn counters(w: &mut World) {
    let s = w.bound("server", Site::A, 10);
    let c = w.bound("client", Site::B, 11);
    let key = if w.same_node(Site::A, Site::B) { "lclsent" } else { "rmtsent" };
    for _ in 0..3 {
        let sent = c.start(send(s.ep(), msg(1, b"")));
        s.run(any()).from(c.ep(), 1);
        sent.wait().ok();
    }
    assert_eq!(w.info(c.node, 11).ok().fact::<u64>(key), 3);
    c.run(leave()).ok();
}
