use super::{Mapping, Reading, SIZE_SEALS, verify};
use dvs_ipc::host::{Memory, View};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

const BYTES: usize = 8192;

#[test]
fn two_mappings_show_the_same_memory() {
    let (a, file) = Mapping::create("test", BYTES).unwrap();
    let b = Mapping::open(file.as_fd(), BYTES).unwrap();
    drop(file);
    a.words()[1023].store(9, Ordering::Relaxed);
    assert_eq!((b.load(1023), b.load(0), b.load(1024), b.words().len()), (9, 0, 0, 1024));
}

#[test]
fn a_status_page_is_written_by_its_owner_only() {
    let (owner, file) = Mapping::create_status("test", 4096).unwrap();
    let peer = Reading::open(file.as_fd(), 4096).unwrap();
    owner.words()[0].store(1, Ordering::Relaxed);
    assert_eq!((peer.load(0), peer.load(512)), (1, 0));
    assert_eq!(Mapping::open(file.as_fd(), 4096).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(rustix::io::pwrite(&file, &[1], 0).is_err(), "nor by writing to the file");
    let (_, writable) = Mapping::create("test", 4096).unwrap();
    assert_eq!(Reading::open(writable.as_fd(), 4096).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn what_others_could_pull_away_is_refused() {
    let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, BYTES as u64).unwrap();
    let refused = |bytes| Mapping::open(file.as_fd(), bytes).unwrap_err().kind();
    assert_eq!(refused(BYTES), ErrorKind::InvalidData, "no seals");
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    assert_eq!(refused(BYTES), ErrorKind::InvalidData, "it can shrink");
    fcntl_add_seals(&file, SIZE_SEALS).unwrap();
    assert_eq!(refused(BYTES + 4096), ErrorKind::InvalidData, "too short");
    assert_eq!(refused(4096), ErrorKind::InvalidData, "too long");
    assert!(Mapping::open(file.as_fd(), BYTES).is_ok());
    let disk = tempfile::tempfile().unwrap();
    assert!(verify(disk.as_fd(), 0, SIZE_SEALS).is_err());
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    assert_eq!(verify(pipe.as_fd(), 0, SIZE_SEALS).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn our_own_cannot_change_size() {
    let (_mapping, file) = Mapping::create("test", BYTES).unwrap();
    assert!(ftruncate(&file, 0).is_err() && ftruncate(&file, 1 << 20).is_err());
    assert!(Mapping::create("test", 0).is_err() && Mapping::create("test", 12).is_err());
}
