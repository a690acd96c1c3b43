//! Replicas that come, go and move, as typed: three machines on the loopback that may start programs for each
//! other.

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
        for n in 1..3 {
            let token = m.ok(0, &["token"]).trim().to_owned();
            m.up(n, Some(&token));
        }
        m.ok(0, &["dc", "create", "shop", "--nodes", "m0,m1,m2"]);
        (0..3).for_each(|n| until("all know the container", || m.ok(n, &["dc", "ls"]).contains("shop")));
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

    fn data(&self) -> String {
        self.base.path().join("kv-{node}").display().to_string()
    }

    fn serve(&self, n: usize, members: &[&str]) -> Child {
        let mut c = self.command(n, &["kv", "serve", "--data", &self.data()]);
        c.args(members).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Who has a replica that counts.
    fn members(&self, n: usize) -> Vec<u64> {
        let o = self.dvs(n, &["kv", "members", "ls", "--output", "json"]);
        let list: Value = serde_json::from_slice(&o.stdout).unwrap_or_default();
        let rows = list["members"].as_array().cloned().unwrap_or_default();
        let counts = rows.iter().filter(|r| r["votes"] == true && r["state"] != "says nothing");
        let mut nodes: Vec<u64> = counts.map(|r| r["node"].as_u64().unwrap()).collect();
        nodes.sort_unstable();
        nodes
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for n in [2, 1, 0] {
            self.dvs(n, &["down"]);
        }
    }
}

#[test]
fn replicas_come_go_and_move_and_leave_a_drained_node() {
    let m = Machines::new();
    let mut first = m.serve(0, &["--members", "m0"]);
    until("it serves", || m.members(0) == [0]);
    m.ok(2, &["kv", "put", "colour", "blue"]);
    assert!(m.fails(1, &["kv", "members", "add", "m0"], 5).contains("already"));
    assert!(m.fails(1, &["kv", "members", "add", "m7"], 4).contains("no node"));
    assert!(m.fails(1, &["kv", "members", "rm", "m1"], 4).contains("no replica"));
    assert!(m.fails(1, &["kv", "members", "rm", "m0"], 5).contains("last replica"));
    let said = m.fails(1, &["kv", "serve", "--data", &m.data()], 5);
    assert!(said.contains("not in the list") && said.contains("dvs kv members add m1"), "{said}");

    // One more, started by hand.
    let said = m.ok(2, &["kv", "members", "add", "m1"]);
    assert!(said.contains("start it there with: dvs kv serve --dc shop"), "{said}");
    let mut second = m.serve(1, &[]);
    until("it counts", || m.members(2) == [0, 1]);

    // The first one moves; it leads.
    let said = m.fails(1, &["migrate", "kv", "--to", "m2"], 2);
    assert!(said.contains("--from n0"), "{said}");
    let said = m.ok(1, &["migrate", "kv", "--from", "m0", "--to", "m2", "--check"]);
    assert!(said.contains("nothing hinders"), "{said}");
    assert_eq!(m.members(1), [0, 1], "a check moves nothing");
    let said = m.ok(1, &["migrate", "kv", "--from", "m0", "--to", "m2"]);
    assert!(said.contains("kv has a replica on m2 now, and none on n0"), "{said}");
    assert!(first.wait().unwrap().success(), "the old one has ended in order");
    assert_eq!(m.members(0), [1, 2]);
    assert_eq!(m.ok(0, &["kv", "get", "colour"]).trim(), "blue");

    // A node is emptied.
    let said = m.ok(0, &["drain", "m1"]);
    assert!(said.contains("kv is on n0"), "{said}");
    assert!(second.wait().unwrap().success());
    assert_eq!(m.members(1), [0, 2]);
    assert_eq!(m.ok(1, &["kv", "get", "colour"]).trim(), "blue");
}
