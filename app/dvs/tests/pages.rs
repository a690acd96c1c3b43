//! The pages of the commands say what the commands say.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn texts(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap());
    files
        .map(|f| (f.file_name().into_string().unwrap(), std::fs::read_to_string(f.path()).unwrap()))
        .collect()
}

#[test]
fn the_pages_of_the_commands_are_current() {
    let made = tempfile::tempdir().unwrap();
    let mut dvs = Command::new(env!("CARGO_BIN_EXE_dvs"));
    assert!(dvs.args(["man", "--markdown"]).arg(made.path()).status().unwrap().success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands");
    let (kept, made) = (texts(&kept), texts(made.path()));
    let names = kept.keys().chain(made.keys());
    let old: Vec<&String> = names.filter(|n| kept.get(*n) != made.get(*n)).collect();
    assert!(old.is_empty(), "{old:?} are not current; write them with: ./x fmt");
}
