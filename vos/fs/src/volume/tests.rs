//! Random calls beside a model; crashes at every moment.

mod crash;
mod model;

use super::Volume;
use crate::backend::{Backend, Name};
use dvs_api::Errno;
use dvs_api::fs::{Allocate, Attr, FileKind, Ino, Rename, Seek, SetAttr, SetX, Time, What, Who};
use dvs_disk::Memory;
use std::sync::Arc;

const NOW: Time = Time { s: 1_000_000, ns: 5 };

fn volume(bytes: u64) -> Volume {
    Volume::format(Arc::new(Memory::new(bytes)), NOW).unwrap()
}

fn at(dir: Ino, name: &str) -> Name<'_> {
    Name { dir, name: name.as_bytes() }
}

fn make(v: &mut Volume, dir: Ino, name: &str, kind: FileKind) -> Attr {
    let what = What { kind, mode: 0o644, rdev: 0, who: Who { uid: 7, gid: 8 } };
    v.make(at(dir, name), &what, b"", NOW).unwrap()
}

fn read(v: &mut Volume, ino: Ino, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    let n = v.read(ino, offset, &mut bytes, NOW).unwrap();
    bytes.truncate(n);
    bytes
}

#[test]
fn files_are_made_named_read_and_removed() {
    let mut v = volume(64 << 20);
    let dir = make(&mut v, Ino::ROOT, "dir", FileKind::Dir).ino;
    let file = make(&mut v, dir, "file", FileKind::File).ino;
    assert_eq!(v.write(file, Some(5000), b"hello", NOW).unwrap().size, 5005);
    v.commit().unwrap();
    assert_eq!(read(&mut v, file, 4998, 100), b"\0\0hello");
    assert_eq!(v.attr(file).unwrap().stored, 4096);
    assert_eq!(v.lookup(at(dir, "none")), Err(Errno::NOENT));
    assert_eq!(v.remove_dir(at(Ino::ROOT, "dir"), NOW), Err(Errno::NOTEMPTY));
    v.link(file, at(Ino::ROOT, "other"), NOW).unwrap();
    assert_eq!(v.unlink(at(dir, "file"), NOW).unwrap().links, 1);
    v.hold(file).unwrap();
    assert_eq!(v.unlink(at(Ino::ROOT, "other"), NOW).unwrap().links, 0);
    assert_eq!(read(&mut v, file, 5000, 5), b"hello");
    assert_eq!(v.link(file, at(dir, "back"), NOW), Err(Errno::NOENT));
    v.release(file);
    assert_eq!(v.attr(file), Err(Errno::STALE));
    v.remove_dir(at(Ino::ROOT, "dir"), NOW).unwrap();
    assert_eq!(v.attr(Ino::ROOT).unwrap().links, 2);
}

#[test]
fn a_rename_replaces_keeps_exchanges_and_never_puts_a_directory_below_itself() {
    let mut v = volume(64 << 20);
    let a = make(&mut v, Ino::ROOT, "a", FileKind::Dir).ino;
    let b = make(&mut v, a, "b", FileKind::Dir).ino;
    let f = make(&mut v, b, "f", FileKind::File).ino;
    let g = make(&mut v, a, "g", FileKind::File).ino;
    let (root_a, below) = (at(Ino::ROOT, "a"), at(b, "x"));
    assert_eq!(v.rename(root_a, below, Rename::Replace, NOW), Err(Errno::INVAL));
    assert_eq!(v.rename(at(a, "g"), at(b, "f"), Rename::Keep, NOW), Err(Errno::EXIST));
    v.rename(at(a, "b"), at(a, "g"), Rename::Exchange, NOW).unwrap();
    assert_eq!((v.lookup(at(a, "g")).unwrap().ino, v.lookup(at(a, "b")).unwrap().ino), (b, g));
    v.rename(at(a, "b"), at(b, "f"), Rename::Whiteout, NOW).unwrap();
    assert_eq!(v.attr(f), Err(Errno::STALE));
    assert_eq!(v.lookup(at(a, "b")).unwrap().kind, FileKind::Char);
    v.rename(at(a, "g"), at(Ino::ROOT, "top"), Rename::Replace, NOW).unwrap();
    assert_eq!(v.parent(b).unwrap(), Ino::ROOT);
    assert_eq!((v.attr(a).unwrap().links, v.attr(Ino::ROOT).unwrap().links), (2, 4));
}

#[test]
fn a_listing_meets_every_name_once_while_others_come_and_go() {
    let mut v = volume(256 << 20);
    for n in 0..2000 {
        make(&mut v, Ino::ROOT, &format!("n{n}"), FileKind::File);
    }
    let (mut seen, mut after, mut round) = (Vec::new(), 0, 0);
    loop {
        let mut some = 0;
        v.read_dir(Ino::ROOT, after, &mut |entry, name| {
            seen.push(String::from_utf8(name.to_vec()).unwrap());
            after = entry.position;
            some += 1;
            some < 100
        })
        .unwrap();
        if some == 0 {
            break;
        }
        // What was listed goes, and something new comes.
        v.unlink(at(Ino::ROOT, &seen[round].clone()), NOW).unwrap();
        if round < 30 {
            make(&mut v, Ino::ROOT, &format!("new{round}"), FileKind::File);
        }
        round += 1;
    }
    for n in 0..2000 {
        assert_eq!(seen.iter().filter(|s| **s == format!("n{n}")).count(), 1);
    }
}

#[test]
fn holes_promises_and_cuts_read_as_zeros_and_are_found() {
    let mut v = volume(64 << 20);
    let f = make(&mut v, Ino::ROOT, "f", FileKind::File).ino;
    v.write(f, Some(0), &[1; 20_000], NOW).unwrap();
    v.write(f, Some(100_000), &[2; 10], NOW).unwrap();
    for committed in [false, true] {
        if committed {
            v.commit().unwrap();
        }
        assert_eq!(v.seek(f, 0, Seek::Hole), Ok(20_480));
        assert_eq!(v.seek(f, 30_000, Seek::Data), Ok(98_304));
        assert_eq!(v.seek(f, 99_000, Seek::Hole), Ok(100_010));
        assert_eq!(v.seek(f, 100_010, Seek::Data), Err(Errno::NXIO));
    }
    v.allocate(f, 4000, 10_000, Allocate::Punch, NOW).unwrap();
    let bytes = read(&mut v, f, 0, 20_000);
    assert!(bytes[..4000].iter().all(|b| *b == 1) && bytes[4000..14_000].iter().all(|b| *b == 0));
    assert!(bytes[14_000..].iter().all(|b| *b == 1));
    let before = v.attr(f).unwrap().stored;
    v.allocate(f, 200_000, 50_000, Allocate::Keep, NOW).unwrap();
    let after = v.attr(f).unwrap();
    assert_eq!((after.size, after.stored), (100_010, before + 14 * 4096));
    v.allocate(f, 200_000, 50_000, Allocate::Extend, NOW).unwrap();
    assert_eq!(v.attr(f).unwrap().size, 250_000);
    assert_eq!(v.seek(f, 110_000, Seek::Data), Err(Errno::NXIO));
    v.write(f, Some(210_000), &[3; 5000], NOW).unwrap();
    v.commit().unwrap();
    assert_eq!(v.attr(f).unwrap().stored, after.stored, "it was promised");
    assert_eq!(read(&mut v, f, 209_999, 3), [0, 3, 3]);
    v.set_attr(f, &SetAttr { size: Some(210_001), ..SetAttr::default() }, NOW).unwrap();
    v.set_attr(f, &SetAttr { size: Some(220_000), ..SetAttr::default() }, NOW).unwrap();
    assert_eq!(read(&mut v, f, 209_999, 4), [0, 3, 0, 0]);
}

#[test]
fn attributes_are_set_as_asked_and_listed() {
    let mut v = volume(64 << 20);
    let f = make(&mut v, Ino::ROOT, "f", FileKind::File).ino;
    assert_eq!(v.set_x(f, b"user.a", b"1", SetX::Replace, NOW), Err(Errno::NODATA));
    v.set_x(f, b"user.a", b"1", SetX::Create, NOW).unwrap();
    assert_eq!(v.set_x(f, b"user.a", b"2", SetX::Create, NOW), Err(Errno::EXIST));
    v.set_x(f, b"user.b", &[9; 60_000], SetX::Any, NOW).unwrap();
    assert_eq!(v.list_x(f).unwrap(), b"user.a\0user.b\0");
    assert_eq!(v.get_x(f, b"user.b").unwrap().len(), 60_000);
    v.remove_x(f, b"user.a", NOW).unwrap();
    assert_eq!(v.get_x(f, b"user.a"), Err(Errno::NODATA));
}

#[test]
fn a_full_disk_says_so_and_can_be_emptied() {
    let mut v = volume(16 << 20);
    let f = make(&mut v, Ino::ROOT, "f", FileKind::File).ino;
    let mut written = 0;
    let e = loop {
        match v.write(f, Some(written), &[5; 100_000], NOW) {
            Ok(_) => written += 100_000,
            Err(e) => break e,
        }
    };
    assert_eq!(e, Errno::NOSPC);
    v.commit().unwrap();
    assert!(written > 8 << 20, "{written}");
    assert_eq!(read(&mut v, f, written - 1, 9), [5]);
    assert_eq!(v.allocate(f, 0, 64 << 20, Allocate::Keep, NOW).map(|_| ()), Err(Errno::NOSPC));
    v.unlink(at(Ino::ROOT, "f"), NOW).unwrap();
    v.commit().unwrap();
    let g = make(&mut v, Ino::ROOT, "g", FileKind::File).ino;
    v.write(g, Some(0), &vec![6; 8 << 20], NOW).unwrap();
    v.commit().unwrap();
}

#[test]
fn what_is_no_volume_or_a_damaged_one_is_refused() {
    let disk = Arc::new(Memory::new(64 << 20));
    assert_eq!(Volume::open(disk.clone()).map(|_| ()), Err(Errno::NXIO));
    let mut v = Volume::format(disk.clone(), NOW).unwrap();
    let f = make(&mut v, Ino::ROOT, "f", FileKind::File).ino;
    v.write(f, None, &[1; 300_000], NOW).unwrap();
    v.commit().unwrap();
    drop(v);
    let mut v = Volume::open(disk.clone()).unwrap();
    assert_eq!(read(&mut v, f, 299_999, 9), [1]);
    drop(v);
    use dvs_api::disk::Device;
    disk.write(100, b"damage").unwrap();
    assert_eq!(Volume::open(disk).map(|_| ()), Err(Errno::NXIO));
}
