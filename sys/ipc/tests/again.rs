//! A call whose instance of a service is gone is sent again, under its number and marked so, and its caller
//! is told the truth when that is not possible. The daemon and the service are played by the test.
#![cfg(not(loom))]

mod played;

use dvs_abi::{Code, DcId, Effect, Endpoint, Error, Message, Result, Timeout};
use dvs_ipc::control::{Answer, Event, Request};
use dvs_ipc::lane::{GrantList, Lane, Taken};
use played::{Daemon, Peer, Rules};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const DC: DcId = DcId(0);
const SERVICE: Endpoint = Endpoint::new(0, 9);
const ME: Endpoint = Endpoint::new(0, 10);
const WATCHDOG: Duration = Duration::from_secs(20);

/// Every lane that is asked for is the next one of the link, until there is no service any more.
#[derive(Default)]
struct Lanes {
    opened: AtomicU8,
    withdrawn: AtomicBool,
    stopped: AtomicBool,
}

impl Rules for Lanes {
    fn asked(&self, daemon: &Daemon<Self>, id: u64, request: Request) {
        let Request::OpenLane { to, .. } = request else { return };
        if self.withdrawn.load(Ordering::SeqCst) {
            return daemon.answer(id, Err(Error::early(Code::DSTDIED).into()));
        }
        let lane = self.opened.fetch_add(1, Ordering::SeqCst);
        daemon.answer(
            id,
            Ok(Answer::Lane { link: 0, lane, peer_pid: 2, remote: false, to, epoch: 40 + u64::from(lane) }),
        );
    }

    fn reads(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst)
    }
}

/// The service's side of the link.
struct Service {
    daemon: Arc<Daemon<Lanes>>,
    peer: Peer,
}

impl Service {
    fn lane(&self, n: usize) -> Lane<'_> {
        self.peer.link().lane(n).unwrap()
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

    fn reply(&self, n: usize, seq: u64, mtype: i32) {
        self.lane(n).reply(seq, &Message::new(mtype)).unwrap();
        self.peer.ring(n);
    }

    /// The instance behind a lane is gone, by what the daemon says.
    fn lost(&self, n: u8) {
        self.daemon.tell(Event::LaneClosed { link: 0, lane: n, code: Code::STALE as i32 });
    }
}

/// A client in a call, and the service.
fn call() -> (JoinHandle<Result<i32>>, Service) {
    let (process, daemon, peer) = played::session();
    let client = std::thread::spawn(move || {
        let port = process.bind(DC, ME)?;
        let mut m = Message::new(3);
        m.set_bytes(b"once").unwrap();
        port.sendrec(SERVICE, &mut m, Timeout::After(WATCHDOG)).map(|()| m.mtype())
    });
    (client, Service { daemon, peer })
}

#[test]
fn what_a_lost_instance_had_taken_is_sent_again_under_its_number() {
    let (client, service) = call();
    let (_, first) = service.take(0);
    assert!(!first.again());
    service.lost(0);
    let (seq, second) = service.take(1);
    assert!(second.again());
    assert!(second.epoch() > first.epoch(), "it is another place");
    assert_eq!((second.call(), second.mtype(), second.bytes()), (first.call(), 3, &b"once"[..]));
    // The next instance may be lost, too; and what comes by way of another node is the same.
    service.lane(1).fail(seq, Code::STALE, Effect::Unknown).unwrap();
    service.peer.ring(1);
    let (seq, third) = service.take(1);
    assert_eq!((third.call(), third.again()), (first.call(), true));
    service.reply(1, seq, 8);
    assert_eq!(client.join().unwrap(), Ok(8));
}

#[test]
fn a_lane_that_its_other_side_closed_first_ends_with_the_word_of_the_daemon() {
    let (client, service) = call();
    service.take(0);
    service.lane(0).close();
    service.peer.ring(0);
    // The client looks at the lane meanwhile; how long the daemon takes does not matter.
    std::thread::park_timeout(Duration::from_millis(50));
    service.lost(0);
    let (seq, second) = service.take(1);
    assert!(second.again());
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
        service.daemon.rules.withdrawn.store(true, Ordering::SeqCst);
        service.lost(0);
        let error = client.join().unwrap().unwrap_err();
        let effect = if taken { Effect::Unknown } else { Effect::No };
        assert_eq!((error.code, error.effect), (Code::DSTDIED, effect));
    }
}

#[test]
fn a_daemon_that_reads_nothing_holds_nobody_beyond_the_deadline() {
    let (process, daemon, _) = played::session::<Lanes>();
    let port = process.bind(DC, ME).unwrap();
    daemon.rules.stopped.store(true, Ordering::SeqCst);
    let timeout = Timeout::After(Duration::from_millis(50));
    let error = port.sendrec(SERVICE, &mut Message::new(3), timeout).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::TIMEDOUT, Effect::No));
    // Before the port says that it goes.
    daemon.rules.stopped.store(false, Ordering::SeqCst);
}
