//! Real sessions and a real daemon process: binding, lanes with their descriptors, death, restarts.

mod common;

use common::{Process, Session};
use dvs_abi::{Code, Endpoint};
use dvs_ipc::control::{Answer, Event, Request};
use dvs_ipc::host::Memory;
use dvs_ipc::link::LINK_BYTES;
use dvs_linux::memory::Mapping;
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::os::fd::AsFd;

const DC: u16 = 1;
const FOREVER: u64 = u64::MAX;

#[test]
fn two_sessions_get_a_lane_and_the_callee_hears_first() {
    let d = Process::start();
    let (mut server, mut client) = (d.session("server"), d.session("client"));
    server.make_dc(DC);
    assert_eq!(server.bind(DC, 3).unwrap(), 3);
    assert_eq!(client.bind(DC, 3).unwrap_err().code, Code::SLOTUSED as i32);
    let from = client.bind(DC, Endpoint::NONE.raw()).unwrap();
    assert!(Endpoint::from_raw(from).slot() >= 29 && Endpoint::from_raw(from).generation() > 0);
    let open = Request::OpenLane { dc: DC, from, to: 3, remaining: FOREVER };
    let answer = client.call(open.clone()).unwrap();
    let Answer::Lane { link, lane, to: 3, remote: false, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(client.call(open).unwrap(), answer, "asking again changes nothing");
    let (event, theirs) = server.event();
    let Event::Link { link: server_link, side, .. } = event else { panic!("{event:?}") };
    let (event, ours) = client.event();
    let Event::Link { side: other, bell_link, .. } = event else { panic!("{event:?}") };
    assert_eq!((side + other, bell_link, theirs.len(), ours.len()), (1, server_link, 3, 3));
    let a = Mapping::open(theirs[0].as_fd(), LINK_BYTES).unwrap();
    let b = Mapping::open(ours[0].as_fd(), LINK_BYTES).unwrap();
    a.words()[0].store(77, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(b.words()[0].load(std::sync::atomic::Ordering::Relaxed), 77, "one memory");
    let (event, _) = server.event();
    assert!(matches!(event, Event::LaneOpened { link: l, lane: n, from: f, to: 3, .. }
        if l == server_link && n == lane && f == from));
    drop(server);
    let (event, _) = client.event();
    assert_eq!(event, Event::LaneClosed { link, lane, code: Code::DSTDIED as i32 });
    client.start(Request::FreeLane { link, lane });
    assert_eq!(client.event().0, Event::LinkClosed { link }, "only when the lane was given back");
}

#[test]
fn waits_watches_and_death() {
    let d = Process::start();
    let (mut a, mut b) = (d.session("a"), d.session("b"));
    a.make_dc(DC);
    a.bind(DC, 1).unwrap();
    let wait = a.start(Request::WaitBind { dc: DC, endpoint: 2, remaining: FOREVER, board: 0 });
    b.bind(DC, 2).unwrap();
    assert!(matches!(a.wait_reply(wait), Ok(Answer::Bound { endpoint: 2, .. })));
    a.call(Request::Watch { dc: DC, endpoint: 2 }).unwrap();
    let wait = a.start(Request::WaitUnbind { dc: DC, endpoint: 2, remaining: FOREVER });
    drop(b);
    a.wait_reply(wait).unwrap();
    assert_eq!(a.event().0, Event::Gone { dc: DC, endpoint: 2 });
    let timed = a.call(Request::WaitBind { dc: DC, endpoint: 2, remaining: 1_000_000, board: 0 });
    assert_eq!(timed.unwrap_err().code, Code::TIMEDOUT as i32);
}

#[test]
fn a_killed_daemon_is_noticed_at_once_and_starts_again_in_its_folder() {
    let mut d = Process::start();
    let mut s = d.session("s");
    s.make_dc(DC);
    d.restart();
    while s.read() {}
    let mut s = d.session("s");
    // The container is there still: it stands on the node's disk.
    s.bind(DC, 1).unwrap();
}

#[test]
fn orders_from_the_command_line() {
    let d = Process::start();
    let mut s = d.session("s");
    s.make_dc(DC);
    s.bind(DC, 5).unwrap();
    let parts = d.admin().all(&AdminRequest::Ps { dc: Some(DC) }).unwrap();
    let [AdminAnswer::Procs(rows)] = parts.as_slice() else { panic!("{parts:?}") };
    assert_eq!((rows[0].info.endpoint, rows[0].info.pid), (5, std::process::id() as i32));
    let parts = d.admin().all(&AdminRequest::Status).unwrap();
    let [AdminAnswer::Status(status)] = parts.as_slice() else { panic!("{parts:?}") };
    assert_eq!((status.endpoints, status.containers, status.sessions), (1, 1, 1));
    assert!(status.resident_kib < 20 << 10, "{} KiB resident", status.resident_kib);
    // The call that ends the container asks its processes to end; this process is asked by no one, since
    // the administrator has none. It would be: so only the container without endpoints is ended here.
    let end = AdminRequest::Call(Request::DcEnd { dc: 9 });
    assert_eq!(d.admin().all(&end).unwrap_err().code, Code::DCNOTRUN);
    assert!(matches!(
        d.admin().all(&AdminRequest::Ping { node: 0 }).as_deref(),
        Ok([AdminAnswer::Pong { node: 0 }])
    ));
    d.admin().all(&AdminRequest::Shutdown).unwrap();
    while s.read() {}
    assert!(s.events.iter().any(|(e, _)| *e == Event::Closing));
}

#[test]
fn hostile_sessions_hurt_only_themselves() {
    let d = Process::start();
    let mut good = d.session("good");
    good.make_dc(DC);
    for bytes in [&b"\xff\xff\xff"[..], &[0; 60_000], b"\x01"] {
        let mut bad = Session::open(&d.dir, "bad");
        bad.socket.send(bytes, &[], common::watchdog()).unwrap();
        while bad.read() {}
    }
    let mut greedy = d.session("greedy");
    let mut bound = 0;
    while greedy.bind(DC, Endpoint::NONE.raw()).is_ok() {
        bound += 1;
    }
    assert!(bound >= 4000, "{bound}");
    assert_eq!(good.bind(DC, 1).unwrap(), 1, "servers have their own slots");
    drop(greedy);
    good.call(Request::WaitUnbind { dc: DC, endpoint: Endpoint::new(0, 29).raw(), remaining: FOREVER })
        .unwrap();
}
