//! Frame round trips and bulk throughput between two nodes in two processes, beside a raw TCP socket.
//!
//! ```text
//! cargo run --release -p dvs-proxy --example net_pingpong [seconds]
//! ```
//! The second process is this program again. All over 127.0.0.1.

use dvs_abi::{Message, NodeId};
use dvs_proxy::{
    Config, DownReason, Frame, Grants, Handler, NodeAddress, NodeKey, Peers, Security, StreamClass,
};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const CHUNK: usize = 256 << 10;
const WAIT: Duration = Duration::from_secs(20);

/// Answers every call; counts the bytes of copies and says when the last came.
#[derive(Default)]
struct Echo {
    peers: OnceLock<Peers>,
    bytes: AtomicU64,
}

impl Handler for Echo {
    fn frame(&self, node: NodeId, frame: &Frame<'_>) {
        let Some(peers) = self.peers.get() else { return };
        let sent = match frame {
            Frame::Call { call, msg, .. } => peers.queue(node, &Frame::Reply { call: *call, msg: *msg }),
            Frame::Data { copy, last, bytes, .. } => {
                let all = self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
                if !last {
                    return;
                }
                self.bytes.store(0, Ordering::Relaxed);
                peers.queue(node, &Frame::CopyDone { copy: *copy, length: all, error: None })
            }
            _ => return,
        };
        if let Err(e) = sent {
            eprintln!("answer: {e}");
        }
    }
    fn up(&self, _node: NodeId) {}
    fn down(&self, _node: NodeId, _reason: DownReason) {}
}

/// Hands answers to the measuring thread, or sends the next call itself.
struct Asker {
    answers: mpsc::Sender<u64>,
    peers: Arc<OnceLock<Peers>>,
    left: Arc<AtomicU64>,
}

impl Handler for Asker {
    fn frame(&self, node: NodeId, frame: &Frame<'_>) {
        match frame {
            Frame::Reply { call, msg } => {
                let left = self.left.load(Ordering::Relaxed);
                if left == 0 {
                    return;
                }
                self.left.store(left - 1, Ordering::Relaxed);
                if left == 1 {
                    let _ = self.answers.send(*call);
                } else if let Some(p) = self.peers.get() {
                    let _ = p.queue(node, &Frame::Call { call: *call, msg: *msg, grants: Grants::NONE });
                }
            }
            Frame::CopyDone { length, .. } => drop(self.answers.send(*length)),
            _ => {}
        }
    }
    fn up(&self, _node: NodeId) {}
    fn down(&self, _node: NodeId, reason: DownReason) {
        eprintln!("down: {reason:?}");
    }
}

fn security(
    tls: bool,
    dir: &Path,
    who: &str,
) -> Result<(Security, Option<dvs_proxy::Fingerprint>), Box<dyn Error>> {
    if !tls {
        return Ok((Security::Plain, None));
    }
    let other = if who == "a" { "b" } else { "a" };
    let mine = NodeKey::load_or_generate(&dir.join(who))?;
    let theirs = NodeKey::load_or_generate(&dir.join(other))?.fingerprint();
    Ok((Security::Tls(Arc::new(mine)), Some(theirs)))
}

fn config(me: NodeId, at: SocketAddr, tls: bool, dir: &Path) -> Result<Config, Box<dyn Error>> {
    let (who, other) = if me == A { ("a", B) } else { ("b", A) };
    let (security, fingerprint) = security(tls, dir, who)?;
    let nodes = vec![NodeAddress { id: other, address: at, fingerprint }];
    let boot = u128::from(std::process::id()) << 64 | Instant::now().elapsed().as_nanos().max(1);
    Ok(Config::new(me, boot, "127.0.0.1:0".parse()?, nodes, security))
}

/// The second process: prints its address, ends with its standard input.
fn serve(mode: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    if mode == "raw" {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", socket.local_addr()?);
        let (mut s, _) = socket.accept()?;
        s.set_nodelay(true)?;
        let mut buffer = [0; 128];
        while s.read_exact(&mut buffer).is_ok() {
            s.write_all(&buffer)?;
        }
        return Ok(());
    }
    if mode == "bulk" {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", socket.local_addr()?);
        let (mut s, _) = socket.accept()?;
        let mut buffer = vec![0; CHUNK];
        while s.read(&mut buffer)? > 0 {}
        s.write_all(&[1])?;
        return Ok(());
    }
    let echo = Arc::<Echo>::default();
    let peers = Peers::start(config(B, "127.0.0.1:1".parse()?, mode == "tls", dir)?, Arc::clone(&echo) as _)?;
    let address = peers.address();
    echo.peers.set(peers).map_err(|_| "set twice")?;
    println!("{address}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    std::process::exit(0);
}

fn second(mode: &str, dir: &Path) -> Result<(Child, SocketAddr), Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--serve", mode])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    Ok((child, line.trim().parse()?))
}

fn raw(seconds: f64, dir: &Path) -> Result<(), Box<dyn Error>> {
    let (mut child, at) = second("raw", dir)?;
    let mut s = TcpStream::connect(at)?;
    s.set_nodelay(true)?;
    let (start, mut n, mut buffer) = (Instant::now(), 0u64, [7; 128]);
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..100 {
            s.write_all(&buffer)?;
            s.read_exact(&mut buffer)?;
        }
        n += 100;
    }
    println!("raw TCP   round trip {:7.2} us", start.elapsed().as_secs_f64() * 1e6 / n as f64);
    drop(s);
    child.wait()?;
    let (mut child, at) = second("bulk", dir)?;
    let mut s = TcpStream::connect(at)?;
    let (start, chunk, mut n) = (Instant::now(), vec![7; CHUNK], 0u64);
    while start.elapsed().as_secs_f64() < seconds {
        s.write_all(&chunk)?;
        n += CHUNK as u64;
    }
    s.shutdown(std::net::Shutdown::Write)?;
    s.read_exact(&mut [0])?;
    println!("raw TCP   bulk       {:7.2} GB/s", n as f64 / 1e9 / start.elapsed().as_secs_f64());
    child.wait()?;
    Ok(())
}

fn ours(mode: &str, seconds: f64, dir: &Path) -> Result<(), Box<dyn Error>> {
    let tls = mode == "tls";
    let (mut child, at) = second(mode, dir)?;
    let (send, answers) = mpsc::channel();
    let (slot, left) = (Arc::new(OnceLock::new()), Arc::new(AtomicU64::new(0)));
    let asker = Asker { answers: send, peers: Arc::clone(&slot), left: Arc::clone(&left) };
    slot.set(Peers::start(config(A, at, tls, dir)?, Arc::new(asker))?).map_err(|_| "set twice")?;
    let peers = slot.get().ok_or("just set")?;
    let mut msg = Message::new(1);
    msg.set_kind(dvs_abi::Kind::Request);
    for window in [1, 64] {
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed().as_secs_f64() < seconds {
            let round = 2_000 * window;
            left.store(round, Ordering::Relaxed);
            for call in 0..window {
                peers.send_wait(
                    B,
                    StreamClass::Message,
                    &Frame::Call { call, msg, grants: Grants::NONE },
                    WAIT,
                )?;
            }
            answers.recv_timeout(WAIT)?;
            calls += round;
        }
        let took = start.elapsed().as_secs_f64();
        if window == 1 {
            println!("ours {mode:5} round trip {:7.2} us", took * 1e6 / calls as f64);
        } else {
            println!("ours {mode:5} {window} at once {:9.0} calls/s", calls as f64 / took);
        }
    }
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(CHUNK)
    .collect();
    let (start, mut bytes) = (Instant::now(), 0u64);
    while start.elapsed().as_secs_f64() < seconds {
        for i in 0..400u64 {
            let data = Frame::Data { copy: 1, offset: i, last: i == 399, bytes: &noise };
            peers.send_wait(B, StreamClass::Bulk, &data, WAIT)?;
        }
        bytes += answers.recv_timeout(WAIT)?;
    }
    println!("ours {mode:5} bulk       {:7.2} GB/s", bytes as f64 / 1e9 / start.elapsed().as_secs_f64());
    let stats = peers.stats().remove(0);
    println!(
        "           {} batches, {} compressed, {} connections",
        stats.batches_out, stats.compressed_out, stats.connections
    );
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, mode, dir] = &args[..]
        && flag == "--serve"
    {
        return serve(mode, Path::new(dir));
    }
    let seconds = args.get(1).map_or(Ok(1.0), |s| s.parse())?;
    let dir = std::env::temp_dir().join(format!("net_pingpong.{}", std::process::id()));
    for who in ["a", "b"] {
        std::fs::create_dir_all(dir.join(who))?;
        NodeKey::load_or_generate(&dir.join(who))?;
    }
    raw(seconds, &dir)?;
    ours("plain", seconds, &dir)?;
    ours("tls", seconds, &dir)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
