//! Machines on the loopback that may start programs for each other, one system with a container `shop`.

use crate::common::until;
use dvs_linux::testing::own_address;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Machines `m0`, `m1`, …; they go down when this is dropped.
pub struct Machines {
    pub base: tempfile::TempDir,
    count: usize,
}

impl Machines {
    pub fn new(count: usize) -> Machines {
        let m = Machines { base: tempfile::tempdir().unwrap(), count };
        m.up(0, None);
        for n in 1..count {
            let token = m.ok(0, &["token"]).trim().to_owned();
            m.up(n, Some(&token));
        }
        let names: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
        m.ok(0, &["dc", "create", "shop", "--nodes", &names.join(",")]);
        (0..count).for_each(|n| until("all know the container", || m.ok(n, &["dc", "ls"]).contains("shop")));
        m
    }

    pub fn dir(&self, n: usize) -> PathBuf {
        self.base.path().join(format!("m{n}"))
    }

    pub fn up(&self, n: usize, join: Option<&str>) {
        let (file, listen) = (self.base.path().join(format!("m{n}.toml")), own_address());
        let mut text = format!("node = \"m{n}\"\nlisten = \"{listen}\"\nremote_programs = true\n");
        let data = self.base.path().join(format!("data{n}"));
        writeln!(text, "runtime_dir = {:?}\ndata_dir = {data:?}", self.dir(n)).unwrap();
        if let Some(token) = join {
            writeln!(text, "join = \"{token}\"").unwrap();
        }
        std::fs::write(&file, text).unwrap();
        self.ok(n, &["up", "--config", &file.display().to_string()]);
    }

    pub fn command(&self, n: usize, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dvs"));
        c.arg("--runtime-dir").arg(self.dir(n)).args(["--node", &format!("m{n}")]).args(args);
        c
    }

    pub fn dvs(&self, n: usize, args: &[&str]) -> Output {
        self.command(n, args).output().unwrap()
    }

    pub fn ok(&self, n: usize, args: &[&str]) -> String {
        let o = self.dvs(n, args);
        assert!(o.status.success(), "{args:?}: {}", String::from_utf8_lossy(&o.stderr));
        String::from_utf8(o.stdout).unwrap()
    }

    pub fn fails(&self, n: usize, args: &[&str], code: i32) -> String {
        let o = self.dvs(n, args);
        let text = String::from_utf8_lossy(&o.stderr).into_owned() + &String::from_utf8_lossy(&o.stdout);
        assert_eq!(o.status.code(), Some(code), "{args:?}: {text}");
        text
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for n in (0..self.count).rev() {
            self.dvs(n, &["down"]);
        }
    }
}
