//! Machines that found, join and leave a system, as typed: each a daemon in folders of its own, on the
//! loopback, with TLS.

mod common;

use common::until;
use dvs_linux::testing::own_address;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

struct Machines {
    base: tempfile::TempDir,
    at: Vec<SocketAddr>,
}

impl Machines {
    fn new(count: usize) -> Machines {
        Machines { base: tempfile::tempdir().unwrap(), at: (0..count).map(|_| own_address()).collect() }
    }

    fn dir(&self, m: usize) -> PathBuf {
        self.base.path().join(format!("m{m}"))
    }

    fn dvs(&self, m: usize, args: &[&str]) -> Output {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.arg("--runtime-dir").arg(self.dir(m)).args(["--node", &format!("m{m}")]).args(args);
        c.env("DVS_DATA_DIR", self.base.path().join(format!("data{m}"))).output().unwrap()
    }

    fn ok(&self, m: usize, args: &[&str]) -> String {
        let o = self.dvs(m, args);
        assert!(o.status.success(), "{args:?}: {}", String::from_utf8_lossy(&o.stderr));
        String::from_utf8(o.stdout).unwrap()
    }

    fn fails(&self, m: usize, args: &[&str], code: i32) -> String {
        let o = self.dvs(m, args);
        let text = String::from_utf8(o.stderr).unwrap();
        assert_eq!(o.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    fn found(&self) {
        self.ok(0, &["up", "--listen", &self.at[0].to_string()]);
    }

    fn token(&self) -> String {
        self.ok(0, &["token"]).trim().to_string()
    }

    fn join(&self, m: usize) {
        let token = self.token();
        self.ok(m, &["join", &token, "--listen", &self.at[m].to_string()]);
    }

    fn nodes(&self, m: usize) -> Vec<Value> {
        let text = self.ok(m, &["nodes", "--output", "json"]);
        serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
    }

    fn cluster(&self, m: usize) -> Value {
        let text = self.ok(m, &["status", "--output", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["cluster"].clone()
    }

    fn kill(&self, m: usize) {
        let text = self.ok(m, &["status", "--output", "json"]);
        let pid = serde_json::from_str::<Value>(&text).unwrap()["pid"].as_u64().unwrap();
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        until("it is gone", || rustix::process::test_kill_process(pid).is_err());
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for m in 0..self.at.len() {
            self.dvs(m, &["down"]);
        }
    }
}

fn standing(nodes: &[Value], n: usize) -> (String, String) {
    let text = |f: &str| nodes.get(n).map_or(String::new(), |v| v[f].as_str().unwrap().to_string());
    (text("standing"), text("role"))
}

#[test]
fn three_machines_become_one_system_and_survive_one() {
    let m = Machines::new(3);
    m.found();
    (1..3).for_each(|n| m.join(n));
    until("all have a vote", || {
        let nodes = m.nodes(2);
        nodes.len() == 3
            && nodes.iter().all(|n| n["standing"] == "up" && n["role"] != "learner" && n["role"] != "-")
    });
    m.ok(1, &["dc", "create", "shop", "--nodes", "m0,m1,m2"]);
    for n in 0..3 {
        until("all know the container", || m.ok(n, &["dc", "ls"]).contains("shop"));
    }
    // Whoever founded it is gone: the others go on, also with decisions.
    m.kill(0);
    until("it is lost", || standing(&m.nodes(1), 0).0 == "down");
    m.ok(2, &["dc", "create", "other", "--nodes", "m1,m2"]);
    m.ok(0, &["up"]);
    until("it is one of them again", || standing(&m.nodes(2), 0).0 == "up");
    until("it knows what it missed", || m.ok(0, &["dc", "ls"]).contains("other"));
    assert_eq!(m.cluster(0)["spare"], 1);
}

#[test]
fn who_may_not_join_is_told_why() {
    let m = Machines::new(3);
    m.found();
    let listen = m.at[1].to_string();
    let token = m.token();
    assert!(m.fails(1, &["join", "hello"], 2).contains("no token"));
    let slip = format!("{}aaaa", &token[..token.len() - 4]);
    assert!(m.fails(1, &["join", &slip, "--listen", &listen], 2).contains("mistyped"));
    m.ok(1, &["join", &token, "--listen", &listen]);
    let said = m.fails(1, &["join", &token], 1);
    assert!(said.contains("already") && said.contains("dvs leave"), "{said}");
    // It was for one machine.
    let said = m.fails(2, &["join", &token, "--listen", &m.at[2].to_string()], 5);
    assert!(said.contains("used up") && said.contains("dvs token"), "{said}");
    // Two machines with one name.
    let token = m.token();
    let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
    c.arg("--runtime-dir").arg(m.dir(2)).args(["--node", "m1", "join", &token, "--listen", "127.0.0.1:1"]);
    let o = c.env("DVS_DATA_DIR", m.base.path().join("data2")).output().unwrap();
    assert!(String::from_utf8_lossy(&o.stderr).contains("--name") || !o.status.success());
    // Nobody listens where the token says.
    m.ok(0, &["down"]);
    let said = m.fails(2, &["join", &token, "--listen", &m.at[2].to_string()], 3);
    assert!(said.contains("cannot connect"), "{said}");
}

#[test]
fn a_machine_leaves_and_joins_again() {
    let m = Machines::new(2);
    m.found();
    let said = m.fails(0, &["leave"], 5);
    assert!(said.contains("only node"), "{said}");
    m.join(1);
    until("it is up", || standing(&m.nodes(0), 1).0 == "up");
    let said = m.fails(0, &["leave", "m1"], 5);
    assert!(said.contains("is up"), "{said}");
    m.ok(1, &["leave"]);
    until("it is gone", || m.nodes(0).len() == 1);
    until("its daemon has ended", || !m.dvs(1, &["status"]).status.success());
    m.join(1);
    until("it is up again", || standing(&m.nodes(0), 1).0 == "up");
    // One that does not come back is taken out by another.
    m.kill(1);
    until("it is lost", || standing(&m.nodes(0), 1).0 == "down");
    m.ok(0, &["leave", "m1"]);
    assert_eq!(m.nodes(0).len(), 1);
}

#[test]
fn the_founder_leaves_and_its_system_goes_on() {
    let m = Machines::new(2);
    m.found();
    m.join(1);
    m.ok(0, &["dc", "create", "shop", "--nodes", "m0,m1"]);
    until("it is up", || standing(&m.nodes(0), 1).0 == "up");
    m.ok(0, &["leave"]);
    until("the other one leads", || {
        m.dvs(1, &["nodes"]).status.success() && standing(&m.nodes(1), 0).1 == "leader"
    });
    m.ok(1, &["dc", "create", "more"]);
    assert!(m.ok(1, &["dc", "ls"]).contains("shop"));
}

#[test]
fn a_witness_has_a_vote_and_runs_nothing() {
    let m = Machines::new(3);
    m.found();
    m.join(1);
    let token = m.token();
    m.ok(2, &["join", &token, "--witness", "--listen", &m.at[2].to_string()]);
    until("it has a vote", || standing(&m.nodes(0), 2).1 == "voter");
    let said = m.fails(0, &["dc", "create", "shop", "--nodes", "m0,m2"], 4);
    assert!(said.contains("m2") || said.contains("node"), "{said}");
    m.kill(0);
    until("two of three go on", || standing(&m.nodes(1), 0).0 == "down");
    m.ok(1, &["dc", "create", "shop"]);
}
