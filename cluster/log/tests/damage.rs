//! Stores that are torn, cut, foreign, missing or in use: an error that names the file, and never a wrong
//! log.

mod world;

use dvs_abi::NodeId;
use dvs_log::{GroupId, Store, StoreError};
use std::fs;
use std::path::Path;
use world::World;

const GROUP: GroupId = GroupId(7);
const NODE: NodeId = NodeId(0);

/// A store with some commands, closed.
fn written() -> World {
    let mut world = World::of(1);
    for n in 0..30 {
        world.propose(0, &format!("command number {n}")).unwrap();
    }
    world.kill(0);
    world
}

fn opened(path: &Path) -> Result<(), StoreError> {
    Store::open(path, GROUP, NODE).map(drop)
}

/// Error messages begin with the file.
fn names(error: &StoreError, path: &Path) {
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
}

#[test]
fn a_missing_a_foreign_and_an_open_store_are_told_apart() {
    let world = written();
    let path = world.path(0);
    assert_eq!(opened(&world.path(5)), Err(StoreError::Missing(world.path(5))));
    assert_eq!(Store::create(&path, GROUP, NODE).map(drop), Err(StoreError::Exists(path.clone())));
    for (group, node) in [(GroupId(8), NODE), (GROUP, NodeId(3))] {
        let error = Store::open(&path, group, node).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        names(&error, &path);
    }
    let held = Store::open(&path, GROUP, NODE).unwrap();
    assert_eq!(opened(&path), Err(StoreError::Busy(path.clone())));
    drop(held);
    assert_eq!(opened(&path), Ok(()));
}

#[test]
fn a_file_of_another_kind_is_no_store() {
    let world = World::new();
    let path = world.path(0);
    for content in [&b""[..], b"text", &[0; 70_000]] {
        fs::write(&path, content).unwrap();
        let error = opened(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        names(&error, &path);
    }
}

#[test]
fn a_store_that_was_cut_is_refused() {
    let world = written();
    let path = world.path(0);
    let whole = fs::read(&path).unwrap();
    for part in [1, 2, 3, 7] {
        fs::write(&path, &whole[..whole.len() * part / 8]).unwrap();
        let error = opened(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{part}: {error}");
        names(&error, &path);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(opened(&path), Ok(()));
}

#[test]
fn a_changed_byte_of_an_entry_is_found() {
    let world = written();
    let path = world.path(0);
    let whole = fs::read(&path).unwrap();
    let text = b"command number 17";
    let places: Vec<usize> =
        (0..whole.len() - text.len()).filter(|i| whole[*i..].starts_with(text)).collect();
    assert!(!places.is_empty());
    let mut torn = whole.clone();
    for at in places {
        torn[at + text.len() - 1] ^= 1;
    }
    fs::write(&path, &torn).unwrap();
    let error = opened(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    names(&error, &path);
}

#[test]
fn a_page_of_zeros_is_found_or_was_not_used() {
    let mut world = written();
    let path = world.path(0);
    let whole = fs::read(&path).unwrap();
    let (mut found, mut unused) = (0, 0);
    for page in 0..whole.len() / 4096 {
        if whole[page * 4096..(page + 1) * 4096].iter().all(|b| *b == 0) {
            continue;
        }
        let mut torn = whole.clone();
        torn[page * 4096..(page + 1) * 4096].fill(0);
        fs::write(&path, &torn).unwrap();
        match opened(&path) {
            Err(error) => {
                names(&error, &path);
                found += 1;
            }
            Ok(()) => {
                world.start(0);
                assert_eq!(world.diary(0).len(), 30, "page {page}");
                world.kill(0);
                unused += 1;
            }
        }
    }
    assert!(found > 0, "{found} found, {unused} unused");
}
