use super::{FDS_MAX, Listener, Socket};
use crate::clock::now;
use crate::memory::Mapping;
use dvs_abi::Deadline;
use dvs_abi::limits::CONTROL_BYTES_MAX;
use dvs_ipc::host::{Memory, View};
use rustix::io::{FdFlags, fcntl_getfd};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

fn watchdog() -> Deadline {
    Deadline::from_ns(now() + 60_000_000_000)
}

#[test]
fn records_keep_their_bounds_and_say_who_sent_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let client = Socket::connect(&path).unwrap();
    let server = listener.accept(watchdog()).unwrap();
    assert_eq!(server.peer().unwrap().pid, std::process::id());
    client.send(b"one", &[], watchdog()).unwrap();
    client.send(&vec![7; CONTROL_BYTES_MAX], &[], watchdog()).unwrap();
    assert_eq!(server.receive(watchdog()).unwrap().unwrap().bytes, b"one");
    assert_eq!(server.receive(watchdog()).unwrap().unwrap().bytes.len(), CONTROL_BYTES_MAX);
    assert_eq!(server.try_receive().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(server.receive(Deadline::NOW).unwrap_err().kind(), ErrorKind::TimedOut);
    drop(client);
    assert!(server.receive(watchdog()).unwrap().is_none());
    assert!(server.send(b"x", &[], watchdog()).is_err());
}

#[test]
fn descriptors_travel_and_close_on_exec() {
    let (a, b) = Socket::pair().unwrap();
    let (mapping, file) = Mapping::create("test", 4096).unwrap();
    a.send(b"memory", &[file.as_fd(); FDS_MAX], watchdog()).unwrap();
    let got = b.receive(watchdog()).unwrap().unwrap();
    assert_eq!(got.fds.len(), FDS_MAX);
    assert!(fcntl_getfd(&got.fds[0]).unwrap().contains(FdFlags::CLOEXEC));
    mapping.words()[5].store(5, Ordering::Relaxed);
    assert_eq!(Mapping::open(got.fds[3].as_fd(), 4096).unwrap().load(5), 5);
}

#[test]
fn what_is_out_of_bounds_is_refused_at_both_ends() {
    let (a, b) = Socket::pair().unwrap();
    let (_, file) = Mapping::create("test", 4096).unwrap();
    for (bytes, fds) in [(0, 0), (CONTROL_BYTES_MAX + 1, 0), (1, FDS_MAX + 1)] {
        let refused = a.try_send(&vec![0; bytes], &vec![file.as_fd(); fds]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    // A peer that does not use this library.
    rustix::io::write(&a, &vec![1; CONTROL_BYTES_MAX + 1]).unwrap();
    assert_eq!(b.receive(watchdog()).unwrap_err().kind(), ErrorKind::InvalidData);
    a.send(b"still works", &[], watchdog()).unwrap();
    assert_eq!(b.receive(watchdog()).unwrap().unwrap().bytes, b"still works");
}

#[test]
fn a_full_queue_is_waited_for_until_the_deadline() {
    let (a, _b) = Socket::pair().unwrap();
    let full = (0..10_000).find_map(|_| a.try_send(&[0; 1024], &[]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let until = now() + 1_000_000;
    assert_eq!(a.send(&[0; 1024], &[], Deadline::from_ns(until)).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(now() >= until);
}
