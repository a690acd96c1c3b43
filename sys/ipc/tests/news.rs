//! What was rung before a call began is found by it: by a session whose daemon is played by the test, which
//! says what it says when the test wants.
#![cfg(not(loom))]

use dvs_abi::limits::TASKS_MAX;
use dvs_abi::{CallSet, Code, DcId, Endpoint, Message, Privileges, Timeout};
use dvs_ipc::Process;
use dvs_ipc::bell::{BELL_WORDS, Ringer, STATUS_WORDS};
use dvs_ipc::control::{self, Answer, BindKind, DvsInfo, Event, FromDaemon, Numbered, Request};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_ipc::outside::{Channel, Mapped, SessionMemory};
use dvs_ipc::testing::TestHost;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

const DC: DcId = DcId(0);
const PEER: Endpoint = Endpoint::new(0, 9);
const ME: Endpoint = Endpoint::new(0, 10);
/// Only what never comes takes so long.
const PATIENT: Timeout = Timeout::After(std::time::Duration::from_secs(10));

/// The daemon: binds what is asked for, and holds back its news until it is asked something else.
#[derive(Default)]
struct Daemon {
    state: Mutex<State>,
    came: Condvar,
    memories: Mutex<Option<[Arc<HeapMemory>; 2]>>,
}

#[derive(Default)]
struct State {
    said: VecDeque<(Vec<u8>, Vec<Mapped>)>,
    held: Vec<Event>,
    /// Questions whether a call is part of a circle.
    circles: u32,
    ended: bool,
}

impl Daemon {
    fn say(&self, record: &FromDaemon, memories: Vec<Mapped>) {
        self.state.lock().unwrap().said.push_back((control::encode(record).unwrap(), memories));
        self.came.notify_all();
    }

    fn answer(&self, id: u64, answer: Answer) {
        self.say(&FromDaemon::Reply { id, result: Ok(answer) }, Vec::new());
    }

    /// The session's bell, as its peers have it.
    fn ringer(&self) -> Ringer {
        let [bell, status] = self.memories.lock().unwrap().clone().unwrap();
        Ringer::new(bell, status).unwrap()
    }
}

struct Wire(Arc<Daemon>);

impl Channel for Wire {
    fn hello(&self, _: &[u8]) -> dvs_abi::Result<SessionMemory> {
        let memory = |words| Arc::new(HeapMemory::new(words));
        let (bell, status, board) = (memory(BELL_WORDS), memory(STATUS_WORDS), memory(64));
        *self.0.memories.lock().unwrap() = Some([bell.clone(), status.clone()]);
        self.0.answer(1, Answer::Welcome { version: control::VERSION, session: 1, node: 0 });
        Ok(SessionMemory { bell, status, board })
    }

    fn send(&self, record: &[u8]) -> dvs_abi::Result<()> {
        let Numbered { id, request } = control::decode(record).unwrap();
        match request {
            Request::Bind { dc, endpoint, .. } => {
                let slot = Endpoint::from_raw(endpoint).slot();
                let privileges = Privileges::at_bind(slot, TASKS_MAX, 64).into();
                let (kind, tasks, procs, sysprocs) = (BindKind::Own, TASKS_MAX, 221, 64);
                self.0.answer(id, Answer::Bound { dc, endpoint, kind, tasks, procs, sysprocs, privileges });
            }
            Request::DvsInfo => {
                let held = std::mem::take(&mut self.0.state.lock().unwrap().held);
                for event in held {
                    self.0.say(&FromDaemon::Event(event), Vec::new());
                }
                self.0.answer(id, Answer::Dvs(DvsInfo::default()));
            }
            Request::Watch { .. } => self.0.answer(id, Answer::Done),
            // The first finds a circle of which an earlier call was part; the second one of this call.
            Request::DeadlockCheck { dc, endpoint, call } => {
                let asked = {
                    let mut state = self.0.state.lock().unwrap();
                    state.circles += 1;
                    state.circles
                };
                if asked <= 2 {
                    let cycle = vec![PEER.raw(), ME.raw()];
                    let call = if asked == 1 { call.wrapping_sub(1) } else { call };
                    self.0.say(&FromDaemon::Event(Event::Deadlock { dc, endpoint, call, cycle }), Vec::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn try_send(&self, record: &[u8]) -> dvs_abi::Result<bool> {
        self.send(record).map(|()| true)
    }

    fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)> {
        let state = self.0.state.lock().unwrap();
        let mut state = self.0.came.wait_while(state, |s| s.said.is_empty() && !s.ended).unwrap();
        state.said.pop_front()
    }

    fn end(&self) {
        self.0.state.lock().unwrap().ended = true;
        self.0.came.notify_all();
    }
}

/// A session with one link, and the peer's end of it: `notify` says something through lane 0 and rings.
fn session() -> (Process, Arc<Daemon>, impl Fn(u64)) {
    let daemon = Arc::new(Daemon::default());
    let process =
        Process::attach(Arc::new(TestHost::default()), Arc::new(Wire(daemon.clone())), "me").unwrap();
    let memory = Arc::new(HeapMemory::new(LINK_WORDS));
    let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
    let link = Event::Link { link: 0, side: 0, bell_link: 0, peer_pid: 2 };
    let memories = vec![Mapped::Memory(memory.clone()), Mapped::Memory(bell), Mapped::View(status)];
    daemon.say(&FromDaemon::Event(link), memories);
    let ringer = daemon.ringer();
    let notify = move |value: u64| {
        let link = Link::new(memory.words()).unwrap();
        link.lane(0).unwrap().notify(value);
        link.mark(Side::A, 0);
        ringer.ring(&TestHost::default(), 0);
    };
    (process, daemon, notify)
}

fn lane_opened() -> Event {
    let (from, to, may) = (PEER.raw(), ME.raw(), CallSet::ALL.0);
    Event::LaneOpened { link: 0, lane: 0, dc: DC.0, from, to, remote: false, may, peer_pid: 2 }
}

/// A call between the ring and the receive took the bell's word, and with it the hint that the daemon's word
/// of that lane was not read yet.
#[test]
fn a_ring_of_a_lane_that_is_not_known_yet_survives_other_calls() {
    let (process, daemon, notify) = session();
    let port = process.bind(DC, ME).unwrap();
    daemon.state.lock().unwrap().held.push(lane_opened());
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
    daemon.say(&FromDaemon::Event(lane_opened()), Vec::new());
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
    assert_eq!((e.code, daemon.state.lock().unwrap().circles), (Code::LOCKED, 2));
}
