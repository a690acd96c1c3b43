//! A call whose instance of a service is gone is sent again, under its number and marked so, and its caller
//! is told the truth when that is not possible. The daemon and the service are played by the test.
#![cfg(not(loom))]

use dvs_abi::limits::TASKS_MAX;
use dvs_abi::{Code, DcId, Effect, Endpoint, Error, Message, Privileges, Result, Timeout};
use dvs_ipc::Process;
use dvs_ipc::bell::{BELL_WORDS, Ringer, STATUS_WORDS};
use dvs_ipc::control::{self, Answer, BindKind, Event, FromDaemon, Numbered, Request, WireError};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::{GrantList, Lane, Taken};
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_ipc::outside::{Channel, Mapped, SessionMemory};
use dvs_ipc::testing::TestHost;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const DC: DcId = DcId(0);
const SERVICE: Endpoint = Endpoint::new(0, 9);
const ME: Endpoint = Endpoint::new(0, 10);
const WATCHDOG: Duration = Duration::from_secs(20);

/// The daemon: every lane that is asked for is the next one of the link, until there is no service any more.
#[derive(Default)]
struct Daemon {
    state: Mutex<State>,
    came: Condvar,
    memories: Mutex<Option<[Arc<HeapMemory>; 2]>>,
}

#[derive(Default)]
struct State {
    said: VecDeque<(Vec<u8>, Vec<Mapped>)>,
    lanes: u8,
    withdrawn: bool,
    ended: bool,
}

impl Daemon {
    fn say(&self, record: &FromDaemon, memories: Vec<Mapped>) {
        self.state.lock().unwrap().said.push_back((control::encode(record).unwrap(), memories));
        self.came.notify_all();
    }

    fn answer(&self, id: u64, result: std::result::Result<Answer, WireError>) {
        self.say(&FromDaemon::Reply { id, result }, Vec::new());
    }

    fn open_lane(&self, to: i32) -> std::result::Result<Answer, WireError> {
        let mut state = self.state.lock().unwrap();
        if state.withdrawn {
            return Err(Error::early(Code::DSTDIED).into());
        }
        state.lanes += 1;
        Ok(Answer::Lane { link: 0, lane: state.lanes - 1, peer_pid: 2, remote: false, to })
    }
}

struct Wire(Arc<Daemon>);

impl Channel for Wire {
    fn hello(&self, _: &[u8]) -> Result<SessionMemory> {
        let memory = |words| Arc::new(HeapMemory::new(words));
        let (bell, status, board) = (memory(BELL_WORDS), memory(STATUS_WORDS), memory(64));
        *self.0.memories.lock().unwrap() = Some([bell.clone(), status.clone()]);
        self.0.answer(1, Ok(Answer::Welcome { version: control::VERSION, session: 1, node: 0 }));
        Ok(SessionMemory { bell, status, board })
    }

    fn send(&self, record: &[u8]) -> Result<()> {
        let Numbered { id, request } = control::decode(record).unwrap();
        match request {
            Request::Bind { dc, endpoint, .. } => {
                let slot = Endpoint::from_raw(endpoint).slot();
                let privileges = Privileges::at_bind(slot, TASKS_MAX, 64).into();
                let (kind, tasks, procs, sysprocs) = (BindKind::Own, TASKS_MAX, 221, 64);
                self.0
                    .answer(id, Ok(Answer::Bound { dc, endpoint, kind, tasks, procs, sysprocs, privileges }));
            }
            Request::OpenLane { to, .. } => self.0.answer(id, self.0.open_lane(to)),
            _ => {}
        }
        Ok(())
    }

    fn try_send(&self, record: &[u8]) -> Result<bool> {
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

/// The service's side of the link.
struct Service {
    daemon: Arc<Daemon>,
    memory: Arc<HeapMemory>,
    ringer: Ringer,
}

impl Service {
    fn lane(&self, n: usize) -> Lane<'_> {
        Link::new(self.memory.words()).unwrap().lane(n).unwrap()
    }

    /// Waits for the call in a lane; its number.
    fn posted(&self, n: usize) -> u64 {
        let end = Instant::now() + WATCHDOG;
        loop {
            if let Some((seq, _)) = self.lane(n).peek() {
                return seq;
            }
            assert!(Instant::now() < end, "no call came through lane {n}");
            std::thread::yield_now();
        }
    }

    fn take(&self, n: usize) -> (u64, Message) {
        let (seq, mut m) = (self.posted(n), Message::default());
        assert_eq!(self.lane(n).take(seq, &mut m, &mut GrantList::default()), Taken::Yes);
        (seq, m)
    }

    fn tell(&self, n: usize) {
        Link::new(self.memory.words()).unwrap().mark(Side::A, n);
        self.ringer.ring(&TestHost::default(), 0);
    }

    fn reply(&self, n: usize, seq: u64, mtype: i32) {
        self.lane(n).reply(seq, &Message::new(mtype)).unwrap();
        self.tell(n);
    }

    /// The instance behind a lane is gone, by what the daemon says.
    fn lost(&self, n: u8) {
        let event = Event::LaneClosed { link: 0, lane: n, code: Code::STALE as i32 };
        self.daemon.say(&FromDaemon::Event(event), Vec::new());
    }
}

/// A client in a call, and the service.
fn call() -> (JoinHandle<Result<i32>>, Service) {
    let daemon = Arc::new(Daemon::default());
    let process =
        Process::attach(Arc::new(TestHost::default()), Arc::new(Wire(daemon.clone())), "me").unwrap();
    let memory = Arc::new(HeapMemory::new(LINK_WORDS));
    let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
    let link = Event::Link { link: 0, side: 0, bell_link: 0, peer_pid: 2 };
    let memories = vec![Mapped::Memory(memory.clone()), Mapped::Memory(bell), Mapped::View(status)];
    daemon.say(&FromDaemon::Event(link), memories);
    let [bell, status] = daemon.memories.lock().unwrap().clone().unwrap();
    let ringer = Ringer::new(bell, status).unwrap();
    let client = std::thread::spawn(move || {
        let port = process.bind(DC, ME)?;
        let mut m = Message::new(3);
        m.set_bytes(b"once").unwrap();
        port.sendrec(SERVICE, &mut m, Timeout::After(WATCHDOG)).map(|()| m.mtype())
    });
    (client, Service { daemon, memory, ringer })
}

#[test]
fn what_a_lost_instance_had_taken_is_sent_again_under_its_number() {
    let (client, service) = call();
    let (_, first) = service.take(0);
    assert!(!first.again());
    service.lost(0);
    let (seq, second) = service.take(1);
    assert!(second.again());
    assert_eq!((second.call(), second.mtype(), second.bytes()), (first.call(), 3, &b"once"[..]));
    // The next instance may be lost, too; and what comes by way of another node is the same.
    service.lane(1).fail(seq, Code::STALE, Effect::Unknown).unwrap();
    service.tell(1);
    let (seq, third) = service.take(1);
    assert_eq!((third.call(), third.again()), (first.call(), true));
    service.reply(1, seq, 8);
    assert_eq!(client.join().unwrap(), Ok(8));
}

#[test]
fn what_it_had_not_taken_is_sent_as_if_for_the_first_time() {
    let (client, service) = call();
    service.posted(0);
    service.lost(0);
    let (seq, m) = service.take(1);
    assert!(!m.again());
    service.reply(1, seq, 8);
    assert_eq!(client.join().unwrap(), Ok(8));
}

#[test]
fn when_there_is_nobody_to_send_it_to_any_more_its_effect_is_unknown() {
    for taken in [true, false] {
        let (client, service) = call();
        if taken {
            service.take(0);
        } else {
            service.posted(0);
        }
        service.daemon.state.lock().unwrap().withdrawn = true;
        service.lost(0);
        let error = client.join().unwrap().unwrap_err();
        let effect = if taken { Effect::Unknown } else { Effect::No };
        assert_eq!((error.code, error.effect), (Code::DSTDIED, effect));
    }
}
