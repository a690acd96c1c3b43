//! Two nodes over real sockets on the loopback: cuts under load, wrong keys, wrong versions, garbage at the
//! port.

mod common;

use common::{A, B, Keys, Log, Recorder, Seen, WATCHDOG, config, listener, loopback, pair};
use dvs_proxy::{
    Config, DownReason, Frame, Handler, NodeAddress, NodeKey, Peers, Security, SendError, StartError, State,
    StreamClass, Timing,
};
use dvs_wire::Versions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn calls(log: &Log) -> impl Iterator<Item = u64> + '_ {
    log.frames.iter().filter_map(|f| if let Seen::Call(n) = f { Some(*n) } else { None })
}

fn send_calls(from: &Peers, to: dvs_abi::NodeId, range: std::ops::Range<u64>) {
    for call in range {
        from.send_wait(to, StreamClass::Message, &Frame::Consumed { call }, WATCHDOG).unwrap();
    }
}

fn both_ways(tls: bool) {
    let (p, _) = pair(tls, false, Timing::default());
    let big: Vec<u8> = (0..250_000u32).map(|i| (i * 7) as u8).collect();
    let sum = big.iter().fold(0u8, |a, b| a.wrapping_add(*b));
    send_calls(&p.a, B, 0..1000);
    p.b.send(A, &Frame::Control { bytes: b"hello" }).unwrap();
    for offset in 0..100 {
        let data = Frame::Data { copy: 1, offset, last: offset == 99, bytes: &big };
        p.a.send_wait(B, StreamClass::Bulk, &data, WATCHDOG).unwrap();
    }
    p.at_a.wait("the control record", |l| l.frames == [Seen::Control(b"hello".to_vec())]);
    p.at_b.wait("all frames", |l| l.frames.len() == 1100);
    let log = p.at_b.log.lock().unwrap();
    assert!(calls(&log).eq(0..1000));
    let data: Vec<_> = log.frames.iter().filter(|f| matches!(f, Seen::Data(..))).cloned().collect();
    assert!(data.into_iter().eq((0..100).map(|i| Seen::Data(i, big.len() as u64, sum))));
    assert_eq!((log.ups, log.downs.len()), (1, 0));
    assert_eq!((p.a.stats()[0].connections, p.b.stats()[0].connections), (2, 2));
}

#[test]
fn frames_arrive_in_order_both_ways_plain() {
    both_ways(false);
}

#[test]
fn frames_arrive_in_order_both_ways_tls() {
    both_ways(true);
}

fn cut_under_load(tls: bool) {
    let (p, forwarder) = pair(tls, true, Timing::default());
    let forwarder = forwarder.unwrap();
    let total = 100_000;
    let mut cuts = 0;
    std::thread::scope(|s| {
        let sender = s.spawn(|| send_calls(&p.a, B, 0..total));
        s.spawn(|| send_calls(&p.b, A, 0..total));
        let mut seen = 0;
        for i in 1..=8 {
            p.at_b.wait("more frames", |l| l.frames.len() as u64 >= (seen + total / 20).min(total));
            seen = p.at_b.log.lock().unwrap().frames.len() as u64;
            cuts += usize::from(forwarder.cut() > 0);
            assert!(i < 4 || cuts > 0);
        }
        sender.join().unwrap();
    });
    p.at_b.wait("all frames at b", |l| l.frames.len() as u64 >= total);
    p.at_a.wait("all frames at a", |l| l.frames.len() as u64 >= total);
    for at in [&p.at_a, &p.at_b] {
        let log = at.log.lock().unwrap();
        assert!(calls(&log).eq(0..total), "lost, doubled or out of order");
        assert_eq!((log.ups, log.downs.len()), (1, 0), "a cut is not told");
    }
    assert!(p.a.stats()[0].connections > 4 && cuts >= 3, "{cuts} cuts");
}

#[test]
fn a_cut_in_the_middle_of_100k_frames_loses_and_doubles_nothing_plain() {
    cut_under_load(false);
}

#[test]
fn a_cut_in_the_middle_of_100k_frames_loses_and_doubles_nothing_tls() {
    cut_under_load(true);
}

fn alone(config: Config) -> (Peers, Arc<Recorder>) {
    let recorder = Arc::<Recorder>::default();
    (Peers::start(config, Arc::clone(&recorder) as Arc<dyn Handler>).unwrap(), recorder)
}

#[test]
fn a_wrong_key_is_refused_on_both_sides_with_a_clear_error() {
    let keys = Keys::new(true);
    let (b, at_b) = alone(config(B, A, loopback(), &keys, 2));
    // a knows b, but b expects another key of a
    let stranger = Keys(Some((Arc::new(NodeKey::ephemeral().unwrap()), keys.0.as_ref().unwrap().1.clone())));
    let (a, at_a) = alone(config(A, B, b.address(), &stranger, 1));
    at_b.wait("b's refusal", |l| l.troubles.iter().any(|t| t.contains("not the one in the node list")));
    at_a.wait("a's error", |l| l.troubles.iter().any(|t| t.contains("refuses this node's key")));
    assert_eq!((a.state(B), at_b.log.lock().unwrap().ups), (State::Connecting, 0));
    drop(a);
    // b is not who a expects
    let wrong = Keys(Some((keys.0.as_ref().unwrap().0.clone(), Arc::new(NodeKey::ephemeral().unwrap()))));
    let (a, at_a) = alone(config(A, B, b.address(), &wrong, 1));
    at_a.wait("a's refusal", |l| l.troubles.iter().any(|t| t.contains("not the one in the node list")));
    assert!(a.trouble(B).unwrap().contains("n2"));
}

#[test]
fn no_common_version_is_refused_with_both_ranges() {
    let keys = Keys::new(false);
    let (b, at_b) =
        alone(Config { versions: Versions { min: 4, max: 6 }, ..config(B, A, loopback(), &keys, 2) });
    let (_a, at_a) =
        alone(Config { versions: Versions { min: 1, max: 3 }, ..config(A, B, b.address(), &keys, 1) });
    let text = "no common protocol version: this node speaks 4 to 6, the other 1 to 3";
    at_a.wait("the refusal at a", |l| l.troubles.iter().any(|t| t.contains(text)));
    at_b.wait("the refusal at b", |l| l.troubles.iter().any(|t| t.contains(text)));
}

#[test]
fn garbage_and_idle_connections_at_the_port_disturb_nobody() {
    for tls in [false, true] {
        let (p, _) = pair(tls, false, Timing::default());
        p.at_b.wait("the session", |l| l.ups == 1);
        let mut state = 0x1234_5678_9abc_def1u64;
        let idle: Vec<_> = (0..10).map(|_| TcpStream::connect(p.b.address()).unwrap()).collect();
        for round in 0..40 {
            let mut socket = TcpStream::connect(p.b.address()).unwrap();
            let bytes: Vec<u8> = (0..500 + round * 100)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            let _ = socket.write_all(&bytes);
            let _ = p.a.send(B, &Frame::Consumed { call: round });
            socket.set_read_timeout(Some(WATCHDOG)).unwrap();
            let _ = socket.read(&mut [0; 100]);
        }
        p.at_b.wait("all frames", |l| calls(l).count() == 40);
        let log = p.at_b.log.lock().unwrap();
        assert!(calls(&log).eq(0..40) && log.downs.is_empty());
        drop(idle);
    }
}

#[test]
fn who_dials_in_the_wrong_direction_or_is_not_listed_is_refused() {
    let keys = Keys::new(false);
    let (b, at_b) = alone(config(B, dvs_abi::NodeId(7), loopback(), &keys, 2));
    let (_a, at_a) = alone(config(A, B, b.address(), &keys, 1));
    at_a.wait("the refusal", |l| l.troubles.iter().any(|t| t.contains("n1 is not in this node's list")));
    at_b.wait("the refusal", |l| l.troubles.iter().any(|t| t.contains("n1 is not in this node's list")));
}

#[test]
fn a_peer_that_restarts_is_told_once_and_works_again() {
    for tls in [false, true] {
        let keys = Keys::new(tls);
        let socket = listener();
        let spare = socket.try_clone().unwrap();
        let at_b = Arc::<Recorder>::default();
        let b = Peers::start_on(socket, config(B, A, loopback(), &keys, 2), at_b.clone()).unwrap();
        let (a, at_a) = alone(config(A, B, b.address(), &keys, 1));
        send_calls(&a, B, 0..10);
        at_b.wait("the first frames", |l| l.frames.len() == 10);
        drop(b);
        let at_b = Arc::<Recorder>::default();
        let _b = Peers::start_on(spare, config(B, A, loopback(), &keys, 3), at_b.clone()).unwrap();
        at_a.wait("down and up", |l| l.downs == [DownReason::Restarted] && l.ups == 2);
        send_calls(&a, B, 100..110);
        at_b.wait("the new frames", |l| l.frames.len() == 10);
        assert!(calls(&at_b.log.lock().unwrap()).eq(100..110));
    }
}

#[test]
fn nodes_are_admitted_and_forgotten_while_others_go_on() {
    for tls in [false, true] {
        let keys = Keys::new(tls);
        let c = dvs_abi::NodeId(3);
        let key_of_c = keys.0.as_ref().map(|_| Arc::new(NodeKey::ephemeral().unwrap()));
        let (b, at_b) = alone(config(B, A, loopback(), &keys, 2));
        let (a, at_a) = alone(config(A, B, b.address(), &keys, 1));
        at_a.wait("the session with b", |l| l.ups == 1);
        // c knows a; a does not know c yet.
        let mut of_c = config(c, A, a.address(), &keys, 3);
        of_c.security = key_of_c.clone().map_or(Security::Plain, Security::Tls);
        of_c.nodes[0].fingerprint = keys.0.as_ref().map(|(a, _)| a.fingerprint());
        let (peers_of_c, at_c) = alone(of_c);
        let entry = NodeAddress {
            id: c,
            address: peers_of_c.address(),
            fingerprint: key_of_c.as_ref().map(|k| k.fingerprint()),
        };
        assert_eq!(a.send(c, &Frame::Cancel { call: 1 }), Err(SendError::Dead));
        a.admit(entry.clone()).unwrap();
        at_c.wait("the session at c", |l| l.ups == 1);
        at_a.wait("the session with c", |l| l.ups == 2);
        send_calls(&a, c, 0..10);
        at_c.wait("frames at c", |l| l.frames.len() == 10);
        a.admit(entry.clone()).unwrap();
        assert!(a.admit(NodeAddress { id: A, ..entry.clone() }).is_err(), "itself");
        a.forget(c);
        assert_eq!(at_a.log.lock().unwrap().downs, [DownReason::Forgotten], "said before it returned");
        assert_eq!(a.send(c, &Frame::Cancel { call: 1 }), Err(SendError::Dead));
        send_calls(&a, B, 0..10);
        at_b.wait("frames at b", |l| l.frames.len() == 10 && l.downs.is_empty());
        a.admit(entry).unwrap();
        at_c.wait("the next session at c", |l| l.ups == 2 && l.downs == [DownReason::GaveUp]);
        send_calls(&a, c, 10..20);
        at_c.wait("more frames at c", |l| l.frames.len() == 20);
    }
}

#[test]
fn a_node_that_is_admitted_again_has_a_session_of_its_own_at_once() {
    // nothing here may be waited for until it is given up
    let timing = Timing { dead_after: 3_600_000_000_000, ..Timing::default() };
    for by_dialer in [true, false] {
        let (p, _) = pair(false, false, timing);
        let (by, of, at_by, at_of, other) =
            if by_dialer { (&p.a, B, &p.at_a, &p.at_b, &p.b) } else { (&p.b, A, &p.at_b, &p.at_a, &p.a) };
        at_by.wait("the session", |l| l.ups == 1);
        let entry = NodeAddress { id: of, address: other.address(), fingerprint: None };
        let (mut frames, mut ups) = (0, 1);
        for round in 1..=4 {
            if round % 2 == 0 {
                by.give_up(of);
                ups += 1;
                at_of.wait("the next session", |l| l.ups >= ups);
                at_by.wait("the next session", |l| l.ups >= ups);
                send_calls(by, of, 0..10);
                frames += 10;
                at_of.wait("frames", |l| l.frames.len() == frames);
            }
            by.forget(of);
            by.admit(entry.clone()).unwrap();
            ups += 1;
            at_of.wait("the session of the one admitted again", |l| l.ups >= ups);
            at_by.wait("the same here", |l| l.ups >= ups);
            send_calls(by, of, 100..110);
            frames += 10;
            at_of.wait("frames", |l| l.frames.len() == frames);
            let log = at_of.log.lock().unwrap();
            assert!(calls(&log).skip(frames - 10).eq(100..110));
            assert!(log.downs.iter().all(|d| *d == DownReason::GaveUp), "{:?}", log.downs);
        }
    }
}

#[test]
fn a_node_that_listens_elsewhere_is_found_there() {
    let keys = Keys::new(false);
    let nowhere = listener();
    let (a, at_a) = alone(config(A, B, nowhere.local_addr().unwrap(), &keys, 1));
    drop(nowhere);
    at_a.wait("a connection that is refused", |l| !l.troubles.is_empty());
    let (b, at_b) = alone(config(B, A, loopback(), &keys, 2));
    a.admit(NodeAddress { id: B, address: b.address(), fingerprint: None }).unwrap();
    at_a.wait("the session", |l| l.ups == 1);
    send_calls(&a, B, 0..10);
    at_b.wait("frames", |l| l.frames.len() == 10);
}

#[test]
fn a_session_given_up_ends_for_both_and_the_next_one_works() {
    let (p, _) = pair(false, false, Timing::default());
    p.at_a.wait("the session", |l| l.ups == 1);
    p.at_b.wait("the session", |l| l.ups == 1);
    p.a.give_up(B);
    p.at_a.wait("its end and the next", |l| l.downs == [DownReason::Flooded] && l.ups == 2);
    p.at_b.wait("the same there", |l| l.downs == [DownReason::GaveUp] && l.ups == 2);
    send_calls(&p.a, B, 0..10);
    p.at_b.wait("frames of the next", |l| l.frames.len() == 10);
}

/// The log of the system has declared a node dead that was only cut off, silently or not; it comes back.
fn cut_off_and_given_up(by_dialer: bool, silently: bool) {
    let timing = Timing { silence_max: 300_000_000, dead_after: 3_600_000_000_000, ..Timing::default() };
    let (p, forwarder) = pair(true, true, timing);
    let forwarder = forwarder.unwrap();
    let end = Instant::now() + WATCHDOG;
    while p.a.state(B) != State::Up || p.b.state(A) != State::Up {
        assert!(Instant::now() < end, "no session");
        std::thread::yield_now();
    }
    forwarder.hold(true);
    if !silently {
        forwarder.cut();
    }
    send_calls(&p.a, B, 0..10);
    send_calls(&p.b, A, 0..10);
    let (by, of, at_by, at_of) =
        if by_dialer { (&p.a, B, &p.at_a, &p.at_b) } else { (&p.b, A, &p.at_b, &p.at_a) };
    by.give_up(of);
    at_by.wait("the end where it was given up", |l| l.downs == [DownReason::Flooded] && l.ups == 1);
    assert_eq!((at_of.log.lock().unwrap().downs.len(), by.state(of)), (0, State::Connecting));
    forwarder.hold(false);
    at_by.wait("the next session", |l| l.ups == 2 && l.downs.len() == 1);
    at_of.wait("what the one cut off learns", |l| l.downs == [DownReason::GaveUp] && l.ups == 2);
    let before = [&p.at_a, &p.at_b].map(|at| at.log.lock().unwrap().frames.len());
    send_calls(&p.a, B, 100..110);
    send_calls(&p.b, A, 100..110);
    for (at, before) in [&p.at_a, &p.at_b].into_iter().zip(before) {
        at.wait("frames of the next", |l| l.frames.len() >= before + 10);
        let log = at.log.lock().unwrap();
        assert!(calls(&log).skip(before).eq(100..110), "of the old session, or twice");
    }
}

#[test]
fn what_was_queued_for_a_node_that_is_given_up_before_it_is_reached_never_goes_out() {
    let keys = Keys::new(false);
    let nowhere = listener();
    let (a, at_a) = alone(config(A, B, nowhere.local_addr().unwrap(), &keys, 1));
    send_calls(&a, B, 0..10);
    a.give_up(B);
    at_a.wait("the end of what was queued", |l| l.downs == [DownReason::Flooded]);
    send_calls(&a, B, 10..20);
    let (b, at_b) = alone(config(B, A, loopback(), &keys, 2));
    a.admit(NodeAddress { id: B, address: b.address(), fingerprint: None }).unwrap();
    drop(nowhere);
    at_b.wait("frames", |l| l.frames.len() >= 10);
    assert!(calls(&at_b.log.lock().unwrap()).eq(10..20), "the caller was told that they are lost");
    a.forget(B);
    assert_eq!(at_a.log.lock().unwrap().downs.last(), Some(&DownReason::Forgotten));
}

#[test]
fn a_node_given_up_while_it_was_cut_off_learns_that_its_session_is_over() {
    for by_dialer in [true, false] {
        for silently in [true, false] {
            cut_off_and_given_up(by_dialer, silently);
        }
    }
}

#[test]
fn a_node_that_stays_away_is_dead_then_and_sends_fail() {
    let timing = Timing { dead_after: 300_000_000, ..Timing::default() };
    let (p, _) = pair(false, false, timing);
    p.at_a.wait("the session", |l| l.ups == 1);
    drop(p.b);
    p.at_a.wait("its death", |l| l.downs == [DownReason::Unreachable]);
    assert_eq!(p.a.send(B, &Frame::Cancel { call: 1 }), Err(SendError::Dead));
    assert_eq!(p.a.send(dvs_abi::NodeId(30), &Frame::Cancel { call: 1 }), Err(SendError::Dead));
    assert_eq!(p.a.state(B), State::Dead);
}

#[test]
fn a_slow_link_is_compressed_when_the_data_allows() {
    let (p, forwarder) = pair(false, true, Timing::default());
    forwarder.as_ref().unwrap().rate.store(30_000_000, std::sync::atomic::Ordering::Relaxed);
    let text: Vec<u8> = (0..200_000u32).map(|i| (i / 100) as u8).collect();
    let send = |offset| {
        let data = Frame::Data { copy: 1, offset, last: false, bytes: &text };
        p.a.send_wait(B, StreamClass::Bulk, &data, WATCHDOG).unwrap();
    };
    let mut n = 0;
    while p.a.stats()[0].compressed_out < 5 && n < 400 {
        send(n);
        n += 1;
    }
    let stats = p.a.stats().remove(0);
    assert!(stats.compressed_out >= 5, "{stats:?}");
    p.at_b.wait("all data", |l| l.frames.len() as u64 == n);
    let sum = text.iter().fold(0u8, |a, b| a.wrapping_add(*b));
    let want = (0..n).map(|i| Seen::Data(i, text.len() as u64, sum));
    assert!(p.at_b.log.lock().unwrap().frames.iter().cloned().eq(want));
}

#[test]
fn credit_is_bounded_and_a_waiting_sender_goes_on() {
    let keys = Keys::new(false);
    let nowhere = listener(); // accepts nothing
    let (a, _) = alone(config(A, B, nowhere.local_addr().unwrap(), &keys, 1));
    let mut n = 0;
    let refused = loop {
        match a.send(B, &Frame::Consumed { call: n }) {
            Ok(()) => n += 1,
            Err(e) => break e,
        }
    };
    assert_eq!((n, refused), (u64::from(dvs_abi::limits::CREDIT_FRAMES), SendError::WouldBlock));
    let wait = Duration::from_millis(20);
    let late = a.send_wait(B, StreamClass::Message, &Frame::Consumed { call: n }, wait);
    assert_eq!(late, Err(SendError::WouldBlock));
}

#[test]
fn a_wrong_node_list_is_refused_by_name() {
    let key = Arc::new(NodeKey::ephemeral().unwrap());
    let node = |id| NodeAddress { id: dvs_abi::NodeId(id), address: loopback(), fingerprint: None };
    let start = |nodes, security| {
        let recorder = Arc::<Recorder>::default();
        Peers::start(Config::new(A, 1, loopback(), nodes, security), recorder)
            .err()
            .map(|e: StartError| e.to_string())
    };
    let plain = || Security::Plain;
    assert_eq!(start(vec![node(1)], plain()).unwrap(), "node list: n1 is this node itself");
    assert_eq!(start(vec![node(2), node(2)], plain()).unwrap(), "node list: n2 is there twice");
    assert_eq!(start(vec![node(99)], plain()).unwrap(), "node list: n99 is above the highest id, n31");
    let no_key = start(vec![node(2)], Security::Tls(key)).unwrap();
    assert_eq!(no_key, "node list: n2 has no fingerprint, which TLS needs");
}

#[test]
fn keys_are_kept_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = NodeKey::load_or_generate(dir.path()).unwrap();
    assert_eq!(NodeKey::load_or_generate(dir.path()).unwrap().fingerprint(), made.fingerprint());
    assert!(NodeKey::generate(dir.path()).unwrap_err().to_string().contains("node.key"), "replaces nothing");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(dir.path().join("node.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(dir.path().join("node.crt"), b"nonsense").unwrap();
    assert!(NodeKey::load(dir.path()).unwrap_err().to_string().contains("node.crt"));
}

/// Takes its time over each frame, and counts how many it got since it last looked.
#[derive(Default)]
struct Slow {
    frames: AtomicU64,
    unlooked: AtomicU64,
    most: AtomicU64,
    watching: AtomicBool,
}

impl Handler for Slow {
    fn frame(&self, _node: dvs_abi::NodeId, _frame: &Frame<'_>) {
        let end = Instant::now() + Duration::from_micros(10);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        if self.watching.load(Ordering::Relaxed) {
            self.most.fetch_max(self.unlooked.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
    fn watch(&self, _node: dvs_abi::NodeId) -> bool {
        self.unlooked.store(0, Ordering::Relaxed);
        self.watching.store(true, Ordering::Relaxed);
        true
    }
    fn unwatch(&self, _node: dvs_abi::NodeId) {
        self.watching.store(false, Ordering::Relaxed);
    }
    fn look(&self, _node: dvs_abi::NodeId) -> bool {
        self.unlooked.store(0, Ordering::Relaxed);
        false
    }
    fn up(&self, _node: dvs_abi::NodeId) {}
    fn down(&self, _node: dvs_abi::NodeId, _reason: DownReason) {}
}

#[test]
fn a_reader_that_watches_looks_also_under_a_flood() {
    const FRAMES: u64 = 20_000;
    let keys = Keys::new(false);
    let (socket, slow) = (listener(), Arc::<Slow>::default());
    let target = socket.local_addr().unwrap();
    let _b = Peers::start_on(socket, config(B, A, loopback(), &keys, 22), slow.clone()).unwrap();
    let a = Peers::start(config(A, B, target, &keys, 11), Arc::new(Recorder::default())).unwrap();
    for _ in 0..FRAMES {
        a.send_wait(B, StreamClass::Message, &Frame::Control { bytes: &[1; 1000] }, WATCHDOG).unwrap();
    }
    let end = Instant::now() + WATCHDOG;
    while slow.frames.load(Ordering::Relaxed) < FRAMES {
        assert!(Instant::now() < end, "not all frames came");
        std::thread::yield_now();
    }
    // What one buffer of the reader holds is delivered in one go.
    let most = slow.most.load(Ordering::Relaxed);
    assert!(most < 4_000, "{most} frames without a look");
}
