//! A real mount: what a program of the host sees.

use dvs::{DcId, Endpoint};
use dvs_api::fs::Time;
use dvs_disk::Memory;
use dvs_fs::{Server, Volume};
use dvs_fuse::{Mount, Options};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::sync::Arc;

const SERVER: Endpoint = Endpoint::new(0, 1);

/// Two mounts of one server; nothing where the host cannot mount.
fn mounts() -> Option<(tempfile::TempDir, [Mount; 2])> {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        println!("SKIP: /dev/fuse cannot be opened (it needs root)");
        return None;
    }
    let process = dvs::alone();
    let port = process.bind(DcId(0), SERVER).unwrap();
    let disk = Arc::new(Memory::new(256 << 20));
    let mut files = Server::new(Volume::format(disk, Time { s: 1, ns: 0 }).unwrap());
    // It ends with the process: nobody asks it to.
    std::thread::spawn(move || files.serve(&port));
    let folder = tempfile::tempdir().unwrap();
    let options = Options { ttl: std::time::Duration::ZERO, ..Options::default() };
    let both = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        Mount::new(&process, (DcId(0), SERVER), &path, &options)
    });
    match both {
        [Ok(a), Ok(b)] => Some((folder, [a, b])),
        [Err(e), _] | [_, Err(e)] => {
            println!("SKIP: {e}");
            None
        }
    }
}

#[test]
fn programs_see_an_ordinary_directory_and_each_other() {
    let Some((folder, [a, b])) = mounts() else { return };
    let (at, there) = (folder.path().join("a"), folder.path().join("b"));
    fs::create_dir_all(at.join("dir/below")).unwrap();
    fs::write(at.join("dir/file"), b"hello").unwrap();
    assert_eq!(fs::read(there.join("dir/file")).unwrap(), b"hello");
    fs::write(there.join("dir/file"), vec![7; 3 << 20]).unwrap();
    assert!(fs::read(at.join("dir/file")).unwrap() == vec![7; 3 << 20]);
    fs::rename(at.join("dir/file"), at.join("dir/below/moved")).unwrap();
    symlink("below/moved", at.join("dir/link")).unwrap();
    assert_eq!(fs::metadata(there.join("dir/link")).unwrap().len(), 3 << 20);
    let mut names: Vec<_> =
        fs::read_dir(there.join("dir")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["below", "link"]);
    assert_eq!(fs::remove_dir(at.join("dir")).unwrap_err().raw_os_error(), Some(39));
    a.unmount().unwrap();
    b.unmount().unwrap();
}

#[test]
fn a_file_without_a_name_stays_while_it_is_open_and_a_lock_holds_over_mounts() {
    let Some((folder, [a, b])) = mounts() else { return };
    let (at, there) = (folder.path().join("a/f"), folder.path().join("b/f"));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&at).unwrap();
    file.write_all(&[1; 10_000]).unwrap();
    file.sync_all().unwrap();
    let other = File::open(&there).unwrap();
    file.lock().unwrap();
    assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
    file.unlock().unwrap();
    other.try_lock().unwrap();
    drop(other);
    fs::remove_file(&there).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all_at(&[2; 10], 5_000).unwrap();
    file.seek(SeekFrom::Start(4_999)).unwrap();
    let mut back = [0; 3];
    file.read_exact(&mut back).unwrap();
    assert_eq!(back, [1, 2, 2]);
    drop(file);
    assert!(!at.exists());
    a.unmount().unwrap();
    b.unmount().unwrap();
}
