//! Nodes joined over the loopback through forwarders that cut, stall and delay.

use crate::node::Node;
use crate::{DC, WATCHDOG_NS};
use dvs::{DcPlan, NodeId};
use dvs_linux::clock;
use dvs_linux::testing::own_address;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a forwarder does to what passes.
#[derive(Default)]
struct State {
    cut: AtomicBool,
    /// Nothing passes, and nobody is told.
    stalled: AtomicBool,
    /// Every piece waits so long, µs.
    delay_us: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// One direction of connecting.
pub struct Forward {
    address: SocketAddr,
    state: Arc<State>,
}

impl Forward {
    fn to(target: SocketAddr) -> Forward {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<State>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if !shared.cut.load(Ordering::Acquire) {
                    connect(&shared, from, target);
                }
            }
        });
        Forward { address, state }
    }

    /// Ends every connection and lets none come about, until healed.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::Release);
        for s in self.state.open.lock().expect("no panic under it").drain(..) {
            // Closed already is as good.
            let _ = s.shutdown(Shutdown::Both);
        }
    }

    /// Half open: nothing passes and nobody is told, until healed.
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::Release);
    }

    /// Every piece takes so long more.
    pub fn delay(&self, by: Duration) {
        self.state.delay_us.store(by.as_micros() as u64, Ordering::Release);
    }

    /// As if nothing had been.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
        self.state.stalled.store(false, Ordering::Release);
        self.state.cut.store(false, Ordering::Release);
    }
}

fn connect(state: &Arc<State>, from: TcpStream, target: SocketAddr) {
    let Ok(to) = TcpStream::connect(target) else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    for (a, b) in [(&from, &to), (&to, &from)] {
        let (Ok(a), Ok(b), Ok(keep)) = (a.try_clone(), b.try_clone(), a.try_clone()) else { return };
        state.open.lock().expect("no panic under it").push(keep);
        let state = state.clone();
        std::thread::spawn(move || pump(&state, a, b));
    }
}

fn pump(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        std::thread::sleep(Duration::from_micros(state.delay_us.load(Ordering::Acquire)));
        while state.stalled.load(Ordering::Acquire) && !state.cut.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Nodes of one system, with the container of the tests on all of them.
pub struct Net {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// How each finds the others.
    pub forwards: Vec<Forward>,
}

impl Net {
    /// Starts `count` nodes and joins them; a silent one is lost after `lease_ms`.
    ///
    /// # Panics
    /// When they do not come together.
    pub fn start(program: &str, count: usize, lease_ms: u64) -> Net {
        let at: Vec<SocketAddr> = (0..count).map(|_| own_address()).collect();
        let mut net = Net { nodes: Vec::new(), forwards: Vec::new() };
        for (i, listen) in at.iter().enumerate() {
            let mut text = format!("node = \"n{i}\"\nsecurity = \"plain\"\nlisten = \"{listen}\"\n");
            if let Some(first) = net.nodes.first() {
                writeln!(text, "join = \"{}\"", first.token()).expect("memory");
            }
            let mut list = format!("[timeouts]\nlease_ms = {lease_ms}\n[reach]\n");
            for (j, other) in at.iter().enumerate() {
                let forward = Forward::to(*other);
                if i != j {
                    writeln!(list, "n{j} = \"{}\"", forward.address).expect("memory");
                }
                net.forwards.push(forward);
            }
            text.push_str("runtime_dir = DIR\ndata_dir = DATA\n");
            net.nodes.push(Node::start_as(program, 0, &(text + &list)));
        }
        net.join();
        let all = (0..count as u16).map(NodeId).collect();
        let plan = DcPlan { nodes: all, ..DcPlan::new(DC, "storm") };
        net.nodes[0].attach().system().dc_init(&plan).expect("a new container");
        net.wait_dc();
        net
    }

    /// Waits until the first node has a session with every other.
    ///
    /// # Panics
    /// When it gets none.
    pub fn join(&self) {
        let first = self.nodes[0].attach();
        for n in 1..self.nodes.len() as u16 {
            until("the nodes are joined", || {
                first.system().node_info(Some(NodeId(n))).is_ok_and(|i| i.flags & 12 == 12)
            });
        }
    }

    /// Waits until every node knows the container.
    ///
    /// # Panics
    /// When one does not.
    pub fn wait_dc(&self) {
        for node in &self.nodes {
            let process = node.attach();
            until("the container is known", || process.system().dc_info(DC).is_ok_and(|i| i.flags == 0));
        }
    }
}

/// Tries until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = clock::now() + WATCHDOG_NS;
    while !so() {
        assert!(clock::now() < end, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
