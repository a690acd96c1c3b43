//! The actor in C: compiled and linked with the library's C side when a test asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the C actor beside the suite's own programs; `actor` is the path of one of them.
///
/// # Panics
/// When there is no C compiler or no static library: the suite then cannot say that C programs work.
pub fn build(actor: &Path) -> PathBuf {
    let dir = actor.parent().expect("a program is in a folder");
    let library = newest_library(dir).expect("the C library is built with the suite");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = dir.join(format!("conform-actor-c-{}", std::process::id()));
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I"])
        .arg(source.join("../../bind/c/include"))
        .arg(source.join("c/actor.c"))
        .arg(&library)
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler (Debian: gcc)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Cargo leaves the library of a dependency beside the others, with or without a hash in its name.
fn newest_library(dir: &Path) -> Option<PathBuf> {
    let folders = [dir.to_path_buf(), dir.join("deps")];
    let files = folders.iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten().flatten();
    files
        .filter(|f| {
            let name = f.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libdvs_c") && name.ends_with(".a")
        })
        .max_by_key(|f| f.metadata().and_then(|m| m.modified()).ok())
        .map(|f| f.path())
}
