//! A daemon killed with -9 under its sessions: they learn it at once, go on among themselves, and the next
//! daemon starts in the same folder as if nothing had been.

use dvs::{Code, DcId, Endpoint, Message, Port, Process, Timeout};
use dvs_cluster::node::Node;
use dvs_cluster::{DC, WATCHDOG, measure, server};
use dvs_linux::clock;

const DAEMON: &str = env!("CARGO_BIN_EXE_cluster-daemon");
/// "At once", with room for a loaded machine; a call that waited for a deadline would take the watchdog's
/// time.
const AT_ONCE_NS: u64 = 10_000_000_000;

fn blocked(watcher: &Process, slot: i32) {
    // Sending, receiving or awaiting an answer: bits 2, 3 of the state.
    while watcher.system().proc_info(DC, slot).unwrap().rts_flags & 0xc == 0 {
        std::thread::yield_now();
    }
}

/// Ends with DVSINIT soon after the daemon was killed.
fn ends(what: &str, killed: &std::sync::OnceLock<u64>, call: impl FnOnce() -> dvs::Result<()>) {
    let e = call().expect_err(what);
    let now = clock::now();
    // Ended before the clock was read: even sooner.
    let after = now.saturating_sub(killed.get().copied().unwrap_or(now));
    assert_eq!(e.code, Code::DVSINIT, "{what}: {e}");
    assert!(after < AT_ONCE_NS, "{what} ended {} ms after the daemon", after / 1_000_000);
}

#[test]
fn every_blocked_call_ends_at_once_when_the_daemon_is_killed() {
    let mut node = Node::start(DAEMON);
    node.make_dc();
    let (here, there, watcher) = (node.attach(), node.attach(), node.attach());
    let bind = |p: &Process, n| p.bind(DC, server(n)).unwrap();
    let silent = bind(&there, 0);
    let (sender, caller, receiver, waiter) = (bind(&here, 1), bind(&here, 2), bind(&here, 3), bind(&here, 4));
    let killed = std::sync::OnceLock::new();
    std::thread::scope(|s| {
        let k = &killed;
        s.spawn(move || ends("send", k, || sender.send(server(0), &mut Message::new(1), WATCHDOG)));
        s.spawn(move || ends("sendrec", k, || caller.sendrec(server(0), &mut Message::new(1), WATCHDOG)));
        s.spawn(move || {
            ends("receive", k, || receiver.receive(Endpoint::ANY, &mut Message::new(1), WATCHDOG));
        });
        s.spawn(move || {
            ends("wait_bind", k, || waiter.system().wait_bind(DC, server(9), WATCHDOG).map(|_| ()));
        });
        [1, 2, 3].iter().for_each(|slot| blocked(&watcher, *slot));
        node.kill();
        killed.set(clock::now()).unwrap();
    });
    drop(silent);
    let e = here.bind(DC, server(5)).map(|_| ()).unwrap_err();
    assert_eq!(e.code, Code::DVSINIT);
}

#[test]
fn a_daemon_of_a_test_ends_with_the_test() {
    let mut node = Node::start(DAEMON);
    node.make_dc();
    let process = node.attach();
    // As when the test's own process is killed: the pipe is closed, and nobody says anything.
    node.reap();
    assert!(!node.serves());
    // In order: its folder is free.
    node.revive();
    assert!(node.attach().system().dc_info(DC).is_ok());
    drop(process);
}

fn answer_one(port: &Port) {
    let mut m = Message::default();
    port.receive(Endpoint::ANY, &mut m, WATCHDOG).unwrap();
    port.reply(m.source(), &mut m, Timeout::Forever).unwrap();
}

#[test]
fn endpoints_of_one_process_reach_each_other_without_a_daemon() {
    let mut node = Node::start(DAEMON);
    node.make_dc();
    let process = node.attach();
    let (a, mut b) = (process.bind(DC, server(1)).unwrap(), process.bind(DC, server(2)).unwrap());
    let callee = &mut b;
    node.kill();
    let end = process.system().dvs_info().map(|_| ()).unwrap_err();
    assert_eq!(end.code, Code::DVSINIT);
    // Each port is told once that nobody outside can be heard any more; then it serves its own process. The
    // control thread may still be reading the end; a receive that it ends is not what is tested.
    let told = loop {
        let e = callee.receive(Endpoint::ANY, &mut Message::default(), Timeout::Now).unwrap_err();
        if e.code != Code::AGAIN {
            break e;
        }
        std::thread::yield_now();
    };
    assert_eq!(told.code, Code::DVSINIT);
    std::thread::scope(|s| {
        s.spawn(move || (0..100).for_each(|_| answer_one(callee)));
        for _ in 0..100 {
            a.sendrec(server(2), &mut Message::new(7), WATCHDOG).unwrap();
        }
    });
}

/// Also when the end finds it waiting.
#[test]
fn a_receive_that_the_end_of_the_daemon_ends_is_told_once() {
    let mut node = Node::start(DAEMON);
    node.make_dc();
    let (process, watcher) = (node.attach(), node.attach());
    let port = process.bind(DC, server(1)).unwrap();
    std::thread::scope(|s| {
        let told = s.spawn(move || {
            let receive = |t| port.receive(Endpoint::ANY, &mut Message::default(), t).unwrap_err().code;
            (receive(WATCHDOG), receive(Timeout::Now))
        });
        blocked(&watcher, 1);
        node.kill();
        assert_eq!(told.join().unwrap(), (Code::DVSINIT, Code::AGAIN));
    });
}

#[test]
fn the_next_daemon_starts_in_the_same_folder_and_leaves_no_file() {
    let mut node = Node::start(DAEMON);
    node.make_dc();
    for _ in 0..5 {
        let (server_side, client_side) = (node.attach(), node.attach());
        let mut port = server_side.bind(DC, server(0)).unwrap();
        let callee = &mut port;
        let client = client_side.bind(DC, Endpoint::NONE).unwrap();
        std::thread::scope(|s| {
            s.spawn(move || answer_one(callee));
            client.sendrec(server(0), &mut Message::new(1), WATCHDOG).unwrap();
        });
        node.kill();
        node.revive();
        // The container is there, of what was bound in it nothing is known any more.
        let side = node.attach();
        assert_eq!(node.status().endpoints, 0);
        drop(side.bind(DC, server(0)).unwrap());
    }
    let mut files: Vec<_> = std::fs::read_dir(node.dir()).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["admin", "lock", "session"]);
    assert_eq!(measure::zombies_of(std::process::id()), 0);
}

#[test]
fn a_process_that_is_dropped_gives_back_what_it_had() {
    let node = Node::start(DAEMON);
    node.make_dc();
    node.wait_empty();
    let (daemon, own) = (node.settled_fds(), measure::held(std::process::id()));
    for round in 0..50 {
        let (a, b) = (node.attach(), node.attach());
        let mut port = a.bind(DC, server(0)).unwrap();
        let callee = &mut port;
        let client = b.bind(DC, Endpoint::NONE).unwrap();
        std::thread::scope(|s| {
            s.spawn(move || answer_one(callee));
            client.sendrec(server(0), &mut Message::new(round), WATCHDOG).unwrap();
        });
        let other = a.system().dc_init(&dvs::DcPlan::new(DcId(9), "second"));
        assert!(round == 0 || other.is_err());
        drop((port, client, a, b));
        node.wait_empty();
    }
    assert_eq!(node.settled_fds(), daemon);
    // Its control threads end a moment after their sessions.
    let end = clock::now() + dvs_cluster::WATCHDOG_NS;
    while measure::held(std::process::id()).mapped > own.mapped {
        assert!(clock::now() < end, "{own:?}, now {:?}", measure::held(std::process::id()));
        std::thread::yield_now();
    }
}
