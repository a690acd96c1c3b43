//! No dead files: every Rust file of a crate is reached from a root of the crate by `mod` or `include!`.

use super::Finding;
use super::source::{Source, has_word};
use super::workspace::Workspace;
use std::collections::BTreeSet;

/// Follows the modules from the roots and reports what was not met.
pub fn check(sources: &[Source], workspace: &Workspace, out: &mut Vec<Finding>) {
    let roots = workspace.members.iter().flat_map(|m| m.roots.iter().cloned());
    let reached = reached(sources, roots.collect());
    let folders: Vec<String> = workspace.members.iter().map(|m| format!("{}/", m.folder)).collect();
    for source in sources.iter().filter(|s| s.is_rust() && folders.iter().any(|f| s.path.starts_with(&**f))) {
        if !reached.contains(&source.path) {
            out.push(Finding::new(
                &source.path,
                1,
                "no crate uses this file",
                "declare its module or delete it",
            ));
        }
    }
}

fn reached(sources: &[Source], mut open: Vec<String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    while let Some(path) = open.pop() {
        let Some(source) = sources.iter().find(|s| s.path == path) else { continue };
        if reached.insert(path) {
            for (name, _) in modules(source) {
                open.extend(candidates(&source.path, &name));
            }
        }
    }
    reached
}

/// What the file names: modules in other files (a plain name) and included or `#[path]` files (with `.rs`).
pub fn modules(source: &Source) -> Vec<(String, usize)> {
    let mut out = Vec::new();
    for (i, (line, code)) in source.lines.iter().zip(&source.code).enumerate() {
        let code = code.trim();
        if has_word(code, "mod") && code.ends_with(';') {
            let name = code.trim_end_matches(';').rsplit(' ').next().unwrap_or_default();
            out.push((name.to_owned(), i + 1));
        }
        if code.contains("include!(") || code.contains("#[path") {
            out.extend(line.split('"').filter(|p| p.ends_with(".rs")).map(|p| (p.to_owned(), i + 1)));
        }
    }
    out
}

/// Where module `name` of the file at `path` may be.
pub fn candidates(path: &str, name: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if name.ends_with(".rs") {
        return vec![joined(folder, name)];
    }
    let stem = file.trim_end_matches(".rs");
    let mut homes = vec![folder.to_owned()];
    if !matches!(stem, "lib" | "main" | "mod") {
        homes.push(format!("{folder}/{stem}"));
    }
    homes.iter().flat_map(|h| [format!("{h}/{name}.rs"), format!("{h}/{name}/mod.rs")]).collect()
}

/// `folder/name` with its `..` resolved.
fn joined(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in name.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_followed() {
        let sources = [
            Source::new("a/src/lib.rs", "pub mod b;\ninclude!(\"../c/d.rs\");\n"),
            Source::new("a/src/b.rs", "//! B.\npub(crate) mod e;\nmod inline {\n}\n"),
            Source::new("a/src/b/e.rs", ""),
            Source::new("a/c/d.rs", ""),
            Source::new("a/src/dead.rs", ""),
        ];
        let met: Vec<String> = reached(&sources, vec!["a/src/lib.rs".to_owned()]).into_iter().collect();
        assert_eq!(met, ["a/c/d.rs", "a/src/b.rs", "a/src/b/e.rs", "a/src/lib.rs"]);
    }
}
