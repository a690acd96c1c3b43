//! Programs that link the library, as processes of their own, through a real daemon.

mod common;

use common::Process as Daemon;
use dvs::{Code, DcId, Endpoint, Message, Timeout};
use dvsd::paths;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DC: DcId = DcId(2);
const SERVER: Endpoint = Endpoint::new(0, 7);
/// Only a hang reaches it.
const WATCHDOG: Timeout = Timeout::After(Duration::from_secs(30));

/// A copy of this test program that serves until it is killed.
fn server(d: &Daemon) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve", "--ignored", "--nocapture"])
        .env("DVS_SOCKET", paths::session_socket(&d.dir))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next().expect("the server ended").unwrap() != "serving" {}
    child
}

#[test]
#[ignore = "the server part of the tests below"]
fn serve() {
    let process = dvs::attach("server").unwrap();
    let port = process.bind(DC, SERVER).unwrap();
    println!("\nserving");
    std::io::stdout().flush().unwrap();
    let mut m = Message::default();
    loop {
        if port.receive(Endpoint::ANY, &mut m, Timeout::Forever).is_err() {
            return;
        }
        if m.mtype() == 99 {
            // Never answered.
            continue;
        }
        let n = m.word(0);
        m.set_word(0, n + 1);
        let _ = port.reply(m.source(), &mut m, Timeout::Forever);
    }
}

fn client(d: &Daemon) -> dvs::Process {
    dvs::attach_to(&paths::session_socket(&d.dir), "client").unwrap()
}

fn make_dc(process: &dvs::Process) {
    process.system().dc_init(&dvs::DcPlan::new(DC, "test")).unwrap();
}

#[test]
fn calls_between_processes_and_the_truth_at_the_server_s_death() {
    let d = Daemon::start();
    let process = client(&d);
    make_dc(&process);
    let mut child = server(&d);
    let port = process.bind(DC, Endpoint::NONE).unwrap();
    let mut m = Message::new(1);
    for n in 0..1000 {
        m.set_mtype(1);
        m.set_word(0, n);
        port.sendrec(SERVER, &mut m, WATCHDOG).unwrap();
        assert_eq!((m.word(0), m.source()), (n + 1, SERVER));
    }
    m.set_mtype(99);
    let (started, slot) = (port.now(), port.endpoint().slot());
    std::thread::scope(|s| {
        s.spawn(|| {
            // The call is consumed before the server is killed: its board says that the caller awaits the
            // answer.
            let watcher = client(&d);
            while watcher.system().proc_info(DC, slot).unwrap().rts_flags & 0xc != 8 {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let e = port.sendrec(SERVER, &mut m, WATCHDOG).unwrap_err();
        assert_eq!(e.code, Code::SRCDIED, "{e} after {} ms", (port.now() - started) / 1_000_000);
    });
    let e = port.sendrec(SERVER, &mut m, WATCHDOG).unwrap_err();
    assert_eq!(e.code, Code::DSTDIED, "{e}");
    let mut again = server(&d);
    m.set_mtype(1);
    port.sendrec(SERVER, &mut m, WATCHDOG).unwrap();
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn a_killed_daemon_fails_what_depends_on_it_at_once() {
    let mut d = Daemon::start();
    let process = client(&d);
    make_dc(&process);
    let mut child = server(&d);
    let port = process.bind(DC, Endpoint::NONE).unwrap();
    let mut m = Message::new(99);
    std::thread::scope(|s| {
        let (daemon, slot) = (&mut d, port.endpoint().slot());
        s.spawn(move || {
            let watcher = client(daemon);
            while watcher.system().proc_info(DC, slot).unwrap().rts_flags & 0xc != 8 {
                std::thread::yield_now();
            }
            daemon.child.kill().unwrap();
            daemon.child.wait().unwrap();
        });
        let e = port.sendrec(SERVER, &mut m, WATCHDOG).unwrap_err();
        // The server hears of it too, and may give up before the client has heard.
        assert!(matches!(e.code, Code::DVSINIT | Code::SRCDIED), "{e}");
    });
    assert_eq!(port.sendrec(SERVER, &mut m, WATCHDOG).unwrap_err().code, Code::DVSINIT);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_circle_over_two_processes_is_found() {
    let d = Daemon::start();
    let (a, b) = (client(&d), client(&d));
    make_dc(&a);
    let (one, two) = (Endpoint::new(0, 1), Endpoint::new(0, 2));
    let (port_a, port_b) = (a.bind(DC, one).unwrap(), b.bind(DC, two).unwrap());
    let codes: Vec<_> = std::thread::scope(|s| {
        let call = |port: dvs::Port<dvs::ThreadWait>, to| {
            move || {
                let done = port.sendrec(to, &mut Message::new(1), WATCHDOG).map_err(|e| e.code);
                // The other one goes on when this one is gone.
                drop(port);
                done
            }
        };
        let handles = [s.spawn(call(port_a, two)), s.spawn(call(port_b, one))];
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    assert!(codes.contains(&Err(Code::LOCKED)) && codes.contains(&Err(Code::DSTDIED)), "{codes:?}");
}
