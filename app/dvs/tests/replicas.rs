//! Replicas that come, go and move, as typed: three machines on the loopback that may start programs for each
//! other.

mod common;
mod machines;

use common::until;
use machines::Machines;
use serde_json::Value;
use std::process::{Child, Stdio};

fn data(m: &Machines) -> String {
    m.base.path().join("kv-{node}").display().to_string()
}

fn serve(m: &Machines, n: usize, members: &[&str]) -> Child {
    let mut c = m.command(n, &["kv", "serve", "--data", &data(m)]);
    c.args(members).stdout(Stdio::null()).spawn().unwrap()
}

/// Who has a replica that counts.
fn members(m: &Machines, n: usize) -> Vec<u64> {
    let o = m.dvs(n, &["kv", "members", "ls", "--output", "json"]);
    let list: Value = serde_json::from_slice(&o.stdout).unwrap_or_default();
    let rows = list["members"].as_array().cloned().unwrap_or_default();
    let counts = rows.iter().filter(|r| r["votes"] == true && r["state"] != "says nothing");
    let mut nodes: Vec<u64> = counts.map(|r| r["node"].as_u64().unwrap()).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn replicas_come_go_and_move_and_leave_a_drained_node() {
    let m = Machines::new(3);
    let mut first = serve(&m, 0, &["--members", "m0"]);
    until("it serves", || members(&m, 0) == [0]);
    m.ok(2, &["kv", "put", "colour", "blue"]);
    assert!(m.fails(1, &["kv", "members", "add", "m0"], 5).contains("already"));
    assert!(m.fails(1, &["kv", "members", "add", "m7"], 4).contains("no node"));
    assert!(m.fails(1, &["kv", "members", "rm", "m1"], 4).contains("no replica"));
    assert!(m.fails(1, &["kv", "members", "rm", "m0"], 5).contains("last replica"));
    let said = m.fails(1, &["kv", "serve", "--data", &data(&m)], 5);
    assert!(said.contains("not in the list") && said.contains("dvs kv members add m1"), "{said}");

    // One more, started by hand.
    let said = m.ok(2, &["kv", "members", "add", "m1"]);
    assert!(said.contains("start it there with: dvs kv serve --dc shop"), "{said}");
    let mut second = serve(&m, 1, &[]);
    until("it counts", || members(&m, 2) == [0, 1]);

    // The first one moves; it leads.
    let said = m.fails(1, &["migrate", "kv", "--to", "m2"], 2);
    assert!(said.contains("--from n0"), "{said}");
    let said = m.ok(1, &["migrate", "kv", "--from", "m0", "--to", "m2", "--check"]);
    assert!(said.contains("nothing hinders"), "{said}");
    assert_eq!(members(&m, 1), [0, 1], "a check moves nothing");
    let said = m.ok(1, &["migrate", "kv", "--from", "m0", "--to", "m2"]);
    assert!(said.contains("kv has a replica on m2 now, and none on n0"), "{said}");
    assert!(first.wait().unwrap().success(), "the old one has ended in order");
    assert_eq!(members(&m, 0), [1, 2]);
    assert_eq!(m.ok(0, &["kv", "get", "colour"]).trim(), "blue");

    // A node is emptied.
    let said = m.ok(0, &["drain", "m1"]);
    assert!(said.contains("kv is on n0"), "{said}");
    assert!(second.wait().unwrap().success());
    assert_eq!(members(&m, 1), [0, 2]);
    assert_eq!(m.ok(1, &["kv", "get", "colour"]).trim(), "blue");
}
