//! Machines that nobody knows, at the door: heard, answered, refused, slow, silent, hostile; and let in.

mod common;

use common::{A, B, Keys, Log, Recorder, WATCHDOG, config, listener, loopback};
use dvs_abi::NodeId;
use dvs_abi::limits::{KNOCK_BYTES_MAX, KNOCKS_MAX};
use dvs_proxy::{
    Answer, AnswerError, Config, DownReason, Fingerprint, Frame, Handler, KnockError, NodeAddress, NodeKey,
    Peers, Security, Timing, knock,
};
use dvs_wire::{Knock, RecordHead, RefusalReason, SessionFrame, Versions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

type Asked = (Option<Fingerprint>, SocketAddr, Vec<u8>, Answer);

/// Hands knocks to the test, as a daemon's loop would get them; records the rest.
struct Porter {
    asked: Mutex<Sender<Asked>>,
    rest: Recorder,
}

impl Handler for Porter {
    fn frame(&self, node: NodeId, frame: &Frame<'_>) {
        self.rest.frame(node, frame);
    }
    fn up(&self, node: NodeId) {
        self.rest.up(node);
    }
    fn down(&self, node: NodeId, reason: DownReason) {
        self.rest.down(node, reason);
    }
    fn trouble(&self, node: Option<NodeId>, text: &str) {
        self.rest.trouble(node, text);
    }
    fn knock(&self, key: Option<Fingerprint>, from: SocketAddr, payload: Vec<u8>, answer: Answer) {
        let _ = self.asked.lock().unwrap().send((key, from, payload, answer));
    }
}

/// A node alone in its system, and what is asked at its door.
struct Node {
    peers: Peers,
    porter: Arc<Porter>,
    asked: Receiver<Asked>,
    key: Fingerprint,
}

const NO_KEY: Fingerprint = Fingerprint([0; 32]);

fn security(tls: bool) -> (Security, Fingerprint) {
    if !tls {
        return (Security::Plain, NO_KEY);
    }
    let key = Arc::new(NodeKey::ephemeral().unwrap());
    let fingerprint = key.fingerprint();
    (Security::Tls(key), fingerprint)
}

impl Node {
    fn start(me: NodeId, tls: bool) -> Node {
        Node::with(me, tls, |c| c)
    }

    fn with(me: NodeId, tls: bool, change: impl FnOnce(Config) -> Config) -> Node {
        let (security, key) = security(tls);
        let (to, asked) = channel();
        let porter = Arc::new(Porter { asked: Mutex::new(to), rest: Recorder::default() });
        let config = change(Config::new(me, 77, loopback(), Vec::new(), security));
        let peers = Peers::start(config, Arc::clone(&porter) as Arc<dyn Handler>).unwrap();
        Node { peers, porter, asked, key }
    }

    fn next(&self) -> Asked {
        self.asked.recv_timeout(WATCHDOG).expect("somebody knocks")
    }

    /// A machine knocks from a thread of its own.
    fn knock(&self, who: &Security, payload: &[u8]) -> thread::JoinHandle<Result<Vec<u8>, KnockError>> {
        let (address, key, who, payload) = (self.peers.address(), self.key, who.clone(), payload.to_vec());
        thread::spawn(move || knock(address, &who, key, &payload, WATCHDOG))
    }

    fn wait(&self, what: &str, ok: impl FnMut(&Log) -> bool) {
        self.porter.rest.wait(what, ok);
    }

    /// Lets a machine in that knocks with `payload`, after those before it have made room.
    fn still_open(&self, who: &Security, payload: &[u8]) {
        let end = Instant::now() + WATCHDOG;
        loop {
            let knocking = self.knock(who, payload);
            while !knocking.is_finished() {
                if let Ok((.., got, answer)) = self.asked.recv_timeout(Duration::from_millis(5)) {
                    let _ = if got == payload { answer.send(b"welcome".to_vec()) } else { Ok(()) };
                }
                assert!(Instant::now() < end, "the door stays closed");
            }
            match knocking.join().unwrap() {
                Ok(bytes) => return assert_eq!(bytes, b"welcome"),
                Err(KnockError::Busy { .. }) => assert!(Instant::now() < end, "the door stays closed"),
                Err(e) => panic!("{e}"),
            }
        }
    }
}

fn record(frame: &SessionFrame) -> Vec<u8> {
    let mut payload = Vec::new();
    frame.encode(&mut payload);
    let head = RecordHead { length: payload.len() as u32, session: true, ..Default::default() };
    [&head.encode()[..], &payload].concat()
}

fn knock_record(versions: Versions, payload: &[u8]) -> Vec<u8> {
    record(&SessionFrame::Knock(Knock::new(versions, payload.to_vec()).unwrap()))
}

fn connect(node: &Node) -> TcpStream {
    let socket = TcpStream::connect(node.peers.address()).unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    socket
}

/// The session frame that comes in answer, or nothing when the connection ends.
fn answer_of(socket: &mut TcpStream) -> Option<SessionFrame> {
    let mut head = [0; 24];
    socket.read_exact(&mut head).ok()?;
    let mut payload = vec![0; RecordHead::decode(&head).unwrap().length as usize];
    socket.read_exact(&mut payload).ok()?;
    Some(SessionFrame::decode(&payload).unwrap())
}

const V1: Versions = Versions { min: 1, max: 1 };

#[test]
fn a_machine_nobody_knows_is_heard_by_its_key_and_answered() {
    for tls in [false, true] {
        let node = Node::start(A, tls);
        let (stranger, key) = security(tls);
        let knocking = node.knock(&stranger, b"a secret, a name");
        let (got, from, payload, answer) = node.next();
        assert_eq!(
            (got, from.ip(), &payload[..]),
            (tls.then_some(key), loopback().ip(), &b"a secret, a name"[..])
        );
        assert!(!knocking.is_finished());
        answer.send(b"you are n5".to_vec()).unwrap();
        assert_eq!(knocking.join().unwrap().unwrap(), b"you are n5");
    }
}

/// Node `first` lets in a machine as `second`, which starts when it has its answer.
fn joins(first: NodeId, second: NodeId, tls: bool) {
    let node = Node::start(first, tls);
    let (who, key) = security(tls);
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let knocking = node.knock(&who, address.to_string().as_bytes());
    let (got, _, payload, answer) = node.next();
    let address_said: SocketAddr = String::from_utf8(payload).unwrap().parse().unwrap();
    node.peers.admit(NodeAddress { id: second, address: address_said, fingerprint: got }).unwrap();
    answer.send(vec![first.0 as u8]).unwrap();
    let id = NodeId(knocking.join().unwrap().unwrap()[0].into());
    let at_new = Arc::<Recorder>::default();
    let nodes = vec![NodeAddress { id, address: node.peers.address(), fingerprint: tls.then_some(node.key) }];
    let timing = Timing { dead_after: 500_000_000, ..Timing::default() };
    let new = Config { timing, ..Config::new(second, 88, address, nodes.clone(), who.clone()) };
    let peers = Peers::start_on(socket, new, Arc::clone(&at_new) as Arc<dyn Handler>).unwrap();
    at_new.wait("the session there", |l| l.ups == 1);
    node.wait("the session here", |l| l.ups == 1);
    peers.send(first, &Frame::Control { bytes: b"here I am" }).unwrap();
    node.wait("its first word", |l| l.frames.len() == 1);
    // A known one may ask again, as its answer may have been lost.
    let again = node.knock(&who, b"again");
    let (got, _, _, answer) = node.next();
    assert_eq!(got, tls.then_some(key));
    answer.send(Vec::new()).unwrap();
    assert_eq!(again.join().unwrap().unwrap(), b"");
    // It is removed, and a stranger from then on.
    node.peers.forget(second);
    at_new.wait("its end", |l| !l.downs.is_empty());
    drop(peers);
    if first > second {
        let at_new = Arc::<Recorder>::default();
        let _peers = Peers::start(
            Config::new(second, 99, loopback(), nodes, who),
            Arc::clone(&at_new) as Arc<dyn Handler>,
        )
        .unwrap();
        let text = if tls { "refuses this node's key" } else { "is not in this node's list" };
        at_new.wait("the refusal", |l| l.troubles.iter().any(|t| t.contains(text)));
        let seen = if tls { "not the one in the node list (0 nodes are listed)" } else { text };
        node.wait("the same here", |l| l.troubles.iter().any(|t| t.contains(seen)));
        assert_eq!(at_new.log.lock().unwrap().ups, 0);
    }
}

#[test]
fn who_was_let_in_is_connected_at_once_whoever_dials_and_after_its_removal_no_more() {
    for tls in [false, true] {
        joins(A, B, tls);
        joins(B, A, tls);
    }
}

#[test]
fn nothing_is_said_to_a_node_with_another_key() {
    let node = Node::start(A, true);
    let (stranger, key) = security(true);
    let e = knock(node.peers.address(), &stranger, key, b"a secret", WATCHDOG).unwrap_err();
    assert!(matches!(e, KnockError::WrongKey { expected, got, .. } if expected == key && got == node.key));
    assert!(e.to_string().contains("make a new token"), "{e}");
    node.wait("the end of that connection", |l| !l.troubles.is_empty());
    assert!(node.asked.try_recv().is_err());
}

#[test]
fn who_hears_no_answer_is_told_so_and_one_that_comes_too_late_is_dropped() {
    for tls in [false, true] {
        let node = Node::with(A, tls, |c| Config { knock_wait: Duration::from_millis(300), ..c });
        let (stranger, _) = security(tls);
        let knocking = node.knock(&stranger, b"1");
        let (.., answer) = node.next();
        let e = knocking.join().unwrap().unwrap_err();
        assert!(matches!(&e, KnockError::Refused { text, .. } if text.contains("cannot decide now")), "{e}");
        let end = Instant::now() + WATCHDOG;
        let mut late = answer.send(Vec::new());
        while late.is_ok() && Instant::now() < end {
            // the thread that waited may still be at its last words
            let knocking = node.knock(&stranger, b"2");
            let (.., answer) = node.next();
            drop(knocking.join());
            late = answer.send(Vec::new());
        }
        assert_eq!(late, Err(AnswerError::Late));
    }
    // A daemon that takes in nobody, as one of an older build.
    let (security, _) = security(false);
    let config = Config::new(A, 1, loopback(), Vec::new(), security.clone());
    let peers = Peers::start(config, Arc::<Recorder>::default()).unwrap();
    let e = knock(peers.address(), &security, NO_KEY, b"", WATCHDOG).unwrap_err();
    assert!(matches!(&e, KnockError::Refused { text, .. } if text.contains("takes in nobody")), "{e}");
}

#[test]
fn a_refusal_gives_the_reason_and_makes_its_address_wait() {
    let node = Node::start(A, true);
    let (stranger, _) = security(true);
    let knocking = node.knock(&stranger, b"a guess");
    node.next().3.refuse("this token was used\x1b[2J already").unwrap();
    let e = knocking.join().unwrap().unwrap_err().to_string();
    assert!(e.ends_with("refuses: this token was used\u{fffd}[2J already"), "{e}");
    let e = node.knock(&stranger, b"another").join().unwrap().unwrap_err();
    assert!(matches!(&e, KnockError::Busy { text, .. } if text.ends_with("try again in 1 s")), "{e}");
    assert!(node.asked.try_recv().is_err());
    node.still_open(&stranger, b"the right one");
}

#[test]
fn so_many_at_a_time_are_heard_and_the_others_told_to_come_later() {
    let node = Node::start(A, true);
    let (stranger, _) = security(true);
    let knocking: Vec<_> = (0..KNOCKS_MAX).map(|n| node.knock(&stranger, &[n as u8])).collect();
    let mut asked: Vec<_> = (0..KNOCKS_MAX).map(|_| node.next()).collect();
    let e = node.knock(&stranger, b"one more").join().unwrap().unwrap_err();
    assert!(matches!(e, KnockError::Busy { .. }), "{e}");
    // Answered from the last to the first, each gets its own.
    asked.reverse();
    for (_, _, payload, answer) in asked {
        answer.send(vec![payload[0] + 100]).unwrap();
    }
    for (n, knocking) in knocking.into_iter().enumerate() {
        assert_eq!(knocking.join().unwrap().unwrap(), [n as u8 + 100]);
    }
    node.still_open(&stranger, b"later");
}

#[test]
fn the_longest_knock_and_the_longest_answer_arrive_whole() {
    for tls in [false, true] {
        let node = Node::start(A, tls);
        let (stranger, _) = security(tls);
        let long: Vec<u8> = (0..KNOCK_BYTES_MAX).map(|i| (i * 31 / 8) as u8).collect();
        let knocking = node.knock(&stranger, &long);
        let (_, _, payload, answer) = node.next();
        assert!(payload == long);
        answer.send(payload).unwrap();
        assert!(knocking.join().unwrap().unwrap() == long);
        let longer = vec![0; KNOCK_BYTES_MAX + 1];
        let e = node.knock(&stranger, &longer).join().unwrap().unwrap_err();
        assert!(matches!(e, KnockError::TooLong(n) if n == longer.len()), "{e}");
        let knocking = node.knock(&stranger, b"");
        assert_eq!(node.next().3.send(longer), Err(AnswerError::TooLong(KNOCK_BYTES_MAX + 1)));
        assert!(matches!(knocking.join().unwrap(), Err(KnockError::Refused { .. })));
    }
}

#[test]
fn other_versions_are_told_both_ranges() {
    for (min, max) in [(4, 6), (0, 0)] {
        let node = Node::with(A, true, |c| Config { versions: Versions { min, max }, ..c });
        let (stranger, _) = security(true);
        let e = node.knock(&stranger, b"hello").join().unwrap().unwrap_err();
        assert!(matches!(&e, KnockError::Version { theirs, .. } if *theirs == Versions { min, max }));
        let text = format!("speaks 1 to 1, the node at {} {min} to {max};", node.peers.address());
        assert!(e.to_string().contains(&text), "{e}");
        node.wait("the reason in the log", |l| {
            l.troubles.iter().any(|t| t.contains(&format!("speaks {min} to {max}, the other 1 to 1")))
        });
    }
    let node = Node::start(A, false);
    let mut socket = connect(&node);
    let mut newer = knock_record(Versions { min: 7, max: 9 }, b"hello");
    newer.extend_from_slice(b"and what the next version appends");
    let length = newer.len() as u32 - 24;
    newer[..4].copy_from_slice(&length.to_le_bytes());
    socket.write_all(&newer).unwrap();
    let Some(SessionFrame::Refuse(refusal)) = answer_of(&mut socket) else { panic!("no refusal") };
    assert_eq!((refusal.reason, refusal.versions), (RefusalReason::Version, V1));
    assert_eq!(refusal.text, "no common protocol version: this node speaks 1 to 1, the other 7 to 9");
    assert!(node.asked.try_recv().is_err());
}

#[test]
fn who_does_not_answer_or_is_no_node_is_named() {
    let (stranger, key) = security(true);
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let soon = Duration::from_millis(300);
    for who in [&Security::Plain, &stranger] {
        let e = knock(address, who, key, b"", soon).unwrap_err();
        assert!(matches!(e, KnockError::Late { timeout, .. } if timeout == soon), "{e}");
    }
    drop(socket);
    let e = knock(address, &stranger, key, b"", WATCHDOG).unwrap_err();
    assert!(
        matches!(e, KnockError::Connect { .. }) && e.to_string().contains("is dvsd running there"),
        "{e}"
    );
    // One side has TLS, the other has not.
    for tls in [false, true] {
        let node = Node::start(A, tls);
        let (other, _) = security(!tls);
        let e = node.knock(&other, b"").join().unwrap().unwrap_err();
        assert!(matches!(e, KnockError::Closed { .. }) && e.to_string().contains("TLS or none"), "{e}");
        assert!(node.asked.try_recv().is_err());
    }
}

/// Until the connection is ended by the other side; what is sent meanwhile, a byte at a time, does not count.
fn drip(socket: &mut TcpStream, bytes: &[u8]) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (end, mut bytes) = (Instant::now() + WATCHDOG, bytes.iter());
    loop {
        assert!(Instant::now() < end, "kept for ever");
        if let Some(byte) = bytes.next()
            && socket.write_all(&[*byte]).is_err()
        {
            return;
        }
        match socket.read(&mut [0; 100]) {
            Ok(0) => return,
            Err(e) if e.kind() != ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

#[test]
fn who_is_slow_or_stops_half_way_is_left_and_holds_nobody_up() {
    for tls in [false, true] {
        let node = Node::start(A, tls);
        let (stranger, _) = security(tls);
        let half = if tls {
            // a TLS record of 16,000 bytes that is a long time in coming
            [&[0x16, 3, 1, 0x3e, 0x80, 1, 0, 0x3e, 0x7c][..], &[3; 1000]].concat()
        } else {
            knock_record(V1, &[7; 1000])
        };
        let (mut slow, mut stopped) = (connect(&node), connect(&node));
        stopped.write_all(&half[..600]).unwrap();
        thread::scope(|s| {
            s.spawn(|| drip(&mut slow, &half));
            s.spawn(|| drip(&mut stopped, &[]));
            node.still_open(&stranger, b"me");
        });
    }
}

#[test]
fn who_says_more_than_its_knock_or_leaves_is_not_waited_for() {
    let node = Node::start(A, false);
    let mut socket = connect(&node);
    socket.write_all(&[knock_record(V1, b"one"), knock_record(V1, b"two")].concat()).unwrap();
    let (_, _, payload, answer) = node.next();
    assert_eq!((&payload[..], answer_of(&mut socket)), (&b"one"[..], None));
    assert_eq!(answer.send(Vec::new()), Err(AnswerError::Late));
    let mut socket = connect(&node);
    socket.write_all(&knock_record(V1, b"three")).unwrap();
    let (.., answer) = node.next();
    drop(socket);
    node.wait("its end", |l| l.troubles.iter().any(|t| t.contains("closed the connection")));
    assert_eq!(answer.send(Vec::new()), Err(AnswerError::Late));
    // Anything else at the start is none of ours.
    for frame in [SessionFrame::Ping(1), SessionFrame::Knocked(Knock::new(V1, vec![1]).unwrap())] {
        let mut socket = connect(&node);
        socket.write_all(&record(&frame)).unwrap();
        assert_eq!(answer_of(&mut socket), None);
    }
    assert!(node.asked.try_recv().is_err());
}

#[test]
fn hostile_bytes_disturb_nobody() {
    let node = Node::start(A, false);
    let good = knock_record(V1, &[1; 300]);
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    for round in 0..200 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            // most of the damage to what is not payload
            let at = if round % 4 == 0 { random(bytes.len()) } else { random(44) };
            bytes[at] = random(256) as u8;
        }
        bytes.truncate(if round % 3 == 0 { random(bytes.len()) } else { bytes.len() });
        let mut socket = TcpStream::connect(node.peers.address()).unwrap();
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        let _ = socket.read(&mut [0; 64]);
        node.asked.try_iter().for_each(drop);
    }
    node.still_open(&Security::Plain, b"me");
}

#[test]
fn a_node_that_stops_does_not_keep_those_at_its_door() {
    let node = Node::start(A, true);
    let (stranger, _) = security(true);
    let knocking = node.knock(&stranger, b"me");
    let (.., answer) = node.next();
    let start = Instant::now();
    drop(node);
    assert!(knocking.join().unwrap().is_err());
    // well before the ten seconds it may take to answer
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    drop(answer);
}

#[test]
fn a_node_that_listens_on_all_addresses_is_found_at_each() {
    for all in ["0.0.0.0:0", "[::]:0"] {
        let keys = Keys::new(true);
        let at_b = Arc::<Recorder>::default();
        let of_b = Config { listen: all.parse().unwrap(), ..config(B, A, loopback(), &keys, 2) };
        let Ok(b) = Peers::start(of_b, Arc::clone(&at_b) as Arc<dyn Handler>) else {
            assert!(all.starts_with('['), "this machine has no IPv6");
            continue;
        };
        let at = SocketAddr::new(loopback().ip(), b.address().port());
        let at_a = Arc::<Recorder>::default();
        let of_a = Config { timing: Timing::default(), ..config(A, B, at, &keys, 1) };
        let a = Peers::start(of_a, Arc::clone(&at_a) as Arc<dyn Handler>).unwrap();
        at_a.wait("the session", |l| l.ups == 1);
        at_b.wait("the session", |l| l.ups == 1);
        drop(a);
        let (stranger, _) = security(true);
        let key = keys.0.as_ref().unwrap().1.fingerprint();
        let e = knock(at, &stranger, key, b"", WATCHDOG).unwrap_err();
        assert!(matches!(e, KnockError::Refused { .. }), "{e}");
    }
}
