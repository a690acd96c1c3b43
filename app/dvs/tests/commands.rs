//! The commands against a real node in a folder of its own.

use std::path::Path;
use std::process::{Command, Output};

fn dvs(dir: &Path, args: &[&str]) -> Output {
    let mut dvs = Command::new(env!("CARGO_BIN_EXE_dvs"));
    let data = dir.with_extension("data");
    dvs.arg("--runtime-dir").arg(dir).args(args).env("DVS_DATA_DIR", data).output().unwrap()
}

fn ok(dir: &Path, args: &[&str]) -> String {
    let o = dvs(dir, args);
    assert!(o.status.success(), "{args:?}: {}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8(o.stdout).unwrap()
}

fn fails(dir: &Path, args: &[&str], code: i32) -> String {
    let o = dvs(dir, args);
    let text = String::from_utf8(o.stderr).unwrap();
    assert_eq!(o.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[test]
fn a_node_from_up_to_down() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("n");
    assert!(fails(&dir, &["status"], 3).contains("dvs up"));
    assert!(ok(&dir, &["up"]).contains("runs, pid"));
    assert!(fails(&dir, &["up"], 1).contains("runs already"));
    assert!(fails(&dir, &["dc", "show", "shop"], 4).contains("dvs dc ls"));
    assert!(ok(&dir, &["dc", "create", "shop"]).contains("container shop is dc0"));
    assert!(fails(&dir, &["dc", "create", "shop"], 5).contains("RSCBUSY"));
    assert!(ok(&dir, &["dc", "ls"]).contains("shop"));
    let said = ok(&dir, &["run", "shop", "--endpoint", "5", "--", "sh", "-c", "echo hello; echo $DVS_DC"]);
    assert_eq!(said, "hello\n0\n");
    assert!(ok(&dir, &["logs"]).contains("sh: hello"));
    assert_eq!(dvs(&dir, &["run", "shop", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert!(fails(&dir, &["run", "shop", "--", "no-such-program"], 1).contains("no-such-program"));
    assert!(ok(&dir, &["ps", "shop", "--output", "json"]).trim() == "[]");
    assert!(ok(&dir, &["ping", "n0", "--count", "1"]).contains("1 of 1 answered"));
    assert!(fails(&dir, &["ping", "7"], 4).contains("no node"));
    assert!(fails(&dir, &["kill", "shop", "5"], 1).contains("DSTDIED"));
    assert!(fails(&dir, &["kill", "shop", "x"], 2).contains("no endpoint"));
    ok(&dir, &["top", "--count", "1"]);
    ok(&dir, &["waits"]);
    ok(&dir, &["dc", "rm", "shop", "--yes"]);
    ok(&dir, &["down"]);
    assert!(!dir.exists(), "nothing is left behind");
}

#[test]
fn a_wrong_configuration_names_file_line_value_and_remedy() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("dvs.toml");
    std::fs::write(&file, "node = \"a\"\nsecurity = \"rot13\"\n").unwrap();
    let text = fails(&base.path().join("n"), &["up", "--config", file.to_str().unwrap()], 2);
    assert!(text.contains("dvs.toml:2:") && text.contains("rot13") && text.contains("use \"tls\""), "{text}");
}

#[test]
fn completions_and_manual_pages() {
    let base = tempfile::tempdir().unwrap();
    assert!(ok(base.path(), &["completions", "bash"]).contains("complete"));
    ok(base.path(), &["man", base.path().join("man").to_str().unwrap()]);
    assert!(base.path().join("man/dvs-dc-create.1").exists());
}
