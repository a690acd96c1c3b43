//! The actor in C: compiled and linked with the library's C side when a test asks for it.
//!
//! Every test is a process of its own and all want the same program. It is therefore named after what it was
//! made of: whoever finds no program of that name makes one beside it and renames it, and throws away those
//! that were made of something else.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "conform-actor-c-";

/// The C actor beside the suite's own programs, built if it is not there; `actor` is the path of one of them.
///
/// # Panics
/// When there is no C compiler or no static library: the suite then cannot say that C programs work.
pub fn build(actor: &Path) -> PathBuf {
    let dir = actor.parent().expect("a program is in a folder");
    let library = newest_library(dir).expect("the C library is built with the suite");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (include, code) = (source.join("../../bind/c/include"), source.join("c/actor.c"));
    let mut inputs = vec![library.clone(), code.clone()];
    inputs.extend(fs::read_dir(&include).into_iter().flatten().flatten().map(|f| f.path()));
    inputs.sort();
    let name = format!("{NAME}{:016x}", state_of(&inputs));
    let program = dir.join(&name);
    if !program.exists() {
        compile(&include, &code, &library, &program);
        forget_others(dir, &name);
    }
    program
}

/// Changes when one of the files does. (To read the library, some fifty megabytes, would take longer than
/// many a test.)
fn state_of(files: &[PathBuf]) -> u64 {
    let mut hash = DefaultHasher::new();
    for file in files {
        let state = fs::metadata(file).ok();
        (file, state.as_ref().map(fs::Metadata::len), state.and_then(|m| m.modified().ok())).hash(&mut hash);
    }
    hash.finish()
}

fn compile(include: &Path, code: &Path, library: &Path, program: &Path) {
    let fresh = program.with_extension(format!("{}.new", std::process::id()));
    let output = Command::new("cc")
        .args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I"])
        .args([include, code, library])
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&fresh)
        .output()
        .expect("a C compiler (Debian: gcc)");
    if !output.status.success() {
        // What the compiler left is of no use.
        let _ = fs::remove_file(&fresh);
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    }
    // Two that compile at a time make the same; the later one takes the place of the earlier.
    fs::rename(&fresh, program).expect("both are in the folder of the suite's programs");
}

/// Removes what was made of other inputs. What another test is making is left: it is renamed when it is done.
fn forget_others(dir: &Path, name: &str) {
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let other = file.file_name();
        let other = other.to_string_lossy();
        if other.starts_with(NAME) && other != name && !other.ends_with(".new") {
            // Gone already is as good.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Cargo leaves the library of a dependency beside the others, with or without a hash in its name.
fn newest_library(dir: &Path) -> Option<PathBuf> {
    let folders = [dir.to_path_buf(), dir.join("deps")];
    let files = folders.iter().filter_map(|d| fs::read_dir(d).ok()).flatten().flatten();
    files
        .filter(|f| {
            let name = f.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libdvs_c") && name.ends_with(".a")
        })
        .max_by_key(|f| f.metadata().and_then(|m| m.modified()).ok())
        .map(|f| f.path())
}
