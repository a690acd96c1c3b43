//! What was rung before a call began is found by it: by a session whose daemon is played by the test, which
//! says what it says when the test wants.
#![cfg(not(loom))]

mod played;

use dvs_abi::{CallSet, Code, DcId, Endpoint, Message, Timeout};
use dvs_ipc::Process;
use dvs_ipc::control::{Answer, DvsInfo, Event, Request};
use dvs_ipc::testing::TestHost;
use played::{Daemon, Rules};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const DC: DcId = DcId(0);
const PEER: Endpoint = Endpoint::new(0, 9);
const ME: Endpoint = Endpoint::new(0, 10);
/// Only what never comes takes so long.
const PATIENT: Timeout = Timeout::After(std::time::Duration::from_secs(10));

/// Holds back its news until it is asked something else.
#[derive(Default)]
struct News {
    held: Mutex<Vec<Event>>,
    /// Questions whether a call is part of a circle.
    circles: AtomicU32,
}

impl Rules for News {
    fn asked(&self, daemon: &Daemon<Self>, id: u64, request: Request) {
        match request {
            Request::DvsInfo => {
                self.held.lock().unwrap().drain(..).for_each(|event| daemon.tell(event));
                daemon.answer(id, Ok(Answer::Dvs(DvsInfo::default())));
            }
            Request::Watch { .. } => daemon.answer(id, Ok(Answer::Done)),
            // The first finds a circle of which an earlier call was part; the second one of this call.
            Request::DeadlockCheck { dc, endpoint, call } => {
                let before = self.circles.fetch_add(1, Ordering::SeqCst);
                if before < 2 {
                    let cycle = vec![PEER.raw(), ME.raw()];
                    let call = if before == 0 { call.wrapping_sub(1) } else { call };
                    daemon.tell(Event::Deadlock { dc, endpoint, call, cycle });
                }
            }
            _ => {}
        }
    }
}

/// A session with a peer: `notify` says something through lane 0 and rings.
fn session() -> (Process, Arc<Daemon<News>>, impl Fn(u64)) {
    let (process, daemon, peer) = played::session();
    let notify = move |value: u64| {
        peer.link().lane(0).unwrap().notify(value);
        peer.ring(0);
    };
    (process, daemon, notify)
}

fn lane_opened() -> Event {
    let (from, to, may) = (PEER.raw(), ME.raw(), CallSet::ALL.0);
    Event::LaneOpened { link: 0, lane: 0, dc: DC.0, from, to, remote: false, may, peer_pid: 2, binding: 20 }
}

/// A call between the ring and the receive took the bell's word, and with it the hint that the daemon's word
/// of that lane was not read yet.
#[test]
fn a_ring_of_a_lane_that_is_not_known_yet_survives_other_calls() {
    let (process, daemon, notify) = session();
    let port = process.bind(DC, ME).unwrap();
    daemon.rules.held.lock().unwrap().push(lane_opened());
    notify(5);
    let mut m = Message::default();
    for _ in 0..2 {
        let refused = port.send(Endpoint::HARDWARE, &mut m, Timeout::Forever);
        assert_eq!(refused.map_err(|e| e.code), Err(Code::BADDEST));
    }
    // The news is given to whoever asks for it; without asking, this would wait in vain.
    port.receive(Endpoint::ANY, &mut m, PATIENT).unwrap();
    assert_eq!((m.source(), m.value()), (PEER, 5));
}

/// A thread that waits on the bell takes its word before it has brought in what it says.
#[test]
fn a_ring_is_found_while_another_thread_has_the_bell() {
    let (process, daemon, notify) = session();
    let port = process.bind(DC, ME).unwrap();
    daemon.tell(lane_opened());
    let other = Endpoint::new(0, 11);
    let waiter = std::thread::spawn({
        let process = process.clone();
        move || {
            let port = process.bind(DC, other).unwrap();
            port.receive(Endpoint::ANY, &mut Message::default(), Timeout::Forever).unwrap_err().code
        }
    });
    let mut m = Message::default();
    // From here on the lane is known.
    notify(0);
    port.receive(Endpoint::ANY, &mut m, PATIENT).unwrap();
    for n in 1..5_000 {
        notify(n);
        let found = port.receive(Endpoint::ANY, &mut m, Timeout::Now);
        assert_eq!(found.map(|()| (m.source(), m.value())), Ok((PEER, n)), "notification {n}");
    }
    while !process.interrupt(DC, other, Code::INTR) {
        std::thread::yield_now();
    }
    assert_eq!(waiter.join().unwrap(), Code::INTR);
}

/// Two threads that call each other answer a third that stops one of them at any moment.
#[test]
fn a_stop_is_found_before_and_within_a_wait_alone_and_in_a_session() {
    let (attached, _daemon, _notify) = session();
    for process in [Process::alone(Arc::new(TestHost::default())), attached] {
        let port = process.bind(DC, ME).unwrap();
        let (begins, begun) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            (0..3_000)
                .map(|_| {
                    begins.send(()).unwrap();
                    port.receive(Endpoint::ANY, &mut Message::default(), PATIENT).unwrap_err().code
                })
                .filter(|c| *c == Code::SHUTDOWN)
                .count()
        });
        for n in 0..3_000 {
            begun.recv().unwrap();
            (0..n % 300 * 10).for_each(|_| std::hint::spin_loop());
            assert!(process.stop(DC, ME, Code::SHUTDOWN));
        }
        assert_eq!(server.join().unwrap(), 3_000);
        assert!(!process.stop(DC, ME, Code::SHUTDOWN), "nobody is bound there any more");
    }
}

#[test]
fn a_stop_is_taken_back_and_ends_one_call() {
    let process = Process::alone(Arc::new(TestHost::default()));
    let port = process.bind(DC, ME).unwrap();
    let receive = || port.receive(Endpoint::ANY, &mut Message::default(), Timeout::Now).unwrap_err().code;
    assert_eq!(receive(), Code::AGAIN);
    process.stop(DC, ME, Code::INTR);
    process.stop(DC, ME, Code::SHUTDOWN);
    assert_eq!((receive(), receive()), (Code::SHUTDOWN, Code::AGAIN));
    process.stop(DC, ME, Code::INTR);
    assert_eq!((port.take_stop(), port.take_stop()), (Some(Code::INTR), None));
    assert_eq!(receive(), Code::AGAIN);
}

/// A search for a circle may be lost between nodes, or come before the circle is closed.
#[test]
fn a_call_that_stays_blocked_asks_again_whether_it_is_in_a_circle() {
    let (process, daemon, _notify) = session();
    let port = process.bind(DC, ME).unwrap();
    let e = port.receive(PEER, &mut Message::default(), PATIENT).unwrap_err();
    assert_eq!((e.code, daemon.rules.circles.load(Ordering::SeqCst)), (Code::LOCKED, 2));
}
