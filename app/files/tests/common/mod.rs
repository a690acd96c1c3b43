//! Servers in threads, trees with everything in them, and a comparison of two trees.
#![allow(dead_code)] // each test file uses its part

use dvs::{Code, DcId, Endpoint, Process};
use dvs_files::{Client, Server, Tree};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub const DC: DcId = DcId(0);
pub const BLOCK: usize = dvs::limits::FILES_BLOCK_BYTES;

pub fn slot(n: i32) -> Endpoint {
    Endpoint::new(0, n)
}

/// A server of one folder on one endpoint; ends with the value.
pub struct Running {
    process: Process,
    at: Endpoint,
    thread: Option<JoinHandle<dvs::Error>>,
}

impl Running {
    pub fn start(process: &Process, folder: &Path, at: Endpoint) -> Self {
        Self::with(process, Tree::open(folder, false).unwrap(), at)
    }

    pub fn with(process: &Process, tree: Tree, at: Endpoint) -> Self {
        let port = process.bind(DC, at).unwrap();
        let thread = std::thread::spawn(move || Server::new(tree).serve(&port));
        Running { process: process.clone(), at, thread: Some(thread) }
    }

    /// As if it was killed: it does not answer what it may just have taken.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.process.stop(DC, self.at, Code::SHUTDOWN);
        assert_eq!(thread.join().unwrap().code, Code::SHUTDOWN);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn client(process: &Process, at: Endpoint, name: &str) -> Client<dvs::ThreadWait> {
    Client::new(process.bind(DC, Endpoint::NONE).unwrap(), at, name)
}

pub fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as u8
    };
    (0..n).map(|_| next()).collect()
}

/// Files of all kinds, folders with and without something in them, links, strange names.
pub fn make_tree(at: &Path) {
    let write = |p: &Path, n, seed, mode| {
        std::fs::write(p, bytes(n, seed)).unwrap();
        std::fs::set_permissions(p, std::fs::Permissions::from_mode(mode)).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000 + seed, 123_456_789);
        std::fs::File::open(p).unwrap().set_modified(old).unwrap();
    };
    let deep = at.join("a/b/c/d");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir(at.join("empty")).unwrap();
    write(&at.join("nothing"), 0, 1, 0o644);
    write(&at.join("a/small"), 1000, 2, 0o600);
    write(&at.join("a/program"), 5000, 3, 0o755);
    write(&deep.join("block"), BLOCK, 4, 0o644);
    write(&deep.join("large"), 5 * BLOCK + 77, 5, 0o444);
    write(&at.join(OsStr::from_bytes(b"strange \xff\n name")), 10, 6, 0o644);
    write(&at.join("x".repeat(255)), 2 * BLOCK, 7, 0o644);
    let long = at.join("p".repeat(200)).join("q".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    write(&long.join("far"), 3, 8, 0o644);
    symlink("a/small", at.join("link")).unwrap();
    symlink("/nowhere/at/all", at.join("broken")).unwrap();
    std::fs::set_permissions(at.join("empty"), std::fs::Permissions::from_mode(0o500)).unwrap();
}

/// Everything that a copy keeps, name by name.
pub fn listing(at: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = vec![at.to_path_buf()];
    while let Some(p) = open.pop() {
        let m = std::fs::symlink_metadata(&p).unwrap();
        let content = if m.is_symlink() {
            format!("-> {}", std::fs::read_link(&p).unwrap().display())
        } else if m.is_file() {
            blake3::hash(&std::fs::read(&p).unwrap()).to_string()
        } else {
            open.extend(std::fs::read_dir(&p).unwrap().map(|e| e.unwrap().path()));
            String::new()
        };
        let time = if m.is_symlink() { 0 } else { m.mtime_nsec() + m.mtime() };
        let name = p.strip_prefix(at).unwrap();
        out.push(format!("{name:?} {:o} {time} {content}", m.mode()));
    }
    out.sort();
    out
}
