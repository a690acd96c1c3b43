//! A service that moves, as typed: two machines on the loopback that may start programs for each other.

mod common;

use common::until;
use dvs_linux::testing::own_address;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

struct Machines {
    base: tempfile::TempDir,
}

impl Machines {
    fn new() -> Machines {
        let m = Machines { base: tempfile::tempdir().unwrap() };
        m.up(0, None);
        let token = m.ok(0, &["token"]).trim().to_owned();
        m.up(1, Some(&token));
        m.ok(0, &["dc", "create", "shop", "--nodes", "m0,m1"]);
        until("both know the container", || m.ok(1, &["dc", "ls"]).contains("shop"));
        m
    }

    fn dir(&self, n: usize) -> PathBuf {
        self.base.path().join(format!("m{n}"))
    }

    fn up(&self, n: usize, join: Option<&str>) {
        let (file, listen) = (self.base.path().join(format!("m{n}.toml")), own_address());
        let mut text = format!("node = \"m{n}\"\nlisten = \"{listen}\"\nremote_programs = true\n");
        let data = self.base.path().join(format!("data{n}"));
        writeln!(text, "runtime_dir = {:?}\ndata_dir = {data:?}", self.dir(n)).unwrap();
        if let Some(token) = join {
            writeln!(text, "join = \"{token}\"").unwrap();
        }
        std::fs::write(&file, text).unwrap();
        self.ok(n, &["up", "--config", &file.display().to_string()]);
    }

    fn command(&self, n: usize, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.arg("--runtime-dir").arg(self.dir(n)).args(["--node", &format!("m{n}")]).args(args);
        c
    }

    fn dvs(&self, n: usize, args: &[&str]) -> Output {
        self.command(n, args).output().unwrap()
    }

    fn ok(&self, n: usize, args: &[&str]) -> String {
        let o = self.dvs(n, args);
        assert!(o.status.success(), "{args:?}: {}", String::from_utf8_lossy(&o.stderr));
        String::from_utf8(o.stdout).unwrap()
    }

    fn fails(&self, n: usize, args: &[&str], code: i32) -> String {
        let o = self.dvs(n, args);
        let text = String::from_utf8_lossy(&o.stderr).into_owned() + &String::from_utf8_lossy(&o.stdout);
        assert_eq!(o.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    /// Where callers of the one service go.
    fn at(&self, n: usize) -> Option<u64> {
        let rows: Value = serde_json::from_str(&self.ok(n, &["service", "ls", "--output", "json"])).unwrap();
        rows.as_array().unwrap().first().and_then(|row| row["at"].as_u64())
    }

    fn serve(&self, n: usize) -> Child {
        let mut c = self.command(n, &["kv", "serve", "--alone"]);
        let child = c.stdout(Stdio::null()).spawn().unwrap();
        until("it serves", || self.at(n) == Some(n as u64));
        child
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for n in [1, 0] {
            self.dvs(n, &["down"]);
        }
    }
}

#[test]
fn a_service_moves_to_a_program_that_is_started_for_it_and_back_when_its_node_is_emptied() {
    let m = Machines::new();
    let mut program = m.serve(0);
    m.ok(1, &["kv", "put", "colour", "blue"]);
    let said = m.ok(1, &["migrate", "kv", "--to", "m1", "--check"]);
    assert!(said.contains("nothing hinders"), "{said}");
    assert_eq!(m.at(0), Some(0), "a check moves nothing");
    let said = m.ok(1, &["migrate", "kv", "--to", "m1", "--output", "json"]);
    let outcome: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&outcome["moved"], outcome["held_ms"].is_f64()), (&Value::Bool(true), true), "{said}");
    assert!(program.wait().unwrap().success(), "the old program has ended");
    assert_eq!(m.ok(0, &["kv", "get", "colour"]).trim(), "blue");
    // Its node is emptied: started again on the other one, as it was started there.
    let said = m.ok(0, &["drain", "m1"]);
    assert!(said.contains("kv is on n0"), "{said}");
    assert_eq!(m.ok(1, &["kv", "get", "colour"]).trim(), "blue");
    let said = m.fails(0, &["migrate", "shop/kv", "--to", "m1"], 5);
    assert!(said.contains("drained"), "{said}");
}

#[test]
fn what_is_in_the_way_of_a_move_is_said_and_nothing_changes() {
    let m = Machines::new();
    assert!(m.fails(0, &["migrate", "kv", "--to", "m1"], 4).contains("no service"));
    let mut program = m.serve(0);
    assert!(m.fails(1, &["migrate", "kv", "--to", "m0"], 5).contains("already"));
    assert!(m.fails(1, &["migrate", "kv", "--to", "m0", "--check"], 5).contains("already"));
    let said = m.fails(1, &["migrate", "kv", "--to", "m1", "--", "/bin/false"], 5);
    assert!(said.contains("ended with 1"), "{said}");
    let said = m.fails(1, &["migrate", "kv", "--to", "m1", "--", "/no/such/program"], 5);
    assert!(said.contains("cannot run"), "{said}");
    assert_eq!(m.at(0), Some(0));
    m.ok(1, &["kv", "put", "a", "1"]);
    program.kill().unwrap();
    program.wait().unwrap();
    until("it is nowhere", || m.at(0).is_none());
    assert!(m.fails(1, &["migrate", "kv", "--to", "m1"], 5).contains("nowhere"));
}
