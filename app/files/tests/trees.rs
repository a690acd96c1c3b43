//! Whole trees between two servers: nothing is lost, and a copy that was cut goes on.

mod common;

use common::{BLOCK, DC, Running, bytes, client, listing, make_tree, slot};
use dvs::{Code, Endpoint, Scheduler};
use dvs_files::copy::Sides;
use dvs_files::{Cause, Client, Copier, Options, Refusal, Report, Server, Tree, copy_once};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const CHECK: Options = Options { always: false, check: true, sync: false };

fn folders() -> (tempfile::TempDir, tempfile::TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

fn parts_below(at: &Path) -> usize {
    listing(at).iter().filter(|l| l.contains("dvs-part")).count()
}

#[test]
fn a_tree_arrives_with_all_that_is_in_it() {
    let (from, to) = folders();
    make_tree(&from.path().join("src"));
    let process = dvs::alone();
    let _servers = [
        Running::start(&process, from.path(), slot(10)),
        Running::start(&process, from.path(), slot(11)),
        Running::start(&process, to.path(), slot(12)),
        Running::start(&process, to.path(), slot(13)),
    ];
    let make = |i: usize| {
        let i = i as i32 % 2;
        let source = client(&process, slot(10 + i), "source");
        Ok::<Sides, _>((Box::new(source), Box::new(client(&process, slot(12 + i), "target"))))
    };
    let (source, target) = make(0).unwrap();
    let copier = Copier::prepare(&*source, b"src", &*target, b"dst", &CHECK).unwrap();
    let last = Mutex::new(None);
    copier.work_in_threads(4, &make, &|p| *last.lock().unwrap() = Some(*p)).unwrap();
    copier.finish(&*target, &CHECK).unwrap();
    copier.begin_check();
    copier.work_in_threads(4, &make, &|_| {}).unwrap();
    let report = copier.report();
    assert_eq!(report.failures, []);
    assert_eq!((report.files, report.checked, report.links, report.kept), (8, 8, 2, 0));
    assert_eq!(listing(&from.path().join("src")), listing(&to.path().join("dst")));
    let p = copier.progress();
    assert_eq!((p.files_done, p.bytes_done), (p.files, p.bytes));
    assert!(last.lock().unwrap().is_some());

    // Again, now into the folder: by its own name.
    let report = copy_once(&*source, b"src", &*target, b"dst", &CHECK).unwrap();
    assert_eq!(report.files, 8);
    assert_eq!(listing(&from.path().join("src")), listing(&to.path().join("dst/src")));
    // And again what is there already.
    let report = copy_once(&*source, b"src", &*target, b"dst", &CHECK).unwrap();
    assert_eq!((report.files, report.kept, report.checked), (0, 8, 8));
    let always = Options { always: true, ..CHECK };
    assert_eq!(copy_once(&*source, b"src", &*target, b"dst", &always).unwrap().files, 8);
    assert_eq!(listing(&from.path().join("src")), listing(&to.path().join("dst/src")));
}

#[test]
fn a_copy_that_was_cut_goes_on_in_the_folder_it_made_and_another_goes_into_it() {
    let (from, to) = folders();
    make_tree(&from.path().join("src"));
    std::fs::create_dir(from.path().join("other")).unwrap();
    let (source, target) = (Tree::open(from.path(), false).unwrap(), Tree::open(to.path(), false).unwrap());
    // Cut as soon as it had made its folders.
    drop(Copier::prepare(&source, b"src", &target, b"dst", &CHECK).unwrap());
    assert_eq!(parts_below(to.path()), 1, "the mark");
    copy_once(&source, b"other", &target, b"dst", &CHECK).unwrap();
    assert!(to.path().join("dst/other").is_dir(), "not of that source");
    std::fs::remove_dir(to.path().join("dst/other")).unwrap();
    let report = copy_once(&source, b"src", &target, b"dst", &CHECK).unwrap();
    assert_eq!((report.files, report.checked, report.failed), (8, 8, 0));
    assert_eq!(listing(&from.path().join("src")), listing(&to.path().join("dst")));
    assert_eq!(parts_below(to.path()), 0, "the mark is gone");
    // It is complete: the next one goes into it, as cp -r does.
    copy_once(&source, b"src", &target, b"dst", &CHECK).unwrap();
    assert!(to.path().join("dst/src").is_dir());
    assert_eq!(parts_below(to.path()), 0);
}

/// Ends servers that wait for requests, also when an assertion fails.
struct EndsServers(dvs::Process, [Endpoint; 2]);

impl Drop for EndsServers {
    fn drop(&mut self) {
        for at in self.1 {
            self.0.stop(DC, at, Code::SHUTDOWN);
        }
    }
}

#[test]
fn coroutines_serve_and_copy_too() {
    let (from, to) = folders();
    make_tree(&from.path().join("src"));
    let process = dvs::alone();
    let scheduler = Scheduler::new(&process);
    for (at, folder) in [(slot(10), from.path()), (slot(11), to.path())] {
        let tree = Tree::open(folder, false).unwrap();
        scheduler
            .spawn_with_stack(1 << 20, move |co| {
                let port = co.bind(DC, at).unwrap();
                assert_eq!(Server::new(tree).serve(&port).code, Code::SHUTDOWN);
            })
            .unwrap();
    }
    scheduler
        .spawn_with_stack(1 << 20, move |co| {
            let _ends = EndsServers(co.process().clone(), [slot(10), slot(11)]);
            let bind = || co.bind(DC, Endpoint::NONE).unwrap();
            let (source, target) = (Client::new(bind(), slot(10), "a"), Client::new(bind(), slot(11), "b"));
            assert!(!source.hello().unwrap());
            let report = copy_once(&source, b"src", &target, b"dst", &CHECK).unwrap();
            assert_eq!((report.files, report.failed, report.checked), (8, 0, 8));
        })
        .unwrap();
    assert_eq!(scheduler.run(), 0, "no coroutine panicked");
    assert_eq!(listing(&from.path().join("src")), listing(&to.path().join("dst")));
}

/// Copies one large file from the local disk to a server that dies after so many requests.
fn cut_copy(from: &Path, to: &Path, requests: u64) -> (Cause, Report) {
    let process = dvs::alone();
    let server = Mutex::new(Some(Running::start(&process, to, slot(10))));
    let source = Tree::open(from, true).unwrap();
    let target = client(&process, slot(10), "n3");
    let copier = Copier::prepare(&source, b"large", &target, b"", &CHECK).unwrap();
    let count = AtomicU64::new(0);
    let e = copier
        .work(&source, &target, &|_| {
            if count.fetch_add(1, Ordering::Relaxed) + 1 == requests {
                server.lock().unwrap().take().unwrap().stop();
            }
        })
        .unwrap_err();
    assert_eq!((e.side.as_str(), e.act, e.path.as_slice()), ("n3", "write", &b"large"[..]));
    (e.cause, copier.report())
}

#[test]
fn a_server_dies_in_the_middle_and_the_copy_goes_on() {
    let (from, to) = folders();
    let data = bytes(6 * BLOCK + 5, 3);
    std::fs::write(from.path().join("large"), &data).unwrap();
    let (cause, report) = cut_copy(from.path(), to.path(), 3);
    assert!(matches!(&cause, Cause::Call(e) if e.code == Code::DSTDIED), "{cause}");
    assert_eq!((report.files, report.failed), (0, 1));
    assert_eq!(parts_below(to.path()), 1);
    assert!(!to.path().join("large").exists());

    // One of the blocks that arrived is damaged meanwhile: it is copied anew, the others are kept.
    let part = to.path().join(".large.dvs-part");
    let mut damaged = std::fs::read(&part).unwrap();
    assert_eq!(damaged.len(), 3 * BLOCK);
    damaged[BLOCK + 9] ^= 1;
    std::fs::write(&part, damaged).unwrap();

    let process = dvs::alone();
    let _server = Running::start(&process, to.path(), slot(10));
    let source = Tree::open(from.path(), true).unwrap();
    let report = copy_once(&source, b"large", &client(&process, slot(10), "n3"), b"", &CHECK).unwrap();
    assert_eq!((report.files, report.resumed), (1, 2 * BLOCK as u64));
    assert_eq!(std::fs::read(to.path().join("large")).unwrap(), data);
    assert_eq!(parts_below(to.path()), 0);
}

#[test]
fn a_file_that_changes_meanwhile_fails_alone() {
    let (from, to) = folders();
    for name in ["grows", "stays"] {
        std::fs::write(from.path().join(name), bytes(3 * BLOCK, 1)).unwrap();
    }
    let (source, target) = (Tree::open(from.path(), true).unwrap(), Tree::open(to.path(), false).unwrap());
    let copier = Copier::prepare(&source, b"", &target, b"", &Options::default()).unwrap();
    let first = AtomicU64::new(0);
    copier
        .work(&source, &target, &|_| {
            if first.fetch_add(1, Ordering::Relaxed) == 0 {
                std::fs::write(from.path().join("grows"), bytes(4 * BLOCK, 2)).unwrap();
            }
        })
        .unwrap();
    let report = copier.report();
    assert_eq!((report.files, report.failed), (1, 1));
    assert_eq!(report.failures[0].cause, Cause::Refused(Refusal::Changed));
    assert_eq!(
        report.failures[0].to_string(),
        "local: cannot read grows: the file changed while it was copied"
    );
    assert!(to.path().join("stays").exists() && !to.path().join("grows").exists());
    assert_eq!(parts_below(to.path()), 0, "what is of no use is removed");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let (from, to) = folders();
    std::fs::create_dir(from.path().join("x")).unwrap();
    std::fs::write(from.path().join("x/y"), "1").unwrap();
    std::fs::write(from.path().join("z"), "1").unwrap();
    std::fs::write(to.path().join("x"), "in the way").unwrap();
    std::fs::create_dir(to.path().join("z")).unwrap();
    let (source, target) = (Tree::open(from.path(), true).unwrap(), Tree::open(to.path(), false).unwrap());
    let report = copy_once(&source, b"", &target, b"", &Options::default()).unwrap();
    let said: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(said.contains(&"local: cannot replace x: not a folder".to_string()), "{said:?}");
    assert!(said.contains(&"local: cannot replace z: not a regular file".to_string()), "{said:?}");
    assert_eq!(std::fs::read(to.path().join("x")).unwrap(), b"in the way");
    let e = copy_once(&source, b"none", &target, b"", &Options::default()).unwrap_err();
    assert_eq!((e.act, e.cause), ("read", Cause::Refused(Refusal::Os(2))));
}
