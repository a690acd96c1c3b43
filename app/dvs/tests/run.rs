//! `dvs run` on other nodes: two daemons on the loopback, joined by TLS, and what is typed at the first.

mod common;

use common::until;
use dvs_linux::clock;
use dvs_linux::pidfd::PidFd;
use dvs_linux::testing::own_address;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const WATCHDOG_NS: u64 = 60_000_000_000;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nodes n0 and n1 with container `shop` on both.
struct Pair {
    base: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Pair {
    /// `allowed` = n1 runs programs of other nodes.
    fn start(allowed: bool) -> Pair {
        let mut pair = Pair { base: tempfile::tempdir().unwrap(), daemons: Vec::new() };
        let at: Vec<String> = (0..2).map(|_| own_address().to_string()).collect();
        for (node, at) in at.iter().enumerate() {
            pair.write(node, at, allowed);
            let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
            c.args(["daemon", "--config"]).arg(pair.file(node)).env("SECRET", "of the daemon");
            pair.daemons.push(c.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            until("the daemon listens", || pair.dvs(node, &["status"]).status.success());
        }
        // As a script would: nodes that are just starting know the container as soon as it is made.
        pair.ok(0, &["dc", "create", "shop", "--nodes", "n0,n1"]);
        pair.ok(1, &["dc", "show", "shop"]);
        pair.ok(0, &["dc", "create", "home"]);
        pair
    }

    fn file(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("n{node}.toml"))
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("n{node}"))
    }

    fn write(&self, node: usize, at: &str, allowed: bool) {
        let data = self.base.path().join(format!("data{node}"));
        let mut t = format!("node = \"n{node}\"\nruntime_dir = {:?}\ndata_dir = {data:?}\n", self.dir(node));
        t += &format!("listen = \"{at}\"\nremote_programs = {allowed}\n");
        if node > 0 {
            t += &format!("join = \"{}\"\n", self.ok(0, &["token"]).trim());
        }
        t += "[timeouts]\nlease_ms = 2000\n";
        std::fs::write(self.file(node), t).unwrap();
    }

    fn command(&self, node: usize, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.arg("--runtime-dir").arg(self.dir(node)).args(args).env_remove("DVS_NODE");
        c
    }

    fn dvs(&self, node: usize, args: &[&str]) -> Output {
        self.command(node, args).output().unwrap()
    }

    fn ok(&self, node: usize, args: &[&str]) -> String {
        let o = self.dvs(node, args);
        assert!(o.status.success(), "{args:?}: {}", text(&o.stderr));
        text(&o.stdout)
    }

    fn fails(&self, args: &[&str], code: i32) -> String {
        let o = self.dvs(0, args);
        assert_eq!(o.status.code(), Some(code), "{args:?}: {}{}", text(&o.stdout), text(&o.stderr));
        text(&o.stderr)
    }

    /// Typed at n0, run on n1 by a shell.
    fn sh(&self, script: &str) -> Output {
        self.dvs(0, &["run", "shop", "--node", "n1", "--", "sh", "-c", script])
    }

    /// The same in the background, its output to be read.
    fn start_sh(&self, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut c = self.command(0, &["run", "shop", "--node", "n1", "--", "sh", "-c", script]);
        let mut child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (child, out)
    }

    fn programs(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(0, &["ps", "--programs", "--output", "json"])).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim_end().to_string()
}

/// A started program's process, by the number it printed.
fn process(out: &mut impl BufRead) -> PidFd {
    PidFd::open(line(out).parse().unwrap()).unwrap()
}

fn watchdog() -> dvs::Deadline {
    dvs::Deadline::from_ns(clock::now() + WATCHDOG_NS)
}

#[test]
fn a_program_runs_on_the_node_that_was_named() {
    let pair = Pair::start(true);
    let o = pair.sh("echo $DVS_NODE $DVS_DC $DVS_ENDPOINT \"[$SECRET]\"; echo oops >&2; exit 7");
    assert_eq!((text(&o.stdout).as_str(), text(&o.stderr).as_str()), ("n1 0 27342 []\n", "oops\n"));
    assert_eq!(o.status.code(), Some(7));
    assert_eq!(pair.sh("kill -9 $$").status.code(), Some(137));
    assert_eq!(text(&pair.sh("cat; echo end").stdout), "end\n", "there is nothing to read");
    let at = pair.base.path().to_str().unwrap();
    let there = pair.ok(0, &["run", "shop", "--node", "1", "--chdir", at, "--", "pwd"]);
    assert_eq!(there.trim(), at);
    // The node that is asked itself runs it as it always did.
    let here =
        pair.ok(0, &["run", "shop", "--node", "n0", "--chdir", at, "--", "sh", "-c", "echo $DVS_NODE; pwd"]);
    assert_eq!(here, format!("n0\n{at}\n"));
    let log = pair.ok(0, &["logs", "--node", "n1", "sh"]);
    assert!(log.contains("sh: n1 0 27342 []") && log.contains("sh: oops"), "{log}");
    assert!(pair.ok(1, &["logs", "program"]).contains("ended with 137"));
}

#[test]
fn what_cannot_run_is_said_with_its_reason() {
    let pair = Pair::start(true);
    let on_n1 = |dc: &'static str, program: &'static [&'static str], code| {
        pair.fails(&[&["run", dc, "--node", "n1", "--"], program].concat(), code)
    };
    let missing = on_n1("shop", &["no-such-program"], 4);
    assert!(missing.contains("cannot run no-such-program on node n1: No such file"), "{missing}");
    let folder = pair.fails(&["run", "shop", "--node", "n1", "--chdir", "/no/folder", "--", "true"], 4);
    assert!(folder.contains("in /no/folder on node n1"), "{folder}");
    assert!(on_n1("shop", &["/"], 5).contains("Permission denied"));
    assert!(on_n1("home", &["true"], 1).contains("dvs dc add-node home n1"));
    assert!(pair.fails(&["run", "shop", "--node", "n7", "--", "true"], 4).contains("dvs status"));
    let long = "x".repeat(40_000);
    assert!(
        pair.fails(&["run", "shop", "--node", "n1", "--", "true", &long], 1).contains("32768 is the most")
    );
    assert!(pair.fails(&["kill", "--program", "n1.99"], 1).contains("runs no program 99"));
    assert!(pair.fails(&["kill", "--program", "x"], 2).contains("like n1.4"));
}

#[test]
fn nothing_is_run_for_others_unless_it_is_allowed() {
    let pair = Pair::start(false);
    let why = pair.fails(&["run", "shop", "--node", "n1", "--", "true"], 5);
    assert!(why.contains("remote_programs = true"), "{why}");
    assert!(pair.fails(&["logs", "--node", "n1"], 5).contains("remote_programs = true"));
    assert!(pair.fails(&["kill", "--program", "n1.1"], 5).contains("remote_programs = true"));
    // Whoever may speak to this node's daemon is its user and may run what he likes.
    assert!(pair.ok(0, &["run", "shop", "--detach", "--", "true"]).contains("runs on node n0"));
}

#[test]
fn output_is_whole_however_much_it_is_and_however_slowly_it_is_read() {
    let pair = Pair::start(true);
    let (mut child, mut out) =
        pair.start_sh("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last >&2; exit 3");
    // Nobody reads it: the program waits, and everybody else goes on.
    assert_eq!(text(&pair.sh("echo quick").stdout), "quick\n");
    let mut all = Vec::new();
    out.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), all.iter().filter(|b| **b == b'x').count()), (5_000_001, 5_000_000));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "last\n");
    // The log kept what its bound allows, and the node's own events.
    let log = pair.ok(1, &["logs"]);
    assert!(log.len() < 3 << 20 && log.contains("daemon: node n1 serves"), "{}", log.len());
    // Many small records, too.
    let many = pair.sh("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); done");
    assert_eq!(text(&many.stdout).lines().count(), 3000);
    // And nobody to read the rest ends it.
    let mut head = pair.command(0, &["run", "shop", "--node", "n1", "--", "yes"]);
    let mut head = head.stdout(Stdio::piped()).spawn().unwrap();
    drop(head.stdout.take());
    assert_eq!(head.wait().unwrap().code(), Some(141));
    until("yes has ended", || pair.programs().is_empty());
}

#[test]
fn a_signal_reaches_the_program_and_leaving_ends_it() {
    let pair = Pair::start(true);
    let (mut child, mut out) =
        pair.start_sh("trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done");
    assert_eq!(line(&mut out), "ready");
    PidFd::open(child.id()).unwrap().signal(Signal::INT).unwrap();
    assert_eq!(line(&mut out), "caught");
    assert_eq!(child.wait().unwrap().code(), Some(4));

    let (mut child, mut out) = pair.start_sh("trap '' INT; echo $$; while :; do sleep 0.05; done");
    let held = process(&mut out);
    let terminal = PidFd::open(child.id()).unwrap();
    terminal.signal(Signal::INT).unwrap();
    // The second one: it was not heard before the first was passed on, so it is sent until it is.
    until("it leaves", || terminal.signal(Signal::INT).is_err() || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(held.wait(watchdog()).unwrap(), "the program goes on");

    let (mut child, mut out) = pair.start_sh("trap '' TERM; echo $$; while :; do sleep 0.05; done");
    let held = process(&mut out);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(held.wait(watchdog()).unwrap(), "it is killed when it does not end when asked");
    until("nothing is left", || pair.programs().is_empty());
}

#[test]
fn a_detached_program_goes_on_and_can_be_seen_and_ended() {
    let pair = Pair::start(true);
    let said = pair.ok(0, &["run", "shop", "--node", "n1", "-d", "--output", "json", "--", "sleep", "1000"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let number = said["program"].as_str().unwrap().to_string();
    let held = PidFd::open(said["pid"].as_u64().unwrap() as u32).unwrap();
    let rows = pair.programs();
    assert_eq!((rows.len(), &rows[0]["program"], &rows[0]["name"]), (1, &said["program"], &"sleep".into()));
    assert!(pair.ok(1, &["ps", "--programs", "shop"]).contains("nobody"));
    assert!(pair.ok(0, &["kill", "--program", &number]).contains("signalled"));
    assert!(held.wait(watchdog()).unwrap());
    until("it is gone", || pair.programs().is_empty());
    // As many as there may be; and all end with their node.
    for _ in 0..dvs::limits::PROGRAMS_MAX {
        pair.ok(1, &["run", "shop", "--detach", "--", "sleep", "1000"]);
    }
    assert!(pair.fails(&["run", "shop", "--node", "n1", "--", "true"], 1).contains("64 programs already"));
    let pids: Vec<u64> = pair.programs().iter().map(|p| p["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), dvs::limits::PROGRAMS_MAX);
    pair.ok(1, &["down"]);
    assert!(pids.iter().all(|p| !PathBuf::from(format!("/proc/{p}")).exists()), "programs are left");
}

/// Its notices of an end carry that code, see `dvs_kern`: the daemon is the parent.
#[test]
fn the_daemon_knows_how_the_session_of_a_program_ended() {
    let pair = Pair::start(true);
    let (exe, dir) = (env!("CARGO_BIN_EXE_dvs"), pair.dir(1));
    let files = [exe, "--runtime-dir", dir.to_str().unwrap(), "files", "shop", "--root", "/tmp"];
    for (force, code) in [(false, 143), (true, 137)] {
        pair.ok(0, &[&["run", "shop", "--node", "n1", "--detach", "--"], &files[..]].concat());
        until("it serves", || pair.ok(0, &["ps", "shop"]).contains("dvs-files"));
        let force = if force { &["--force"][..] } else { &[] };
        pair.ok(0, &[&["kill", "shop", "14"], force].concat());
        let ended = format!("(exit code {code})");
        until("its session has ended", || pair.ok(1, &["logs", "session"]).contains(&ended));
        until("its endpoints are free", || !pair.ok(0, &["ps", "shop"]).contains("dvs-files"));
    }
}

#[test]
fn a_node_that_dies_ends_what_it_runs_and_what_waits_for_it() {
    let mut pair = Pair::start(true);
    // The node that runs it.
    let (mut child, mut out) = pair.start_sh("echo $$; while :; do sleep 0.05; done");
    let held = process(&mut out);
    pair.daemons[1].kill().unwrap();
    pair.daemons[1].wait().unwrap();
    assert!(held.wait(watchdog()).unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut why = String::new();
    child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(why.contains("node n1 went away") && why.contains("how it ends is unknown"), "{why}");
    let down = pair.fails(&["run", "shop", "--node", "n1", "--", "true"], 3);
    assert!(down.contains("node n1 does not answer"), "{down}");
}

#[test]
fn a_program_ends_when_the_node_it_was_typed_at_dies() {
    let mut pair = Pair::start(true);
    let (mut child, mut out) = pair.start_sh("echo $$; while :; do sleep 0.05; done");
    let held = process(&mut out);
    let detached =
        pair.ok(0, &["run", "shop", "--node", "n1", "-d", "--output", "json", "--", "sleep", "1000"]);
    let detached: Value = serde_json::from_str(&detached).unwrap();
    pair.daemons[0].kill().unwrap();
    pair.daemons[0].wait().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(held.wait(watchdog()).unwrap(), "nobody waits for it");
    assert!(!PidFd::open(detached["pid"].as_u64().unwrap() as u32).unwrap().dead().unwrap());
}
