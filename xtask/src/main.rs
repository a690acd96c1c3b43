//! Checks of the source itself, behind `./x`.
//!
//! ```text
//! cargo xtask tidy                        the rules of the house; read only
//! cargo xtask docs                        writes the generated pages of docs/reference
//! cargo xtask wrap                        breaks comment lines that are too long
//! cargo xtask tally FORM REPORT SKIPS L   counts what a test runner reported, appends the skips of step L
//! ```
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod docs;
mod tally;
mod tidy;
mod wrap;

const USAGE: &str = "usage: cargo xtask tidy | docs | wrap | tally (libtest|junit) REPORT SKIPS LABEL";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let result = match words.as_slice() {
        ["tidy"] => tidy::run(&root),
        ["docs"] => docs::write(&root),
        ["wrap"] => wrap::run(&root),
        ["tally", form, report, skips, label] => tally::run(form, report, skips, label),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: the folder above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
