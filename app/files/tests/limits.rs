//! A side that fails, a client that lies, a path that leads out.

mod common;

use common::{BLOCK, DC, Running, bytes, client, slot};
use dvs::{Code, Endpoint, Lend, Message, Timeout};
use dvs_files::protocol::{self, Answer, Op};
use dvs_files::{
    Cause, Copier, Entry, Finish, Hash, Meta, Options, Refusal, RelPath, Side, Stamp, Tree, copy_once,
};
use proptest::prelude::{ProptestConfig, any, proptest};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A disk that is full after so many writes.
struct Full<'a>(&'a Tree, AtomicU32);

impl Full<'_> {
    fn room(&self) -> Result<(), Cause> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map(|_| ()).map_err(|_| Refusal::Os(28).into())
    }
}

type Done<T> = Result<T, Cause>;

impl Side for Full<'_> {
    fn name(&self) -> &str {
        "n3"
    }
    fn stat(&self, path: &RelPath) -> Done<Option<Meta>> {
        self.0.stat(path)
    }
    fn list(&self, path: &RelPath, after: &[u8]) -> Done<(Vec<Entry>, bool)> {
        self.0.list(path, after)
    }
    fn read(&self, path: &RelPath, offset: u64, into: &mut [u8], stamp: Stamp) -> Done<(usize, Hash)> {
        self.0.read(path, offset, into, stamp)
    }
    fn hashes(&self, path: &RelPath, part: bool, first: u64, count: u32) -> Done<Vec<Hash>> {
        self.0.hashes(path, part, first, count)
    }
    fn write(&self, path: &RelPath, offset: u64, data: &[u8], hash: &Hash) -> Done<()> {
        self.room()?;
        self.0.write(path, offset, data, hash)
    }
    fn put(&self, path: &RelPath, data: &[u8], hash: &Hash, finish: Finish) -> Done<()> {
        self.room()?;
        self.0.put(path, data, hash, finish)
    }
    fn commit(&self, path: &RelPath, size: u64, finish: Finish) -> Done<()> {
        self.0.commit(path, size, finish)
    }
    fn discard(&self, path: &RelPath) -> Done<()> {
        self.0.discard(path)
    }
    fn make_folder(&self, path: &RelPath) -> Done<()> {
        self.0.make_folder(path)
    }
    fn link(&self, path: &RelPath, target: &[u8]) -> Done<()> {
        self.0.link(path, target)
    }
    fn read_link(&self, path: &RelPath) -> Done<Vec<u8>> {
        self.0.read_link(path)
    }
    fn settle(&self, path: &RelPath, finish: Finish) -> Done<()> {
        self.0.settle(path, finish)
    }
    fn sync(&self) -> Done<()> {
        self.0.sync()
    }
}

fn path(p: &[u8]) -> RelPath {
    RelPath::parse(p).unwrap()
}

const FINISH: Finish = Finish { mode: 0o600, mtime: (1, 2) };

#[test]
fn a_full_disk_stops_everything_and_the_rest_is_copied_later() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(from.path().join("a"), bytes(4 * BLOCK, 1)).unwrap();
    std::fs::write(from.path().join("b"), bytes(10, 1)).unwrap();
    let (source, disk) = (Tree::open(from.path(), true).unwrap(), Tree::open(to.path(), false).unwrap());
    let full = Full(&disk, AtomicU32::new(2));
    let copier = Copier::prepare(&source, b"", &full, b"", &Options::default()).unwrap();
    let e = copier.work(&source, &full, &|_| {}).unwrap_err();
    assert!(e.to_string().starts_with("n3: cannot write a: No space left on device"), "{e}");
    assert!(!to.path().join("a").exists() && !to.path().join("b").exists());
    let report = copy_once(&source, b"", &disk, b"", &Options::default()).unwrap();
    assert_eq!((report.files, report.resumed), (2, 2 * BLOCK as u64));
}

/// A folder with a secret beside it, and links that lead there.
fn prison() -> (tempfile::TempDir, std::path::PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    std::fs::create_dir_all(root.join("in")).unwrap();
    std::fs::create_dir(outer.path().join("out")).unwrap();
    std::fs::write(outer.path().join("out/secret"), "s").unwrap();
    std::fs::write(root.join("in/open"), "o").unwrap();
    symlink("../out", root.join("relative")).unwrap();
    symlink(outer.path().join("out"), root.join("absolute")).unwrap();
    symlink("in", root.join("inner")).unwrap();
    symlink("../out/secret", root.join("file")).unwrap();
    (outer, root)
}

fn nothing_leads_out(tree: Tree, root: &Path) {
    for p in [&b"relative/secret"[..], b"absolute/secret", b"file"] {
        let stamp = tree.stat(&path(b"in/open")).unwrap().unwrap().stamp();
        let hash = *blake3::hash(b"x").as_bytes();
        assert!(tree.read(&path(p), 0, &mut [0; 9], stamp).is_err());
        assert!(tree.hashes(&path(p), false, 0, 1).is_err());
        if p != b"file" {
            assert!(tree.stat(&path(p)).is_err());
            assert!(tree.write(&path(p), 0, b"x", &hash).is_err());
            assert!(tree.put(&path(p), b"x", &hash, FINISH).is_err());
            assert!(tree.make_folder(&path(p)).is_err());
            assert!(tree.link(&path(p), b"x").is_err());
        }
    }
    assert!(tree.list(&path(b"relative"), b"").is_err());
    let out = std::fs::read_dir(root.parent().unwrap().join("out")).unwrap();
    assert_eq!(out.count(), 1);
    // A file is put in the place of a link, not where it leads.
    tree.put(&path(b"file"), b"x", blake3::hash(b"x").as_bytes(), FINISH).unwrap();
    assert_eq!(std::fs::read(root.join("../out/secret")).unwrap(), b"s");
    assert_eq!(std::fs::read(root.join("file")).unwrap(), b"x");
    // An unfinished copy that is really a link is not written through.
    symlink("../out/secret", root.join(".y.dvs-part")).unwrap();
    assert!(tree.write(&path(b"y"), 0, b"x", blake3::hash(b"x").as_bytes()).is_err());
    assert_eq!(std::fs::read(root.join("../out/secret")).unwrap(), b"s");
}

#[test]
fn no_link_leads_out_of_the_served_folder() {
    let (_outer, root) = prison();
    let tree = Tree::open(&root, false).unwrap();
    assert_eq!(tree.stat(&path(b"relative/secret")), Err(Refusal::Escape.into()));
    assert!(tree.stat(&path(b"inner/open")).unwrap().is_some(), "links within are fine");
    nothing_leads_out(tree, &root);
}

#[test]
fn nor_where_the_kernel_cannot_help() {
    let (_outer, root) = prison();
    nothing_leads_out(Tree::open(&root, false).unwrap().walking(), &root);
}

#[test]
fn served_for_reading_only() {
    let folder = tempfile::tempdir().unwrap();
    let process = dvs::alone();
    let _server = Running::with(&process, Tree::open(folder.path(), true).unwrap(), slot(10));
    let there = client(&process, slot(10), "n1");
    assert_eq!(there.hello(), Ok(true));
    let refused = Err(Cause::Refused(Refusal::ReadOnly));
    let hash = *blake3::hash(b"x").as_bytes();
    assert_eq!(there.put(&path(b"x"), b"x", &hash, FINISH), refused);
    assert_eq!(there.write(&path(b"x"), 0, b"x", &hash), refused);
    assert_eq!(there.make_folder(&path(b"x")), refused);
    assert_eq!(there.link(&path(b"x"), b"x"), refused);
    assert_eq!(there.discard(&path(b"x")), refused);
    assert_eq!(there.settle(&path(b""), FINISH), refused);
}

#[test]
fn damage_on_the_way_is_noticed_and_a_second_commit_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let process = dvs::alone();
    let _server = Running::start(&process, folder.path(), slot(10));
    let there = client(&process, slot(10), "n1");
    let hash = *blake3::hash(b"right").as_bytes();
    assert_eq!(there.write(&path(b"x"), 0, b"wrong", &hash), Err(Refusal::Corrupt.into()));
    there.write(&path(b"x"), 0, b"right", &hash).unwrap();
    assert_eq!(there.commit(&path(b"x"), 6, FINISH), Err(Refusal::Incomplete.into()));
    there.commit(&path(b"x"), 5, FINISH).unwrap();
    there.commit(&path(b"x"), 5, FINISH).unwrap();
    assert_eq!(there.commit(&path(b"x"), 4, FINISH), Err(Refusal::Incomplete.into()));
    there.discard(&path(b"x")).unwrap();
    there.sync().unwrap();
}

#[test]
fn lists_of_many_names_come_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..5000 {
        std::fs::write(folder.path().join(format!("{i:05}-{}", "n".repeat(i % 200))), "").unwrap();
    }
    let process = dvs::alone();
    let _server = Running::start(&process, folder.path(), slot(10));
    let there = client(&process, slot(10), "n1");
    let (mut names, mut after) = (Vec::new(), Vec::new());
    loop {
        let (page, more) = there.list(&path(b""), &after).unwrap();
        names.extend(page.into_iter().map(|e| e.name));
        after.clone_from(names.last().unwrap());
        if !more {
            break;
        }
    }
    assert_eq!(names.len(), 5000);
    assert!(names.is_sorted());
}

#[test]
fn what_is_lent_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), "12345").unwrap();
    let process = dvs::alone();
    let _server = Running::start(&process, folder.path(), slot(10));
    let me = process.bind(DC, Endpoint::NONE).unwrap();
    let ask = |op: &Op, text: &[u8], lends: &mut [Lend<'_>]| {
        let (mut m, _) = protocol::encode_request(op, text);
        me.sendrec_with(slot(10), &mut m, lends, Timeout::Forever).unwrap();
        protocol::decode_answer(&m).unwrap()
    };
    let meta = match ask(&Op::Stat, b"x", &mut []) {
        Ok(Answer::Meta(Some(m))) => m,
        other => panic!("{other:?}"),
    };
    let read = Op::Read { offset: 0, length: 5, stamp: meta.stamp() };
    assert_eq!(ask(&read, b"x", &mut []), Err(Refusal::NoBuffer));
    assert_eq!(ask(&read, b"x", &mut [Lend::Write(&mut [0; 4])]), Err(Refusal::NoBuffer));
    assert_eq!(ask(&read, b"x", &mut [Lend::Read(&[0; 5])]), Err(Refusal::Copy(Code::FAULT as i32)));
    let huge = Op::Read { offset: 0, length: u32::MAX, stamp: meta.stamp() };
    assert_eq!(ask(&huge, b"x", &mut [Lend::Write(&mut [0; 4])]), Err(Refusal::BadRequest));
    let many = Op::Hashes { first: u64::MAX, count: u32::MAX, part: false };
    assert_eq!(ask(&many, b"x", &mut [Lend::Write(&mut [0; 32])]), Err(Refusal::BadRequest));
    let far = Op::Hashes { first: u64::MAX, count: 2, part: false };
    assert_eq!(ask(&far, b"x", &mut [Lend::Write(&mut [0; 64])]), Err(Refusal::BadRequest));
    let long = [b'y'; 300];
    assert_eq!(ask(&Op::Stat, &long, &mut []), Err(Refusal::NoBuffer));
    let endless = vec![b'/'; 9000];
    let mut lends = [Lend::Read(&[]), Lend::Read(&endless)];
    assert_eq!(ask(&Op::Stat, &long, &mut lends), Err(Refusal::BadPath));
    let outside = Op::Write { offset: u64::MAX, length: 1, hash: *blake3::hash(b"1").as_bytes() };
    assert!(ask(&outside, b"x", &mut [Lend::Read(b"1")]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_server_outlives_any_request(requests in proptest::collection::vec(
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..=192)), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let process = dvs::alone();
        let _server = Running::start(&process, folder.path(), slot(10));
        let me = process.bind(DC, Endpoint::NONE).unwrap();
        for (kind, bytes) in requests {
            let mut m = Message::new(if kind > 20 { protocol::REQUEST } else { i32::from(kind) });
            m.set_bytes(&bytes).unwrap();
            if kind > 40 {
                m.inline_mut()[0] = protocol::VERSION; // far enough to be read
            }
            let mut room = [0; 100];
            let mut lends = [Lend::Write(&mut room), Lend::Read(b"name")];
            me.sendrec_with(slot(10), &mut m, &mut lends, Timeout::Forever).unwrap();
            assert!(protocol::decode_answer(&m).is_some());
        }
    }
}
