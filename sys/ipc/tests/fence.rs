//! An instance of a service answers while its node's lease holds; after that its answers wait, and go out
//! when it may answer again. The daemon and the caller are played by the test.
#![cfg(not(loom))]

use dvs_abi::limits::TASKS_MAX;
use dvs_abi::{CallSet, DcId, Endpoint, Kind, Message, Privileges, Result, Timeout};
use dvs_ipc::bell::{BELL_WORDS, Ringer, STATUS_WORDS};
use dvs_ipc::control::{self, Answer, BindKind, Duty, DvsInfo, Event, FromDaemon, Numbered, Request, board};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::{Lane, Outcome};
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_ipc::outside::{Channel, Mapped, SessionMemory};
use dvs_ipc::testing::TestHost;
use dvs_ipc::{Port, Process};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

const DC: DcId = DcId(0);
const SERVICE: Endpoint = Endpoint::new(0, 9);
const CALLER: Endpoint = Endpoint::new(0, 10);
/// Only what never comes takes so long.
const PATIENT: Timeout = Timeout::After(std::time::Duration::from_secs(10));
/// Which binding of its endpoint the caller is, by the daemon's word.
const BINDING: u64 = 77;

/// The daemon: binds what is asked for.
struct Daemon {
    said: Mutex<(VecDeque<(Vec<u8>, Vec<Mapped>)>, bool)>,
    came: Condvar,
    memories: [Arc<HeapMemory>; 3],
}

impl Daemon {
    fn new() -> Arc<Daemon> {
        let memories = [BELL_WORDS, STATUS_WORDS, 64].map(|words| Arc::new(HeapMemory::new(words)));
        Arc::new(Daemon { said: Mutex::default(), came: Condvar::new(), memories })
    }

    fn say(&self, record: &FromDaemon, memories: Vec<Mapped>) {
        self.said.lock().unwrap().0.push_back((control::encode(record).unwrap(), memories));
        self.came.notify_all();
    }

    fn event(&self, event: Event) {
        self.say(&FromDaemon::Event(event), Vec::new());
    }

    fn answer(&self, id: u64, answer: Answer) {
        self.say(&FromDaemon::Reply { id, result: Ok(answer) }, Vec::new());
    }

    /// Until when the node's lease holds.
    fn lease(&self, until: u64) {
        let words = self.memories[2].words();
        words[words.len() - board::LEASE_BACK].store(until, Ordering::Release);
    }
}

struct Wire(Arc<Daemon>);

impl Channel for Wire {
    fn hello(&self, _: &[u8]) -> Result<SessionMemory> {
        self.0.answer(1, Answer::Welcome { version: control::VERSION, session: 1, node: 0 });
        let [bell, status, board] = self.0.memories.clone();
        Ok(SessionMemory { bell, status, board })
    }

    fn send(&self, record: &[u8]) -> Result<()> {
        let Numbered { id, request } = control::decode(record).unwrap();
        match request {
            Request::Bind { dc, endpoint, .. } => {
                let slot = Endpoint::from_raw(endpoint).slot();
                let privileges = Privileges::at_bind(slot, TASKS_MAX, 64).into();
                let (kind, tasks, procs, sysprocs) = (BindKind::Own, TASKS_MAX, 221, 64);
                self.0.answer(id, Answer::Bound { dc, endpoint, kind, tasks, procs, sysprocs, privileges });
            }
            Request::DvsInfo => self.0.answer(id, Answer::Dvs(DvsInfo::default())),
            _ => {}
        }
        Ok(())
    }

    fn try_send(&self, record: &[u8]) -> Result<bool> {
        self.send(record).map(|()| true)
    }

    fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)> {
        let said = self.0.said.lock().unwrap();
        let mut said = self.0.came.wait_while(said, |s| s.0.is_empty() && !s.1).unwrap();
        said.0.pop_front()
    }

    fn end(&self) {
        self.0.said.lock().unwrap().1 = true;
        self.0.came.notify_all();
    }
}

/// An instance, its daemon, and the link over which it is called.
struct World {
    daemon: Arc<Daemon>,
    process: Process,
    port: Port,
    memory: Arc<HeapMemory>,
}

impl World {
    fn start() -> World {
        let daemon = Daemon::new();
        let process =
            Process::attach(Arc::new(TestHost::default()), Arc::new(Wire(daemon.clone())), "me").unwrap();
        let port = process.bind(DC, SERVICE).unwrap();
        let memory = Arc::new(HeapMemory::new(LINK_WORDS));
        let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
        let link = Event::Link { link: 0, side: 0, bell_link: 0, peer_pid: 2 };
        let memories = vec![Mapped::Memory(memory.clone()), Mapped::Memory(bell), Mapped::View(status)];
        daemon.say(&FromDaemon::Event(link), memories);
        let (from, to, may) = (CALLER.raw(), SERVICE.raw(), CallSet::ALL.0);
        let (remote, peer_pid, binding) = (false, 2, BINDING);
        daemon.event(Event::LaneOpened {
            link: 0,
            lane: 0,
            dc: DC.0,
            from,
            to,
            remote,
            may,
            peer_pid,
            binding,
        });
        World { daemon, process, port, memory }
    }

    fn lane(&self) -> Lane<'_> {
        Link::new(self.memory.words()).unwrap().lane(0).unwrap()
    }

    fn may(&self, may: Duty, after: Duty) {
        self.daemon.event(Event::Instance { dc: DC.0, endpoint: SERVICE.raw(), may, after });
        self.heard();
    }

    /// All that the daemon has said was carried in.
    fn heard(&self) {
        self.process.system().dvs_info().unwrap();
    }

    /// A call is made and answered by the instance; its number.
    fn call(&self) -> u64 {
        let mut m = Message::new(3);
        m.set_binding(1);
        let seq = self.lane().post(Kind::Request, &m, &[]).unwrap();
        Link::new(self.memory.words()).unwrap().mark(Side::A, 0);
        let [bell, status, _] = self.daemon.memories.clone();
        Ringer::new(bell, status).unwrap().ring(&TestHost::default(), 0);
        self.port.receive(Endpoint::ANY, &mut m, PATIENT).unwrap();
        assert_eq!((m.source(), m.binding()), (CALLER, BINDING), "whatever the caller wrote");
        m.set_mtype(8);
        self.port.reply(CALLER, &mut m, Timeout::Forever).unwrap();
        seq
    }

    fn outcome(&self, seq: u64) -> Outcome {
        self.lane().collect(seq, &mut Message::default())
    }
}

#[test]
fn answers_go_out_while_the_lease_holds_and_wait_after_that() {
    let w = World::start();
    w.heard();
    let seq = w.call();
    assert_eq!(w.outcome(seq), Outcome::Replied, "it is an instance of nothing");
    w.daemon.lease(u64::MAX);
    w.may(Duty::Full, Duty::Stopped);
    let seq = w.call();
    assert_eq!(w.outcome(seq), Outcome::Replied);
    // The daemon is stopped: the word stays as it is, and its time passes.
    w.daemon.lease(1);
    let seq = w.call();
    assert_eq!((w.outcome(seq), w.port.duty()), (Outcome::Pending, Duty::Stopped));
    w.may(Duty::Stopped, Duty::Stopped);
    assert_eq!(w.outcome(seq), Outcome::Pending);
    w.daemon.lease(u64::MAX);
    w.may(Duty::Full, Duty::Stopped);
    assert_eq!(w.outcome(seq), Outcome::Replied, "nobody else has served meanwhile, or its lane was closed");
    // The same when nobody had time to say that it had stopped.
    w.daemon.lease(1);
    let seq = w.call();
    assert_eq!(w.outcome(seq), Outcome::Pending);
    w.daemon.lease(u64::MAX);
    w.daemon.event(Event::LeasedAgain);
    w.heard();
    assert_eq!(w.outcome(seq), Outcome::Replied);
}

#[test]
fn an_answer_that_waits_is_dropped_with_its_lane() {
    let w = World::start();
    w.may(Duty::Stopped, Duty::Stopped);
    let seq = w.call();
    let closed = Event::LaneClosed { link: 0, lane: 0, code: dvs_abi::Code::STALE as i32 };
    w.daemon.event(closed);
    w.may(Duty::Full, Duty::Full);
    assert_eq!(w.outcome(seq), Outcome::Closed(dvs_abi::Effect::Unknown));
}

#[test]
fn the_rule_says_what_may_be_answered_without_a_lease() {
    let w = World::start();
    for (after, goes) in [(Duty::Full, true), (Duty::Reads, true), (Duty::Stopped, false)] {
        w.daemon.lease(1);
        w.may(Duty::Full, after);
        assert_eq!(w.port.duty(), after);
        let seq = w.call();
        assert_eq!(w.outcome(seq) == Outcome::Replied, goes, "{after:?}");
    }
}
