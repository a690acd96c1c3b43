//! The generated pages of `docs/reference` are current.

use super::Finding;
use crate::docs;
use std::fs;
use std::path::Path;

/// Makes each page again and compares.
pub fn check(root: &Path, out: &mut Vec<Finding>) {
    for (path, made) in docs::pages(root) {
        let remedy = "run `cargo xtask docs`";
        match made {
            Err(message) => {
                out.push(Finding::new(path, 1, message, "let xtask/src/docs.rs follow the source"))
            }
            Ok(text) if fs::read_to_string(root.join(path)).is_ok_and(|old| old == text) => {}
            Ok(_) => out.push(Finding::new(path, 1, "is not what the source says", remedy)),
        }
    }
}
