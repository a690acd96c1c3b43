//! An instance of a service answers while its node's lease holds; after that its answers wait, and go out
//! when it may answer again. The daemon and the caller are played by the test.
#![cfg(not(loom))]

mod played;

use dvs_abi::{CallSet, DcId, Endpoint, Kind, Message, Timeout};
use dvs_ipc::control::{Answer, Duty, DvsInfo, Event, Request};
use dvs_ipc::lane::{Lane, Outcome};
use dvs_ipc::{Port, Process};
use played::{Daemon, Peer, Rules};
use std::sync::Arc;

const DC: DcId = DcId(0);
const SERVICE: Endpoint = Endpoint::new(0, 9);
const CALLER: Endpoint = Endpoint::new(0, 10);
/// Only what never comes takes so long.
const PATIENT: Timeout = Timeout::After(std::time::Duration::from_secs(10));
/// Which binding of its endpoint the caller is, by the daemon's word.
const BINDING: u64 = 77;

/// Tells whoever asks that all was said.
#[derive(Default)]
struct Heard;

impl Rules for Heard {
    fn asked(&self, daemon: &Daemon<Self>, id: u64, request: Request) {
        if let Request::DvsInfo = request {
            daemon.answer(id, Ok(Answer::Dvs(DvsInfo::default())));
        }
    }
}

/// An instance, its daemon, and the link over which it is called.
struct World {
    daemon: Arc<Daemon<Heard>>,
    process: Process,
    port: Port,
    peer: Peer,
}

impl World {
    fn start() -> World {
        let (process, daemon, peer) = played::session();
        let port = process.bind(DC, SERVICE).unwrap();
        let (from, to, may) = (CALLER.raw(), SERVICE.raw(), CallSet::ALL.0);
        let (remote, peer_pid, binding) = (false, 2, BINDING);
        daemon.tell(Event::LaneOpened {
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
        World { daemon, process, port, peer }
    }

    fn lane(&self) -> Lane<'_> {
        self.peer.link().lane(0).unwrap()
    }

    fn may(&self, may: Duty, after: Duty) {
        self.daemon.tell(Event::Instance { dc: DC.0, endpoint: SERVICE.raw(), may, after });
        self.heard();
    }

    /// All that the daemon has said was carried in.
    fn heard(&self) {
        self.process.system().dvs_info().unwrap();
    }

    /// A call is made; its number.
    fn post(&self) -> u64 {
        let mut m = Message::new(3);
        m.set_binding(1);
        let seq = self.lane().post(Kind::Request, &m, &[]).unwrap();
        self.peer.ring(0);
        seq
    }

    /// A call is made and answered by the instance; its number.
    fn call(&self) -> u64 {
        let seq = self.post();
        let mut m = Message::default();
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
    w.daemon.tell(Event::LeasedAgain);
    w.heard();
    assert_eq!(w.outcome(seq), Outcome::Replied);
}

#[test]
fn an_answer_that_waits_is_dropped_with_its_lane() {
    let w = World::start();
    w.may(Duty::Stopped, Duty::Stopped);
    let seq = w.call();
    let closed = Event::LaneClosed { link: 0, lane: 0, code: dvs_abi::Code::STALE as i32 };
    w.daemon.tell(closed);
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

#[test]
fn an_instance_that_unbinds_leaves_its_calls_to_the_daemon() {
    for taken in [true, false] {
        let w = World::start();
        w.may(Duty::Full, Duty::Full);
        let seq = w.post();
        if taken {
            w.port.receive(Endpoint::ANY, &mut Message::default(), PATIENT).unwrap();
        } else {
            // It has arrived at the latest when another endpoint has looked.
            let other = w.process.bind(DC, Endpoint::new(0, 11)).unwrap();
            let _ = other.receive(Endpoint::ANY, &mut Message::default(), Timeout::Now);
        }
        let World { daemon, process, port, peer } = w;
        drop(port);
        let lane = peer.link().lane(0).unwrap();
        assert_eq!(lane.collect(seq, &mut Message::default()), Outcome::Pending, "taken: {taken}");
        daemon.tell(Event::LaneClosed { link: 0, lane: 0, code: dvs_abi::Code::STALE as i32 });
        process.system().dvs_info().unwrap();
        let effect = if taken { dvs_abi::Effect::Unknown } else { dvs_abi::Effect::No };
        assert_eq!(lane.collect(seq, &mut Message::default()), Outcome::Closed(effect));
    }
}
