//! `dvs cp` as it is typed: what it prints, word for word, and what a copy that was killed leaves.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A node with container `shop` and a served folder.
struct Served {
    base: tempfile::TempDir,
    daemon: Child,
    files: Option<Child>,
}

impl Served {
    fn start() -> Served {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("served")).unwrap();
        let dir = base.path().join("n");
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.env("DVS_DATA_DIR", base.path().join("data"))
            .arg("--runtime-dir")
            .arg(&dir)
            .args(["up", "--foreground"]);
        let daemon = c.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut served = Served { base, daemon, files: None };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !served.dvs(&["status"]).status.success() {
            assert!(std::time::Instant::now() < end, "the daemon does not start");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert!(served.dvs(&["dc", "create", "shop"]).status.success());
        let root = served.base.path().join("served");
        let mut c = served.command(&["files", "shop", "--root", root.to_str().unwrap()]);
        let mut files = c.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(files.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("serving "), "{line}");
        served.files = Some(files);
        served
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.arg("--runtime-dir").arg(self.base.path().join("n")).args(args).current_dir(self.base.path());
        c
    }

    fn dvs(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a copy prints, with the numbers that are never the same replaced.
    fn cp(&self, args: &[&str]) -> String {
        let o = self.dvs(&[&["cp"], args].concat());
        assert_eq!(String::from_utf8_lossy(&o.stderr), "", "no progress where there is no terminal");
        assert!(o.status.success());
        let text = String::from_utf8(o.stdout).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let at = first.rfind(" in ").unwrap();
        assert!(first.ends_with("/s)"), "{first}");
        format!("{} in T\n{rest}", &first[..at])
    }

    fn json(&self, args: &[&str]) -> Value {
        let o = self.dvs(&[&["cp"], args, &["--output", "json"]].concat());
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
        let mut v: Value = serde_json::from_slice(&o.stdout).unwrap();
        assert!(v["seconds"].take().as_f64().unwrap() >= 0.0);
        v
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for child in self.files.iter_mut().chain([&mut self.daemon]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn tree(at: &Path) {
    std::fs::create_dir_all(at.join("deep/empty")).unwrap();
    std::fs::write(at.join("letter"), "hello").unwrap();
    std::fs::write(at.join("deep/large"), vec![7u8; 3 << 20]).unwrap();
    symlink("letter", at.join("link")).unwrap();
}

#[test]
fn what_a_copy_prints() {
    let s = Served::start();
    tree(&s.base.path().join("tree"));
    assert_eq!(s.cp(&["tree", "n0:copy"]), "copied 2 files, 3.0 MiB in T\n  3 folders made\n  1 link made\n");
    assert_eq!(
        s.cp(&["tree", "shop:n0:copy2", "--check", "-j", "1"]),
        "copied 2 files, 3.0 MiB in T\n  3 folders made\n  1 link made\n  \
         2 files compared by digest: they are equal\n"
    );
    // Into the folder that is there; back; and again.
    assert_eq!(s.cp(&["n0:copy", "back"]).lines().next(), Some("copied 2 files, 3.0 MiB in T"));
    assert_eq!(
        s.cp(&["n0:copy/letter", "n0:copy2/letter"]),
        "copied 0 files, 0 B in T\n  1 file was there already\n"
    );
    assert_eq!(std::fs::read_link(s.base.path().join("back/link")).unwrap(), Path::new("letter"));
    let all = json!({
        "files": 2, "kept": 0, "folders": 3, "links": 1, "ignored": 0, "bytes": (3 << 20) + 5, "resumed": 0,
        "checked": 0, "failed": 0, "seconds": null, "failures": [],
    });
    assert_eq!(s.json(&["tree", "n0:copy3"]), all);
}

#[test]
fn what_a_copy_says_when_it_cannot() {
    let s = Served::start();
    tree(&s.base.path().join("tree"));
    let fails = |args: &[&str], code, word: &str| {
        let o = s.dvs(args);
        let text = String::from_utf8(o.stderr).unwrap();
        assert!(o.status.code() == Some(code) && text.contains(word), "{args:?}: {:?} {text}", o.status);
    };
    fails(&["cp", "missing", "n0:x"], 4, "missing: No such file");
    fails(&["cp", "n0:missing", "x"], 4, "n0: cannot read missing: No such file");
    fails(&["cp", "tree", "n9:x"], 4, "no node \"n9\"");
    fails(&["cp", "tree", "lab:n0:x"], 4, "no container \"lab\"");
    fails(&["cp", "tree", ":x"], 2, "write ./:x for a local file");
    fails(&["cp", "n0:../etc", "x"], 1, "leads out of");
    assert!(!s.base.path().join("x").exists(), "nothing half done");
}

#[test]
fn a_killed_copy_goes_on_where_it_was() {
    let s = Served::start();
    let tree = s.base.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for i in 0..8 {
        std::fs::write(tree.join(format!("f{i}")), vec![i; 16 << 20]).unwrap();
    }
    let mut killed = s.command(&["cp", "tree", "n0:copy"]).stdout(Stdio::null()).spawn().unwrap();
    let copy = s.base.path().join("served/copy");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::fs::read_dir(&copy).map_or(0, Iterator::count) == 0 {
        assert!(std::time::Instant::now() < end, "the copy does not begin");
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    // It may just have ended, on a machine that is fast enough.
    let _ = killed.kill();
    killed.wait().unwrap();
    let again = s.json(&["tree", "n0:copy", "--check"]);
    assert_eq!((again["failed"].as_u64(), again["checked"].as_u64()), (Some(0), Some(8)), "{again}");
    let names = std::fs::read_dir(&copy).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(
        names,
        ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"],
        "unfinished copies are left: {again}"
    );
}
