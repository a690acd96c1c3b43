//! `dvs kv` on one node, as people type it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const DVS: &str = env!("CARGO_BIN_EXE_dvs");

/// A node of its own, with a container; ends with the value.
struct World {
    base: tempfile::TempDir,
    children: Vec<Child>,
}

impl World {
    fn start() -> World {
        let world = World { base: tempfile::tempdir().unwrap(), children: Vec::new() };
        world.good(&["up"]);
        world.good(&["dc", "create", "shop"]);
        world
    }

    fn dir(&self) -> PathBuf {
        self.base.path().join("n")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(DVS);
        command.arg("--runtime-dir").arg(self.dir()).args(words).env("XDG_DATA_HOME", self.base.path());
        command.env("DVS_DATA_DIR", self.base.path().join("data"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, words: &[&str], code: i32, says: &str) {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
        assert!(errors.contains(says), "{words:?}: {errors}");
    }

    fn serve(&mut self, data: &Path) {
        let mut command = self.command(&["kv", "serve", "--dc", "shop", "--data"]);
        let mut child = command.arg(data).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.children.push(child);
        assert!(line.starts_with("replica of n0 at endpoint 15 of shop"), "{line}");
    }

    fn kill(&mut self) {
        let mut child = self.children.pop().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        while !self.children.is_empty() {
            self.kill();
        }
        self.run(&["down"]);
    }
}

#[test]
fn pairs_are_put_listed_and_kept_over_a_kill() {
    let mut world = World::start();
    let data = world.base.path().join("data");
    world.bad(&["kv", "get", "a", "--timeout", "300"], 4, "start a replica with: dvs kv serve");
    world.serve(&data);
    assert_eq!(world.good(&["kv", "put", "a", "1"]), "a has version 1\n");
    world.good(&["kv", "put", "b", "2", "--when", "0"]);
    world.bad(&["kv", "put", "b", "3", "--when", "0"], 5, "the key has version 2");
    world.kill();
    world.serve(&data);
    assert_eq!(world.good(&["kv", "get", "b"]), "2\n");
    world.bad(&["kv", "get", "c"], 4, "no key \"c\"");
    let list: serde_json::Value =
        serde_json::from_str(&world.good(&["--output", "json", "kv", "list", "--values", "--limit", "1"]))
            .unwrap();
    assert_eq!(list["more"], true);
    assert_eq!(list["pairs"][0]["value"], "1");
    assert_eq!(world.good(&["kv", "del", "a"]), "a is gone\n");
    let file = world.base.path().join("large");
    std::fs::write(&file, vec![0xff; 1 << 20]).unwrap();
    let file = file.display().to_string();
    world.good(&["kv", "put", "large", "--file", &file]);
    assert_eq!(world.run(&["kv", "get", "large", "--raw"]).stdout, vec![0xff; 1 << 20]);
    world.bad(&["kv", "put", &"k".repeat(1025), "v"], 2, "a key has 1 to 1024 bytes");
    let status: serde_json::Value =
        serde_json::from_str(&world.good(&["--output", "json", "kv", "status"])).unwrap();
    assert_eq!((&status["replicas"][0]["state"], &status["store"]["keys"]), (&"leads".into(), &2.into()));
    world.bad(&["kv", "serve", "--data", "/nonexistent/x"], 5, "a replica runs here already");
    world.good(&["kv", "bench", "--clients", "2", "--seconds", "1"]);
}
