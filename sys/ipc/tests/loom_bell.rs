//! The doorbell under the model checker: no wake-up is lost. A lost one would leave the owner asleep for
//! good, which the checker reports as a deadlock. See `loom_lane.rs` for how to run it.
#![cfg(loom)]

use dvs_abi::{Code, Deadline, Kind, Message};
use dvs_ipc::bell::{BELL_WORDS, Bell, Ringer, STATUS_WORDS, Waited, bits};
use dvs_ipc::host::{HeapMemory, Host, Memory, Space, Wake};
use dvs_ipc::lane::{GrantList, Outcome, Taken};
use dvs_ipc::link::{LINK_WORDS, Link, Side};
use dvs_ipc::sync::{AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// The kernel's futex: the word is compared and the sleeper queued under the lock a wake takes. Time stands
/// still.
struct Futex {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn new() -> Arc<Futex> {
        Arc::new(Futex { lock: Mutex::new(()), woken: Condvar::new() })
    }
}

impl Host for Futex {
    fn now(&self) -> u64 {
        0
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn futex_wait(&self, word: &AtomicU64, expect: u32, _: Deadline, _: bool) -> Wake {
        let held = self.lock.lock().unwrap();
        if word.load(dvs_ipc::sync::Ordering::Relaxed) as u32 != expect {
            return Wake::Changed;
        }
        drop(self.woken.wait(held).unwrap());
        Wake::Woken
    }
    fn futex_wake(&self, _: &AtomicU64, _: u32, _: bool) {
        let _held = self.lock.lock().unwrap();
        self.woken.notify_one();
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

fn bell() -> (Bell, Ringer) {
    let (bell, status) = (Arc::new(HeapMemory::new(BELL_WORDS)), Arc::new(HeapMemory::new(STATUS_WORDS)));
    let ringer = Ringer::new(bell.clone(), status.clone()).unwrap();
    (Bell::new(bell, status).unwrap(), ringer)
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

fn wait(bell: &mut Bell, host: &Futex) -> Vec<usize> {
    match bell.wait(host, Deadline::NEVER, 0) {
        Waited::Rung(pending) => pending.links().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn loom_two_ringers_are_both_heard() {
    check(3, || {
        let (mut bell, ringer) = bell();
        let futex = Futex::new();
        let peers = [1, 2].map(|link| {
            let (ringer, futex) = (ringer.clone(), futex.clone());
            thread::spawn(move || ringer.ring(&*futex, link))
        });
        let mut heard = [false; 3];
        while !(heard[1] && heard[2]) {
            wait(&mut bell, &futex).into_iter().for_each(|link| heard[link] = true);
        }
        peers.into_iter().for_each(|p| p.join().unwrap());
    });
}

#[test]
fn loom_an_overflow_ring_is_heard_beside_a_direct_one() {
    check(3, || {
        let (mut bell, ringer) = bell();
        let futex = Futex::new();
        let peers = [40, 2].map(|link| {
            let (ringer, futex) = (ringer.clone(), futex.clone());
            thread::spawn(move || ringer.ring(&*futex, link))
        });
        let mut left = vec![2, 40];
        while !left.is_empty() {
            let rung = wait(&mut bell, &futex);
            left.retain(|link| !rung.contains(link));
        }
        peers.into_iter().for_each(|p| p.join().unwrap());
    });
}

#[test]
fn loom_a_ring_is_seen_by_the_deputy_or_wakes_the_owner() {
    check(3, || {
        let (mut bell, ringer) = bell();
        let (futex, deputy) = (Futex::new(), Arc::new(bell.deputy()));
        let peer = {
            let (ringer, futex) = (ringer.clone(), futex.clone());
            thread::spawn(move || ringer.ring(&*futex, 7))
        };
        let watcher = {
            let (deputy, ringer, futex) = (deputy.clone(), ringer.clone(), futex.clone());
            thread::spawn(move || {
                let mut heard = 0;
                if deputy.watch() {
                    heard += deputy.take().links().filter(|l| *l == 7).count();
                    if deputy.end() {
                        heard += deputy.take().links().filter(|l| *l == 7).count();
                    }
                }
                // The owner is told, so that it does not wait for what was seen here.
                if heard > 0 {
                    ringer.ring(&*futex, 8);
                }
                heard
            })
        };
        let heard_here = wait(&mut bell, &futex).iter().filter(|l| **l == 7).count();
        peer.join().unwrap();
        let heard_there = watcher.join().unwrap();
        assert_eq!(heard_here + heard_there, 1, "once, by one of them");
    });
}

#[test]
fn loom_notices_marks_and_rings_reach_a_sleeper() {
    check(3, || {
        let memory = Arc::new(HeapMemory::new(LINK_WORDS));
        let (mut bell, ringer) = bell();
        let futex = Futex::new();
        let peer = {
            let (memory, futex) = (memory.clone(), futex.clone());
            thread::spawn(move || {
                let link = Link::new(memory.words()).unwrap();
                for n in [0, 1] {
                    link.lane(n).unwrap().notify(1 << n);
                    link.mark(Side::B, n);
                    ringer.ring(&*futex, 0);
                }
            })
        };
        let link = Link::new(memory.words()).unwrap();
        let mut noticed = 0;
        while noticed != 3 {
            wait(&mut bell, &futex);
            for n in bits(link.take_ready(Side::B)) {
                noticed |= link.lane(n).unwrap().take_notice().unwrap_or(0);
            }
        }
        peer.join().unwrap();
    });
}

#[test]
fn loom_a_call_and_its_answer_wake_both_sides() {
    check(2, || {
        let memory = Arc::new(HeapMemory::new(LINK_WORDS));
        let (mut client_bell, client_ringer) = bell();
        let (mut server_bell, server_ringer) = bell();
        // One futex each: a condition variable has one queue.
        let (client_futex, server_futex) = (Futex::new(), Futex::new());
        let server = {
            let (memory, futex, peer) = (memory.clone(), server_futex.clone(), client_futex.clone());
            thread::spawn(move || {
                let link = Link::new(memory.words()).unwrap();
                let lane = link.lane(0).unwrap();
                let (mut m, mut grants) = (Message::default(), GrantList::default());
                loop {
                    wait(&mut server_bell, &futex);
                    if link.take_ready(Side::B) != 0
                        && let Some((seq, _)) = lane.peek()
                    {
                        assert_eq!(lane.take(seq, &mut m, &mut grants), Taken::Yes);
                        lane.reply(seq, &Message::new(m.mtype() + 1)).unwrap();
                        link.mark(Side::A, 0);
                        client_ringer.ring(&*peer, 0);
                        return;
                    }
                }
            })
        };
        let link = Link::new(memory.words()).unwrap();
        let lane = link.lane(0).unwrap();
        let seq = lane.post(Kind::Request, &Message::new(1), &[]).unwrap();
        link.mark(Side::B, 0);
        server_ringer.ring(&*server_futex, 0);
        let mut answer = Message::default();
        while lane.collect(seq, &mut answer) == Outcome::Pending {
            wait(&mut client_bell, &client_futex);
            link.take_ready(Side::A);
        }
        assert_eq!(answer.mtype(), 2);
        server.join().unwrap();
    });
}

/// One thread waits on the bell and takes what rang; another makes a call meanwhile. What was rung before its
/// call it must find, whoever brings it in.
#[test]
fn loom_what_another_thread_took_is_found() {
    check(3, || {
        let memory = Arc::new(HeapMemory::new(LINK_WORDS));
        let (mut bell, ringer) = bell();
        let (glance, futex) = (bell.glance(), Futex::new());
        // The table of the process, and how much of the bell is in it.
        let core = Arc::new((Mutex::new(0), AtomicU64::new(0)));
        let taker = {
            let (memory, futex, core, glance) = (memory.clone(), futex.clone(), core.clone(), glance.clone());
            thread::spawn(move || {
                wait(&mut bell, &futex);
                let mut table = core.0.lock().unwrap();
                *table |= Link::new(memory.words()).unwrap().take_ready(Side::B);
                core.1.store(glance.taken(), Ordering::Relaxed);
            })
        };
        Link::new(memory.words()).unwrap().mark(Side::B, 0);
        ringer.ring(&*futex, 0);
        {
            let mut table = core.0.lock().unwrap();
            if glance.unseen(core.1.load(Ordering::Relaxed)) {
                *table |= Link::new(memory.words()).unwrap().take_ready(Side::B);
            }
            assert_eq!(*table, 1, "a ring before the call was not seen by it");
        }
        taker.join().unwrap();
    });
}
