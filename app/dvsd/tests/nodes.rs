//! Programs of different nodes: daemons as processes on the loopback, this process with a session at each.

mod common;

use common::net::{DC, Net};
use dvs::{Code, Deadline, Effect, Endpoint, Message, Timeout};
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
fn a_send_given_up_under_way_has_an_unknown_effect_and_late_answers_reach_nobody() {
    let net = Net::start(2);
    let (server, client) = pair(&net);
    let short = Timeout::After(Duration::from_millis(200));
    let timed_out = |e: dvs::Error| assert_eq!((e.code, e.effect), (Code::TIMEDOUT, Effect::Unknown));
    timed_out(client.send(SERVER, &mut Message::new(1), short).unwrap_err());
    timed_out(client.sendrec(SERVER, &mut Message::new(2), short).unwrap_err());
    // What was given up is not delivered: the next one is the third.
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
