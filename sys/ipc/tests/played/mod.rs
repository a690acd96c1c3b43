//! A session whose daemon is played by the test: it binds whatever is asked for, and says the rest when the
//! test wants.

use dvs_abi::limits::TASKS_MAX;
use dvs_abi::{Endpoint, Privileges, Result};
use dvs_ipc::Process;
use dvs_ipc::bell::{BELL_WORDS, Ringer, STATUS_WORDS};
use dvs_ipc::control::{self, Answer, BindKind, Event, FromDaemon, Numbered, Request, WireError};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_ipc::outside::{Channel, Mapped, SessionMemory};
use dvs_ipc::testing::TestHost;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

/// What a test's daemon does with all but `Hello` and `Bind`.
pub trait Rules: Default + Send + Sync + 'static {
    /// A session asks; `id` of zero wants no answer.
    fn asked(&self, daemon: &Daemon<Self>, id: u64, request: Request);

    /// Whether it reads what it is sent; if not, its socket is full.
    fn reads(&self) -> bool {
        true
    }
}

/// The daemon.
#[derive(Default)]
pub struct Daemon<R> {
    pub rules: R,
    said: Mutex<Said>,
    came: Condvar,
    memories: Mutex<Option<[Arc<HeapMemory>; 3]>>,
}

#[derive(Default)]
struct Said {
    records: VecDeque<(Vec<u8>, Vec<Mapped>)>,
    ended: bool,
}

impl<R: Rules> Daemon<R> {
    pub fn say(&self, record: &FromDaemon, memories: Vec<Mapped>) {
        self.said.lock().unwrap().records.push_back((control::encode(record).unwrap(), memories));
        self.came.notify_all();
    }

    pub fn tell(&self, event: Event) {
        self.say(&FromDaemon::Event(event), Vec::new());
    }

    pub fn answer(&self, id: u64, result: std::result::Result<Answer, WireError>) {
        self.say(&FromDaemon::Reply { id, result }, Vec::new());
    }

    /// The session's bell, as its peers have it.
    fn ringer(&self) -> Ringer {
        let [bell, status, _] = self.memories.lock().unwrap().clone().unwrap();
        Ringer::new(bell, status).unwrap()
    }

    /// Until when the node's lease holds.
    #[allow(dead_code)] // not every test has services
    pub fn lease(&self, until: u64) {
        let [.., board] = self.memories.lock().unwrap().clone().unwrap();
        let words = board.words();
        words[words.len() - control::board::LEASE_BACK].store(until, Ordering::Release);
    }
}

struct Wire<R>(Arc<Daemon<R>>);

impl<R: Rules> Channel for Wire<R> {
    fn hello(&self, _: &[u8]) -> Result<SessionMemory> {
        let memory = |words| Arc::new(HeapMemory::new(words));
        let (bell, status, board) = (memory(BELL_WORDS), memory(STATUS_WORDS), memory(64));
        *self.0.memories.lock().unwrap() = Some([bell.clone(), status.clone(), board.clone()]);
        self.0.answer(1, Ok(Answer::Welcome { version: control::VERSION, session: 1, node: 0 }));
        Ok(SessionMemory { bell, status, board })
    }

    fn send(&self, record: &[u8]) -> Result<()> {
        assert!(self.0.rules.reads(), "somebody is held by a daemon that reads nothing");
        let Numbered { id, request } = control::decode(record).unwrap();
        let Request::Bind { dc, endpoint, .. } = request else {
            self.0.rules.asked(&self.0, id, request);
            return Ok(());
        };
        let slot = Endpoint::from_raw(endpoint).slot();
        let privileges = Privileges::at_bind(slot, TASKS_MAX, 64).into();
        let (kind, tasks, procs, sysprocs) = (BindKind::Own, TASKS_MAX, 221, 64);
        self.0.answer(id, Ok(Answer::Bound { dc, endpoint, kind, tasks, procs, sysprocs, privileges }));
        Ok(())
    }

    fn try_send(&self, record: &[u8]) -> Result<bool> {
        if self.0.rules.reads() { self.send(record).map(|()| true) } else { Ok(false) }
    }

    fn receive(&self) -> Option<(Vec<u8>, Vec<Mapped>)> {
        let said = self.0.said.lock().unwrap();
        let mut said = self.0.came.wait_while(said, |s| s.records.is_empty() && !s.ended).unwrap();
        said.records.pop_front()
    }

    fn end(&self) {
        self.0.said.lock().unwrap().ended = true;
        self.0.came.notify_all();
    }
}

/// The peer's side of the session's one link.
pub struct Peer {
    pub memory: Arc<HeapMemory>,
    ringer: Ringer,
}

impl Peer {
    pub fn link(&self) -> Link<'_> {
        Link::new(self.memory.words()).unwrap()
    }

    /// Says that there is something in a lane.
    pub fn ring(&self, lane: usize) {
        self.link().mark(Side::A, lane);
        self.ringer.ring(&TestHost::default(), 0);
    }
}

/// A session with one link, its daemon, and the link's other side.
pub fn session<R: Rules>() -> (Process, Arc<Daemon<R>>, Peer) {
    let daemon = Arc::new(Daemon::<R>::default());
    let channel = Arc::new(Wire(daemon.clone()));
    let process = Process::attach(Arc::new(TestHost::default()), channel, "me").unwrap();
    let memory = Arc::new(HeapMemory::new(LINK_WORDS));
    let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
    let link = Event::Link { link: 0, side: 0, bell_link: 0, peer_pid: 2 };
    let memories = vec![Mapped::Memory(memory.clone()), Mapped::Memory(bell), Mapped::View(status)];
    daemon.say(&FromDaemon::Event(link), memories);
    let ringer = daemon.ringer();
    (process, daemon, Peer { memory, ringer })
}
