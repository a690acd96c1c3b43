use super::router::{Channels, Ear, Router};
use super::{Backlog, Door, FromProxy, ToProxy, Waker};
use dvs_abi::NodeId;
use dvs_abi::limits::{CONTROL_BYTES_MAX, PEER_BACKLOG_BYTES, RECORD_COST};
use dvs_ipc::bell::{BELL_BYTES, Bell};
use dvs_linux::memory::Mapping;
use dvs_proxy::{Frame, Handler};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const RECORDS: usize = 3 * PEER_BACKLOG_BYTES / CONTROL_BYTES_MAX;
const FIT: usize = PEER_BACKLOG_BYTES / (CONTROL_BYTES_MAX + RECORD_COST);

/// The daemon's end of a proxy without connections, and that proxy.
fn proxy() -> (Door, Arc<Router>) {
    let (bell, bell_file) = Mapping::create("dvs-bell", BELL_BYTES).unwrap();
    let (status, status_file) = Mapping::create_status("dvs-status", BELL_BYTES).unwrap();
    let bell = Bell::new(Arc::new(bell), Arc::new(status)).unwrap();
    let (to, from_daemon) = channel::<ToProxy>();
    let (to_daemon, from) = channel::<FromProxy>();
    let backlog = Arc::new(Backlog::new());
    let waker = Waker::new().unwrap();
    let channels = Channels { to: to_daemon, from: from_daemon, waker, backlog: backlog.clone() };
    let router = Router::new(NodeId(0), 1, channels, bell.deputy());
    let (bell_file, status) = (Arc::new(bell_file), Arc::new(status_file));
    let nodes = channel().0;
    let door =
        Door { bell: bell_file, status, to, from, backlog, ringer: bell.ringer(), nodes, thread: None };
    (door, router)
}

fn flood(router: &Arc<Router>, node: u16, records: usize) -> std::thread::JoinHandle<()> {
    let router = router.clone();
    std::thread::spawn(move || {
        let (ear, bytes) = (Ear::of(&router), vec![0; CONTROL_BYTES_MAX]);
        for _ in 0..records {
            ear.frame(NodeId(node), &Frame::Control { bytes: &bytes });
        }
    })
}

fn held_up(door: &Door) {
    let watchdog = Instant::now() + Duration::from_secs(60);
    while door.backlog.waiting() == 0 {
        assert!(Instant::now() < watchdog, "the flood was never held up");
        std::thread::yield_now();
    }
}

#[test]
fn a_node_that_floods_the_daemon_is_held_up_and_loses_nothing() {
    let (door, router) = proxy();
    let reader = flood(&router, 1, RECORDS);
    held_up(&door);
    // The others are not; what waits is what fits, and one of theirs.
    flood(&router, 2, 1).join().unwrap();
    let mut queued: Vec<u16> = Vec::new();
    let node = |m| if let FromProxy::Control { node, .. } = m { node } else { panic!("{m:?}") };
    // Not by `next`: the daemon has taken nothing yet.
    queued.extend(door.from.try_iter().map(node));
    assert_eq!((queued.len(), queued.last()), (FIT + 1, Some(&2)));
    for node in queued {
        door.backlog.leave(node, CONTROL_BYTES_MAX);
    }
    let mut rest = RECORDS - FIT;
    let watchdog = Instant::now() + Duration::from_secs(60);
    while rest > 0 {
        rest -= door.next().into_iter().count();
        assert!(Instant::now() < watchdog, "{rest} records did not come");
    }
    reader.join().unwrap();
}

#[test]
fn a_reader_that_is_held_up_does_not_hold_up_the_end() {
    let (door, router) = proxy();
    let reader = flood(&router, 1, RECORDS);
    held_up(&door);
    drop(door);
    reader.join().unwrap();
}
