//! The rules of the house, held by a program instead of by reviewers.
//!
//! ```text
//! files of the repository ─► Source ─┐
//! cargo metadata ─────────► Workspace ┼─► one file a rule ─► findings: file:line, what, remedy
//! ```
//!
//! A rule takes what it needs and pushes findings; nothing is written. `// tidy: reason` on a line or
//! above it
//! excuses that line from the rules on banned calls and names, `// cannot fail: reason` an `unwrap`.

use serde_json::Value;
use source::Source;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use workspace::Workspace;

mod arrows;
mod banned;
mod changelog;
mod chapters;
mod functions;
mod generated;
mod heads;
mod licences;
mod links;
mod promises;
mod pure;
mod quotes;
mod reach;
mod size;
mod source;
mod workspace;

/// What a rule found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the root.
    pub file: String,
    /// Line from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, remedy: &'static str) -> Self {
        Finding { file: file.to_owned(), line, what: what.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.remedy)
    }
}

/// Runs every rule over the repository at `root`.
pub fn run(root: &Path) -> Result<(), String> {
    let sources = load(root)?;
    let workspace = Workspace::load(root)?;
    let findings = findings(root, &sources, &workspace);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("    tidy: {} files, {} crates", sources.len(), workspace.members.len());
        return Ok(());
    }
    Err(format!("{} findings", findings.len()))
}

fn findings(root: &Path, sources: &[Source], workspace: &Workspace) -> Vec<Finding> {
    let mut out = Vec::new();
    let find = |path: &str| sources.iter().find(|s| s.path == path);
    for source in sources {
        size::check(source, &mut out);
        if source.is_rust() {
            functions::check(source, &mut out);
            banned::check(source, &mut out);
            pure::check(source, &mut out);
            heads::check(source, &mut out);
        }
        if source.path.ends_with(".md") {
            links::check(root, source, &mut out);
            quotes::check(source, sources, &mut out);
            chapters::check(source, find("sys/abi/src/error.rs"), &mut out);
        }
    }
    arrows::check(find("ARCHITECTURE.md"), workspace, &mut out);
    changelog::check(find("CHANGELOG.md"), &mut out);
    promises::check(find("SPECIFICATION.md"), sources, &mut out);
    banned::check_roots(sources, workspace, &mut out);
    reach::check(sources, workspace, &mut out);
    licences::check(find("deny.toml"), workspace, &mut out);
    generated::check(root, &mut out);
    out.sort();
    out.dedup();
    out
}

/// Every text file of ours below `root`.
fn load(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources: Vec<Source> = texts(root)?.iter().map(|(path, text)| Source::new(path, text)).collect();
    mark_test_modules(&mut sources);
    Ok(sources)
}

/// Path from the root and text of every file of ours.
pub fn texts(root: &Path) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    walk(root, &mut files).map_err(|e| format!("{}: {e}", root.display()))?;
    files.sort();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok((file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned(), text))
    };
    files.iter().map(read).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !matches!(&*name, "target" | ".git" | "corpus" | "artifacts") {
                walk(&path, files)?;
            }
        } else if [".rs", ".md", ".toml", ".sh", ".c", ".h"].iter().any(|e| name.ends_with(e)) || name == "x"
        {
            files.push(path);
        }
    }
    Ok(())
}

/// A file behind `#[cfg(test)] mod name;` is test code.
fn mark_test_modules(sources: &mut [Source]) {
    let mut files = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust()) {
        for (name, line) in reach::modules(source) {
            if source.test[line - 1] {
                files.extend(reach::candidates(&source.path, &name));
            }
        }
    }
    for source in sources.iter_mut().filter(|s| files.contains(&s.path)) {
        source.test.fill(true);
    }
}

/// The text of a JSON string, or nothing.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
