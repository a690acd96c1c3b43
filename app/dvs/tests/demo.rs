//! `dvs demo` to its end, without root, and cut short: whatever happens it leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Whom the programs run as when the tests run as root; nobody of these has a right more than others.
const NOBODY: u32 = 65_534;

/// A folder with the programs of the demo, a small tree, and a place for its files, all for an ordinary user.
struct Stage {
    base: tempfile::TempDir,
    user: Option<u32>,
}

impl Stage {
    /// `None`, with the reason printed, when the programs are not there.
    fn new() -> Option<Stage> {
        let dvs = Path::new(env!("CARGO_BIN_EXE_dvs"));
        let base = tempfile::tempdir().unwrap();
        let user =
            std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        let stage = Stage { base, user: user.then_some(NOBODY) };
        for program in ["dvs", "kv-server", "kv-client"] {
            let from = dvs.with_file_name(program);
            if !from.exists() {
                println!("SKIP: {} is not built (cargo build -p dvs-kv-example)", from.display());
                return None;
            }
            std::fs::copy(&from, stage.path(program)).unwrap();
        }
        std::fs::create_dir_all(stage.path("tree/inner")).unwrap();
        for i in 0..40 {
            let file = stage.path("tree/inner").join(format!("file{i}"));
            std::fs::write(file, vec![i as u8; 1000 * i]).unwrap();
        }
        for folder in ["tmp", "home", "run"] {
            std::fs::create_dir(stage.path(folder)).unwrap();
            std::fs::set_permissions(stage.path(folder), PermissionsExt::from_mode(0o700)).unwrap();
            chown(stage.path(folder), stage.user, stage.user).unwrap();
        }
        std::fs::set_permissions(stage.base.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Some(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn demo(&self) -> Command {
        let mut c = Command::new(self.path("dvs"));
        c.args(["demo", "--loopback", "--tree"]).arg(self.path("tree")).current_dir(self.base.path());
        c.env("TMPDIR", self.path("tmp")).env("HOME", self.path("home")).stdin(Stdio::null());
        c.env("XDG_RUNTIME_DIR", self.path("run")).env_remove("XDG_DATA_HOME");
        if let Some(user) = self.user {
            c.uid(user).gid(user);
        }
        c.stdout(Stdio::piped()).stderr(Stdio::piped());
        c
    }

    /// Nothing but empty folders, and no process of a program that is here.
    fn nothing_left(&self) {
        for folder in ["tmp", "home", "run"] {
            let files = files_below(&self.path(folder));
            assert!(files.is_empty(), "left behind: {files:?}");
        }
        let ours =
            |p: &Path| std::fs::read_link(p.join("exe")).is_ok_and(|e| e.starts_with(self.base.path()));
        let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
        assert_eq!(processes.find(|p| ours(p)), None, "a process is left");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|p| p.is_dir());
    files.extend(folders.iter().flat_map(|f| files_below(f)));
    files
}

fn said(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

#[test]
fn the_demo_runs_without_root_and_leaves_nothing_behind() {
    let Some(stage) = Stage::new() else { return };
    let o = stage.demo().output().unwrap();
    assert!(o.status.success(), "{}", said(&o));
    for wanted in ["digests are equal", "DSTDIED", "nothing is left"] {
        assert!(said(&o).contains(wanted), "no {wanted:?} in {}", said(&o));
    }
    stage.nothing_left();
}

#[test]
fn a_demo_cut_short_leaves_nothing_behind() {
    let Some(stage) = Stage::new() else { return };
    let mut demo = stage.demo().spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    // In the middle: the nodes run, and the container is being made.
    let middle = lines.find(|l| l.as_ref().is_ok_and(|l| l.contains("dc create")));
    assert!(middle.is_some(), "the demo ended before");
    rustix::process::kill_process(rustix::process::Pid::from_child(&demo), rustix::process::Signal::INT)
        .unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(demo.wait().unwrap().code(), Some(130), "{rest:?}");
    stage.nothing_left();
}
