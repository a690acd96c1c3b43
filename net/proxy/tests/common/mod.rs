//! Two nodes in one process, a handler that records, and a forwarder that cuts.
#![allow(dead_code)] // each test file uses its part

use dvs_abi::NodeId;
use dvs_proxy::{
    Config, DownReason, Frame, Handler, NodeAddress, NodeKey, Peers, Security, StreamClass, Timing,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub const A: NodeId = NodeId(1);
pub const B: NodeId = NodeId(2);

/// No wait is longer; a test that would hang fails instead.
pub const WATCHDOG: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Call(u64),
    Data(u64, u64, u8),
    Control(Vec<u8>),
    Other(&'static str),
}

#[derive(Default, Debug)]
pub struct Log {
    pub frames: Vec<Seen>,
    pub ups: usize,
    pub downs: Vec<DownReason>,
    pub troubles: Vec<String>,
}

#[derive(Default)]
pub struct Recorder {
    pub log: Mutex<Log>,
    changed: Condvar,
}

impl Recorder {
    pub fn wait(&self, what: &str, mut ok: impl FnMut(&Log) -> bool) {
        let end = Instant::now() + WATCHDOG;
        let mut log = self.log.lock().unwrap();
        while !ok(&log) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let n = log.frames.len();
                log.frames.truncate(5);
                panic!("waited in vain for {what}; {n} frames, {log:?}");
            }
            log = self.changed.wait_timeout(log, left).unwrap().0;
        }
    }

    fn change(&self, f: impl FnOnce(&mut Log)) {
        f(&mut self.log.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Handler for Recorder {
    fn frame(&self, _node: NodeId, frame: &Frame<'_>) {
        let seen = match frame {
            Frame::Consumed { call } => Seen::Call(*call),
            Frame::Data { offset, bytes, .. } => {
                let sum = bytes.iter().fold(0u8, |a, b| a.wrapping_add(*b));
                Seen::Data(*offset, bytes.len() as u64, sum)
            }
            Frame::Control { bytes } => Seen::Control(bytes.to_vec()),
            other => Seen::Other(other.name()),
        };
        self.change(|l| l.frames.push(seen));
    }

    fn up(&self, _node: NodeId) {
        self.change(|l| l.ups += 1);
    }

    fn down(&self, _node: NodeId, reason: DownReason) {
        self.change(|l| l.downs.push(reason));
    }

    fn credit(&self, _node: NodeId, _class: StreamClass) {
        self.changed.notify_all();
    }

    fn trouble(&self, _node: Option<NodeId>, text: &str) {
        self.change(|l| l.troubles.push(text.to_owned()));
    }
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn listener() -> TcpListener {
    TcpListener::bind(loopback()).unwrap()
}

pub struct Keys(pub Option<(Arc<NodeKey>, Arc<NodeKey>)>);

impl Keys {
    pub fn new(tls: bool) -> Self {
        let key = || Arc::new(NodeKey::ephemeral().unwrap());
        Keys(tls.then(|| (key(), key())))
    }
}

pub fn config(me: NodeId, other: NodeId, at: SocketAddr, keys: &Keys, boot: u128) -> Config {
    let (security, fingerprint) = match &keys.0 {
        None => (Security::Plain, None),
        Some((a, b)) => {
            let (mine, theirs) = if me == A { (a, b) } else { (b, a) };
            (Security::Tls(Arc::clone(mine)), Some(theirs.fingerprint()))
        }
    };
    let nodes = vec![NodeAddress { id: other, address: at, fingerprint }];
    Config::new(me, boot, loopback(), nodes, security)
}

pub struct Pair {
    pub a: Peers,
    pub b: Peers,
    pub at_a: Arc<Recorder>,
    pub at_b: Arc<Recorder>,
}

/// Two nodes; `a` dials `via` when given, else `b` itself.
pub fn pair(tls: bool, forward: bool, timing: Timing) -> (Pair, Option<Forwarder>) {
    let keys = Keys::new(tls);
    let (at_a, at_b) = (Arc::<Recorder>::default(), Arc::<Recorder>::default());
    let socket = listener();
    let target = socket.local_addr().unwrap();
    let forwarder = forward.then(|| Forwarder::start(target));
    let via = forwarder.as_ref().map_or(target, |f| f.address);
    let nowhere = loopback();
    let cb = Config { timing, ..config(B, A, nowhere, &keys, 22) };
    let b = Peers::start_on(socket, cb, Arc::clone(&at_b) as Arc<dyn Handler>).unwrap();
    let ca = Config { timing, ..config(A, B, via, &keys, 11) };
    let a = Peers::start(ca, Arc::clone(&at_a) as Arc<dyn Handler>).unwrap();
    (Pair { a, b, at_a, at_b }, forwarder)
}

/// Copies bytes between the dialer and the target; cuts on demand; may be slow.
pub struct Forwarder {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// Bytes a second in each direction; 0 = as fast as it goes.
    pub rate: Arc<AtomicU64>,
    /// Nothing gets through, nobody is told: what is sent waits, new connections say nothing.
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Forwarder {
    pub fn start(target: SocketAddr) -> Self {
        let socket = listener();
        let f = Forwarder {
            address: socket.local_addr().unwrap(),
            stop: Arc::default(),
            open: Arc::default(),
            rate: Arc::default(),
            held: Arc::default(),
        };
        let (stop, open, rate) = (Arc::clone(&f.stop), Arc::clone(&f.open), Arc::clone(&f.rate));
        let held = Arc::clone(&f.held);
        std::thread::spawn(move || {
            for from in socket.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(from), Ok(to)) = (from, TcpStream::connect(target)) else { continue };
                for (from, to) in [(&from, &to), (&to, &from)] {
                    let (from, to, rate, held) = (
                        from.try_clone().unwrap(),
                        to.try_clone().unwrap(),
                        Arc::clone(&rate),
                        Arc::clone(&held),
                    );
                    open.lock().unwrap().push(from.try_clone().unwrap());
                    std::thread::spawn(move || copy(from, to, &rate, &held));
                }
            }
        });
        f
    }

    /// Cuts every connection that is open.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        open.iter().for_each(|s| drop(s.shutdown(Shutdown::Both)));
        open.len()
    }

    /// The network is cut silently, or heals.
    pub fn hold(&self, held: bool) {
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.hold(false);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, rate: &AtomicU64, held: &(Mutex<bool>, Condvar)) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        drop(held.1.wait_while(held.0.lock().unwrap(), |held| *held).unwrap());
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
        if let Some(ns) = (n as u64 * 1_000_000_000).checked_div(rate.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_nanos(ns)); // this is the slow link, not a wait for an event
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
