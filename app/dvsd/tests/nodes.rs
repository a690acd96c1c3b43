//! Programs of different nodes: daemons as processes on the loopback, this process with a session at each.

mod common;

use common::net::{DC, Net, until};
use dvs::{Code, Deadline, Effect, Endpoint, Lend, Message, Timeout};
use std::time::{Duration, Instant};

const SERVER: Endpoint = Endpoint::new(0, 3);
const CLIENT: Endpoint = Endpoint::new(0, 5);
const WATCHDOG: Timeout = Timeout::After(Duration::from_secs(30));

/// Answers requests with their type plus one, until a message of type 0 comes.
fn serve(port: &Port) -> usize {
    let mut n = 0;
    loop {
        let mut m = Message::default();
        port.receive(Endpoint::ANY, &mut m, WATCHDOG).unwrap();
        if m.mtype() == 0 {
            return n;
        }
        n += 1;
        if m.kind() == Some(dvs::Kind::Request) {
            let t = m.mtype();
            m.set_mtype(t + 1);
            // The client may have left.
            let _ = port.reply(m.source(), &mut m, WATCHDOG);
        }
    }
}

type Port = dvs::Port<dvs::ThreadWait>;

/// The next message.
fn next(port: &Port) -> Message {
    let mut m = Message::default();
    port.receive(Endpoint::ANY, &mut m, WATCHDOG).unwrap();
    m
}

/// A server on node 1 and a client on node 0 that knows it.
fn pair(net: &Net) -> (Port, Port) {
    let server = net.attach(1).bind(DC, SERVER).unwrap();
    let client = net.attach(0).bind(DC, CLIENT).unwrap();
    client.system().wait_bind(DC, SERVER, WATCHDOG).unwrap();
    (server, client)
}

/// Runs the server's part beside the client's; gives back the server.
fn beside<T: Send + 'static>(
    server: Port,
    part: impl FnOnce(&Port) -> T + Send + 'static,
) -> std::thread::JoinHandle<(Port, T)> {
    std::thread::spawn(move || {
        let result = part(&server);
        (server, result)
    })
}

#[test]
fn send_sendrec_and_notify_between_two_nodes() {
    let net = Net::start(2);
    let (server, client) = pair(&net);
    let served = beside(server, serve);
    let start = Instant::now();
    for i in 1..=2000 {
        let mut m = Message::new(i);
        m.set_bytes(&i.to_le_bytes()).unwrap();
        client.sendrec(SERVER, &mut m, WATCHDOG).unwrap();
        assert_eq!((m.mtype(), m.source(), m.bytes()), (i + 1, SERVER, &i.to_le_bytes()[..]));
    }
    println!("{:.1} us a remote round trip", start.elapsed().as_secs_f64() * 1e6 / 2000.0);
    for i in 1..=100 {
        client.send(SERVER, &mut Message::new(i), WATCHDOG).unwrap();
    }
    client.send(SERVER, &mut Message::new(0), WATCHDOG).unwrap();
    let (server, n) = served.join().unwrap();
    assert_eq!(n, 2100);
    client.notify_value(Endpoint::SELF, SERVER, 5).unwrap();
    let mut m = Message::default();
    server.receive(CLIENT, &mut m, WATCHDOG).unwrap();
    assert_eq!((m.mtype(), m.value(), m.source()), (0x1000 | 5, 5, CLIENT));
    server.notify_value(Endpoint::SELF, CLIENT, 9).unwrap();
    let m = next(&client);
    assert_eq!((m.value(), m.source()), (9, SERVER));
}

#[test]
fn a_send_given_up_under_way_is_given_back_and_late_answers_reach_nobody() {
    let net = Net::start(2);
    let (server, client) = pair(&net);
    let short = Timeout::After(Duration::from_millis(200));
    let timed_out = |e: dvs::Error| assert_eq!((e.code, e.effect), (Code::TIMEDOUT, Effect::Unknown));
    // The other node gives back what was not consumed; when that takes it too long, the effect is unknown.
    let given_back = |e: dvs::Error| {
        assert!(e.code == Code::TIMEDOUT && e.effect != Effect::Yes, "{e}");
    };
    given_back(client.send(SERVER, &mut Message::new(1), short).unwrap_err());
    given_back(client.sendrec(SERVER, &mut Message::new(2), short).unwrap_err());
    // What was given up is not delivered, once the other node has heard: the next one is the third.
    let other = Endpoint::new(0, 4);
    let second = server.process().bind(DC, other).unwrap();
    let served = beside(second, serve);
    client.system().wait_bind(DC, other, WATCHDOG).unwrap();
    client.sendrec(other, &mut Message::new(7), WATCHDOG).unwrap();
    client.send(other, &mut Message::new(0), WATCHDOG).unwrap();
    assert_eq!(served.join().unwrap().1, 1);
    let served = beside(server, |server| {
        let mut m = next(server);
        assert_eq!(m.mtype(), 3);
        assert!(m.deadline() != Deadline::NEVER, "the deadline travels");
        server.reply(m.source(), &mut m, WATCHDOG).unwrap();
    });
    client.sendrec(SERVER, &mut Message::new(3), WATCHDOG).unwrap();
    // Consumed and not answered in time.
    let (server, ()) = served.join().unwrap();
    let served = beside(server, next);
    timed_out(client.sendrec(SERVER, &mut Message::new(4), short).unwrap_err());
    let (server, mut fourth) = served.join().unwrap();
    let served = beside(server, move |server| {
        // The late answer reaches nobody, and the next call is a new one.
        let _ = server.reply(fourth.source(), &mut fourth, WATCHDOG);
        let mut m = next(server);
        assert_eq!(m.mtype(), 5);
        m.set_mtype(50);
        server.reply(m.source(), &mut m, WATCHDOG).unwrap();
    });
    let mut m = Message::new(5);
    client.sendrec(SERVER, &mut m, WATCHDOG).unwrap();
    assert_eq!(m.mtype(), 50);
    served.join().unwrap();
}

const SIZES: [usize; 7] = [0, 1, 4095, 4096, 4097, 1 << 20, 8 << 20];

fn pattern(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 251 + seed * 7) as u8).collect()
}

/// Bytes in the first word of a request; the client's two ranges (source, sink) start at words 1 and 2.
fn request(bytes: usize, source: &[u8], sink: &[u8]) -> Message {
    let mut m = Message::new(1);
    m.set_word(0, bytes as u64);
    m.set_word(1, source.as_ptr() as u64);
    m.set_word(2, sink.as_ptr() as u64);
    m
}

#[test]
fn copies_between_a_server_and_a_client_of_another_node_are_exact() {
    let net = Net::start(2);
    let (server, client) = pair(&net);
    let served = beside(server, |server| {
        for _ in SIZES {
            let mut m = next(server);
            let n = m.word(0) as usize;
            let mut bytes = vec![0; n];
            server.copy_in(CLIENT, m.word(1), &mut bytes).unwrap();
            assert!(bytes == pattern(n, n), "{n} bytes in");
            bytes.reverse();
            server.copy_out(CLIENT, m.word(2), &bytes).unwrap();
            let beyond = server.copy_in(CLIENT, m.word(1) + 1, &mut vec![0; n + 1]).unwrap_err();
            assert_eq!(beyond.code, Code::FAULT);
            let unwritable = server.copy_out(CLIENT, m.word(1), &[0; 1]).unwrap_err();
            assert_eq!(unwritable.code, Code::FAULT);
            server.reply(CLIENT, &mut m, WATCHDOG).unwrap();
        }
    });
    for n in SIZES {
        let (source, mut sink) = (pattern(n, n), vec![0; n]);
        let mut m = request(n, &source, &sink);
        let mut lends = [Lend::Read(&source), Lend::Write(&mut sink)];
        client.sendrec_with(SERVER, &mut m, &mut lends, WATCHDOG).unwrap();
        sink.reverse();
        assert!(sink == source, "{n} bytes out");
    }
    served.join().unwrap();
}

/// Binds as soon as the node has heard that the slot is free.
fn bind(net: &Net, node: usize, endpoint: Endpoint) -> Port {
    let (process, mut port) = (net.attach(node), None);
    until("the slot is free", || {
        port = process.bind(DC, endpoint).ok();
        port.is_some()
    });
    port.unwrap()
}

/// A server on node `at` copies from a client on node `from` to one on node `to`. Each round has an endpoint
/// of its own: the clients' nodes may not have heard yet of the end of the one before, and would take its end
/// for the present one's.
fn third_party(net: &Net, round: i32, [at, from, to]: [usize; 3]) {
    let called = Endpoint::new(0, 10 + round);
    let server = bind(net, at, called);
    let (a, b) = (CLIENT, Endpoint::new(0, 6));
    let served = beside(server, move |server| {
        for n in SIZES {
            let (first, second) = (next(server), next(server));
            let (mut m, mut t) = if first.source() == a { (first, second) } else { (second, first) };
            server.vcopy((a, m.word(1)), (b, t.word(2)), n as u64).unwrap();
            server.reply(a, &mut m, WATCHDOG).unwrap();
            server.reply(b, &mut t, WATCHDOG).unwrap();
        }
    });
    let client = |node: usize, endpoint, source: bool| {
        let port = bind(net, node, endpoint);
        port.system().wait_bind(DC, called, WATCHDOG).unwrap();
        std::thread::spawn(move || {
            for n in SIZES {
                let mut bytes = if source { pattern(n, n) } else { vec![0; n] };
                let mut m = request(n, &bytes, &bytes);
                let mut lends = [Lend::Write(&mut bytes)];
                port.sendrec_with(called, &mut m, &mut lends, WATCHDOG).unwrap();
                assert!(bytes == pattern(n, n), "{n} bytes, source: {source}");
            }
        })
    };
    let (a, b) = (client(from, a, true), client(to, b, false));
    a.join().unwrap();
    b.join().unwrap();
    served.join().unwrap();
}

#[test]
fn a_server_copies_between_two_clients_wherever_the_three_are() {
    let net = Net::start(3);
    let rounds = [[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 1, 2], [2, 1, 0], [1, 1, 2]];
    for (round, places) in (0..).zip(rounds) {
        third_party(&net, round, places);
    }
}

/// Forwards one way of dialing and can cut all its connections.
struct Cutter {
    at: std::net::SocketAddr,
    open: std::sync::Arc<std::sync::Mutex<Vec<std::net::TcpStream>>>,
}

impl Cutter {
    fn to(target: std::net::SocketAddr) -> Cutter {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let open = std::sync::Arc::<std::sync::Mutex<Vec<std::net::TcpStream>>>::default();
        let all = open.clone();
        std::thread::spawn(move || {
            for a in listener.incoming().flatten() {
                let Ok(b) = std::net::TcpStream::connect(target) else { continue };
                all.lock().unwrap().extend([a.try_clone().unwrap(), b.try_clone().unwrap()]);
                for (mut from, mut to) in [(a.try_clone().unwrap(), b.try_clone().unwrap()), (b, a)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Cutter { at, open }
    }

    fn cut(&self) {
        for s in self.open.lock().unwrap().drain(..) {
            let _ = s.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    let at = [common::net::free_address(), common::net::free_address()];
    let cutter = Cutter::to(at[1]);
    let seen = cutter.at;
    let net = Net::start_seen(&at, |_, other| if other == 1 { seen } else { at[other] });
    let (server, client) = pair(&net);
    const N: i32 = 3000;
    let served = beside(server, |server| {
        for i in 1..=N {
            let mut m = next(server);
            assert_eq!(m.mtype(), i, "in order, once");
            if i % 100 == 0 {
                let mut bytes = vec![0; 300_000];
                server.copy_in(CLIENT, m.word(1), &mut bytes).unwrap();
                assert!(bytes == pattern(300_000, i as usize));
            }
            server.reply(CLIENT, &mut m, WATCHDOG).unwrap();
        }
    });
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let cutting = {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut cuts = 0;
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                std::thread::park_timeout(Duration::from_millis(40));
                cutter.cut();
                cuts += 1;
            }
            cuts
        })
    };
    for i in 1..=N {
        let bytes = if i % 100 == 0 { pattern(300_000, i as usize) } else { Vec::new() };
        let mut m = request(bytes.len(), &bytes, &bytes);
        m.set_mtype(i);
        client.sendrec_with(SERVER, &mut m, &mut [Lend::Read(&bytes)], WATCHDOG).unwrap();
        assert_eq!(m.mtype(), i);
    }
    done.store(true, std::sync::atomic::Ordering::Release);
    assert!(cutting.join().unwrap() > 0);
    served.join().unwrap();
}

#[test]
fn a_killed_daemon_fails_calls_and_copies_with_the_truth_and_its_node_comes_back() {
    let mut net = Net::start(2);
    let (server, client) = pair(&net);
    let caller = client.process().bind(DC, Endpoint::new(0, 6)).unwrap();
    let taken = std::thread::spawn(move || client.sendrec(SERVER, &mut Message::new(1), WATCHDOG));
    assert_eq!(next(&server).mtype(), 1);
    let waiting = std::thread::spawn(move || caller.send(SERVER, &mut Message::new(2), WATCHDOG));
    net.kill(1);
    for call in [taken, waiting] {
        let e = call.join().unwrap().unwrap_err();
        assert_eq!((e.code, e.effect != Effect::Yes), (Code::NOTCONN, true), "{e}");
    }
    drop(server);
    net.restart(1);
    let b = net.attach(1);
    until("the container is known again", || b.system().dc_info(DC).is_ok_and(|i| i.flags == 0));
    let server = b.bind(DC, SERVER).unwrap();
    let client = net.attach(0).bind(DC, Endpoint::new(0, 7)).unwrap();
    client.system().wait_bind(DC, SERVER, WATCHDOG).unwrap();
    let served = beside(server, serve);
    client.sendrec(SERVER, &mut Message::new(8), WATCHDOG).unwrap();
    client.send(SERVER, &mut Message::new(0), WATCHDOG).unwrap();
    served.join().unwrap();
}

#[test]
fn an_unbound_server_fails_what_it_took_with_unknown_and_what_it_did_not_with_no_effect() {
    let net = Net::start(2);
    let client_info = net.attach(0);
    let (server, client) = pair(&net);
    let caller = client.process().bind(DC, Endpoint::new(0, 6)).unwrap();
    let taken = std::thread::spawn(move || client.sendrec(SERVER, &mut Message::new(1), WATCHDOG));
    assert_eq!(next(&server).mtype(), 1);
    let waiting = std::thread::spawn(move || caller.send(SERVER, &mut Message::new(2), WATCHDOG));
    // The second is on its way or there: nothing here takes it.
    until("the second is sent", || client_info.system().proc_info(DC, 6).is_ok_and(|i| i.sent_remote == 1));
    drop(server);
    let e = taken.join().unwrap().unwrap_err();
    assert_eq!((e.code, e.effect), (Code::SRCDIED, Effect::Unknown));
    let e = waiting.join().unwrap().unwrap_err();
    assert_eq!((e.code, e.effect), (Code::DSTDIED, Effect::No));
}

/// Figures over the loopback without TLS: `cargo test --release -p dvsd --test nodes -- --ignored
/// --nocapture`.
#[test]
#[ignore = "measures"]
fn measure() {
    const ROUNDS: usize = 20_000;
    const COPIES: usize = 64;
    let net = Net::start(2);
    let (server, client) = pair(&net);
    let served = beside(server, |server| {
        for _ in 0..5 * ROUNDS {
            let mut m = next(server);
            server.reply(CLIENT, &mut m, WATCHDOG).unwrap();
        }
        let mut m = next(server);
        let mut bytes = vec![0; 8 << 20];
        for _ in 0..3 {
            let start = Instant::now();
            for _ in 0..COPIES {
                server.copy_in(CLIENT, m.word(1), &mut bytes).unwrap();
            }
            let read = start.elapsed().as_secs_f64();
            let start = Instant::now();
            for _ in 0..COPIES {
                server.copy_out(CLIENT, m.word(2), &bytes).unwrap();
            }
            let gb = (COPIES * bytes.len()) as f64 / 1e9;
            println!(
                "copy_in {:.2} GB/s, copy_out {:.2} GB/s",
                gb / read,
                gb / start.elapsed().as_secs_f64()
            );
        }
        server.reply(CLIENT, &mut m, WATCHDOG).unwrap();
    });
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            client.sendrec(SERVER, &mut Message::new(1), WATCHDOG).unwrap();
        }
        println!("{:.1} us a round trip", start.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
    }
    let (source, mut sink) = (pattern(8 << 20, 1), vec![0; 8 << 20]);
    let mut m = request(8 << 20, &source, &sink);
    client
        .sendrec_with(SERVER, &mut m, &mut [Lend::Read(&source), Lend::Write(&mut sink)], WATCHDOG)
        .unwrap();
    served.join().unwrap();
}
