use super::{BELL_WORDS, Bell, CONTROL, FLAGS, Ringer, STATUS_WORDS, Spun, Waited};
use crate::host::{HeapMemory, Host, Memory, Space, Wake};
use crate::sync::{AtomicU64, Ordering};
use dvs_abi::limits::RECHECK_MAX_NS;
use dvs_abi::{Code, Deadline};
use std::sync::Arc;
use std::sync::Mutex;

type Step = Box<dyn FnOnce(&AtomicU64) -> Wake + Send>;

/// A host whose time moves by sleeping, and that runs a script instead of sleeping.
#[derive(Default)]
struct Script {
    now: AtomicU64,
    sleeps: Mutex<Vec<u64>>,
    wakes: AtomicU64,
    on_sleep: Mutex<Vec<Step>>,
}

impl Host for Script {
    fn now(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn futex_wait(&self, word: &AtomicU64, expect: u32, deadline: Deadline, shared: bool) -> Wake {
        assert!(shared && expect == 0);
        let now = self.now.load(Ordering::Relaxed);
        self.sleeps.lock().unwrap().push(deadline.remaining(now));
        let step = self.on_sleep.lock().unwrap().pop();
        step.map_or_else(
            || {
                self.now.store(deadline.ns(), Ordering::Relaxed);
                Wake::TimedOut
            },
            |step| step(word),
        )
    }
    fn futex_wake(&self, _word: &AtomicU64, n: u32, shared: bool) {
        assert!(shared);
        self.wakes.fetch_add(n as u64, Ordering::Relaxed);
    }
    fn read_peer(&self, _: u32, _: u64, _: &mut [u8]) -> Result<(), Code> {
        Err(Code::NOSYS)
    }
    fn write_peer(&self, _: u32, _: u64, _: &[u8]) -> Result<(), Code> {
        Err(Code::NOSYS)
    }
    fn copy(&self, _: Space, _: u64, _: Space, _: u64, _: u64) -> Result<(), Code> {
        Err(Code::NOSYS)
    }
}

fn pages() -> (Arc<HeapMemory>, Arc<HeapMemory>, Bell, Ringer) {
    let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
    let owner = Bell::new(bell.clone(), status.clone()).unwrap();
    let ringer = Ringer::new(bell.clone(), status.clone()).unwrap();
    (bell, status, owner, ringer)
}

#[test]
fn every_link_number_arrives_once() {
    let (_, _, mut bell, ringer) = pages();
    let host = Script::default();
    let links = [0, 1, 30, 31, 32, 63, 64, 1023];
    for n in links.into_iter().chain([1024, usize::MAX]) {
        ringer.ring(&host, n);
    }
    let Waited::Rung(pending) = bell.wait(&host, Deadline::NEVER, 0) else { panic!("not rung") };
    assert_eq!(pending.links().collect::<Vec<_>>(), links);
    assert!(!pending.control && !pending.own);
    assert!(bell.poll().is_empty());
    assert_eq!(host.wakes.load(Ordering::Relaxed), 0, "nobody slept, nobody is woken");
}

#[test]
fn control_and_own_are_told_apart() {
    let (_, _, mut bell, ringer) = pages();
    let host = Script::default();
    ringer.ring_control(&host);
    let pending = bell.poll();
    assert!(pending.control && !pending.own && pending.links().next().is_none());
    bell.ringer().ring_own(&host);
    let pending = bell.poll();
    assert!(!pending.control && pending.own);
}

#[test]
fn a_sleeper_says_so_and_is_woken() {
    let (_, status, mut bell, ringer) = pages();
    let host = Arc::new(Script::default());
    let peer = host.clone();
    host.on_sleep.lock().unwrap().push(Box::new(move |_| {
        assert_eq!(status.words()[0].load(Ordering::Relaxed), 1);
        ringer.ring(&*peer, 7);
        Wake::Woken
    }));
    let Waited::Rung(pending) = bell.wait(&*host, Deadline::NEVER, 0) else { panic!("not rung") };
    assert_eq!(pending.links().collect::<Vec<_>>(), [7]);
    assert_eq!((host.wakes.load(Ordering::Relaxed), bell.spun()), (1, Spun::Not));
    assert_eq!(bell.status.words()[0].load(Ordering::Relaxed), 0);
}

#[test]
fn an_idle_bell_rechecks_ever_more_rarely() {
    let (_, _, mut bell, _) = pages();
    let host = Script::default();
    for _ in 0..12 {
        assert_eq!(bell.wait(&host, Deadline::NEVER, 0), Waited::Recheck);
    }
    let sleeps = host.sleeps.lock().unwrap();
    assert!(sleeps.len() == 12 && *sleeps.last().unwrap() > RECHECK_MAX_NS / 2, "{sleeps:?}");
}

#[test]
fn deadlines_signals_and_spinning() {
    let (_, _, mut bell, _) = pages();
    let host = Script::default();
    assert_eq!(bell.wait(&host, Deadline::NOW, 0), Waited::TimedOut);
    assert_eq!(bell.wait(&host, Deadline::from_ns(host.now() + 1000), 0), Waited::TimedOut);
    host.on_sleep.lock().unwrap().push(Box::new(|_| Wake::Interrupted));
    assert_eq!(bell.wait(&host, Deadline::NEVER, 100), Waited::Interrupted);
    assert_eq!(bell.spun(), Spun::Miss);
}

#[test]
fn garbage_in_the_bell_wakes_once_and_does_no_harm() {
    let (memory, _, mut bell, _) = pages();
    for word in memory.words() {
        word.store(u64::MAX, Ordering::Relaxed);
    }
    let pending = bell.poll();
    assert_eq!(pending.links().max(), Some(1023));
    assert!(pending.control && pending.own);
    memory.words()[0].store(1 << 40, Ordering::Relaxed);
    memory.words()[FLAGS].store(CONTROL, Ordering::Relaxed);
    assert!(bell.poll().is_empty(), "the upper half is not looked at");
}

#[test]
fn a_flood_of_rings_cannot_hide_an_erased_one() {
    let (_, _, mut bell, ringer) = pages();
    let host = Script::default();
    let mut rechecks = 0;
    for _ in 0..1_000_000 {
        ringer.ring(&host, 1);
        host.now.fetch_add(100, Ordering::Relaxed);
        rechecks += (bell.wait(&host, Deadline::NEVER, 0) == Waited::Recheck) as u32;
    }
    assert!(rechecks >= 1, "no re-check in 100 ms of traffic");
}

#[test]
fn short_pages_are_refused() {
    let (long, short) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(0)));
    assert!(Bell::new(short.clone(), long.clone()).is_none());
    assert!(Bell::new(long.clone(), short.clone()).is_none());
    assert!(Ringer::new(short, long).is_none());
}

#[test]
fn a_ring_wakes_nobody_while_a_deputy_watches_and_the_owner_afterwards() {
    let (_, status, owner, ringer) = pages();
    let (host, deputy) = (Script::default(), owner.deputy());
    // As if the owner slept.
    status.words()[0].store(1, Ordering::Relaxed);
    assert!(deputy.watch() && !deputy.watch() && deputy.watched());
    ringer.ring(&host, 3);
    ringer.ring(&host, 40);
    assert_eq!(host.wakes.load(Ordering::Relaxed), 0);
    assert!(deputy.rung() && deputy.take().links().eq([3, 40]) && !deputy.rung());
    ringer.ring(&host, 5);
    assert!(deputy.end() && deputy.take().links().eq([5]), "what came before the end is for the deputy");
    ringer.ring(&host, 6);
    assert_eq!(host.wakes.load(Ordering::Relaxed), 1);
    assert!(!deputy.watched() && deputy.watch());
    deputy.rouse(&host);
    assert_eq!(host.wakes.load(Ordering::Relaxed), 2, "whatever is said of its sleep");
    assert!(deputy.take().own);
}
