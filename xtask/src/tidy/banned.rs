//! Words and calls that do not belong into the product.
//!
//! | banned | where it is allowed |
//! |---|---|
//! | `todo!`, `unimplemented!`, `dbg!` | nowhere |
//! | `unsafe` | `host/linux`, `bind/c`, `bench`; every other crate forbids it at its root |
//! | `thread::sleep` | tests, or with `// tidy: reason` |
//! | `unwrap()` | tests, or with `// cannot fail: reason` |
//! | `expect("…")` | tests, or with a message of at least three words that says why it cannot fail |

use super::Finding;
use super::source::{Source, has_word, is_word};
use super::workspace::Workspace;

/// Folders that may contain unsafe code. `bench` measures against bare system calls and is not shipped.
const UNSAFE: [&str; 3] = ["host/linux/", "bind/c/", "bench/"];

/// Looks at one Rust file.
pub fn check(source: &Source, out: &mut Vec<Finding>) {
    for (i, line) in source.code.iter().enumerate() {
        for word in ["todo!", "unimplemented!", "dbg!"] {
            if line.match_indices(word).any(|(at, _)| is_word(line, at, &word[..word.len() - 1])) {
                out.push(Finding::new(&source.path, i + 1, format!("`{word}`"), "finish it or leave it out"));
            }
        }
        if has_word(line, "unsafe") && !UNSAFE.iter().any(|f| source.path.starts_with(f)) {
            let remedy = "only host/linux and bind/c may contain it: put a safe wrapper there";
            out.push(Finding::new(&source.path, i + 1, "`unsafe`", remedy));
        }
    }
    for (n, line) in source.product() {
        if line.contains("thread::sleep(") && !source.excused(n, "tidy") {
            let remedy = "wait for the event, or say with `// tidy: reason` why time itself is meant";
            out.push(Finding::new(&source.path, n, "`thread::sleep`", remedy));
        }
        if line.contains(".unwrap()") && !source.excused(n, "cannot fail") {
            let remedy = "return the error, or add `// cannot fail: reason`";
            out.push(Finding::new(&source.path, n, "`unwrap()`", remedy));
        }
        if let Some(at) = line.find(".expect(") {
            expect(source, n, at, out);
        }
    }
}

/// The message of an `expect` says why it cannot fail.
fn expect(source: &Source, n: usize, at: usize, out: &mut Vec<Finding>) {
    let written = source.lines[n - 1].get(at + ".expect(".len()..).unwrap_or_default().trim();
    let written = if written.is_empty() { source.lines.get(n).map_or("", |l| l.trim()) } else { written };
    let Some(message) = written.strip_prefix('"') else { return };
    let words = message.split('"').next().unwrap_or_default().split_whitespace().count();
    if words < 3 && !source.excused(n, "cannot fail") {
        let remedy = "let the message say why it cannot fail, in three words or more";
        out.push(Finding::new(&source.path, n, "`expect` without a reason", remedy));
    }
}

/// Every root of a crate that may not contain unsafe code says so itself.
pub fn check_roots(sources: &[Source], workspace: &Workspace, out: &mut Vec<Finding>) {
    for root in workspace.members.iter().flat_map(|m| &m.roots) {
        let Some(source) = sources.iter().find(|s| s.path == *root) else { continue };
        let free = UNSAFE.iter().any(|f| root.starts_with(f)) || source.test.first() == Some(&true);
        if !free && !source.code.iter().any(|l| l.starts_with("#![forbid(unsafe_code)]")) {
            let what = "the root of a crate without `#![forbid(unsafe_code)]`";
            out.push(Finding::new(root, 1, what, "add the attribute below the head comment"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let mut out = Vec::new();
        check(&Source::new(path, text), &mut out);
        out.into_iter().map(|f| (f.line, f.what)).collect()
    }

    #[test]
    fn unfinished_code_is_found_everywhere() {
        let text = concat!("fn a() { to", "do!() }\nfn b() { // to", "do!()\n}");
        assert_eq!(found("test/a/src/lib.rs", text), [(1, concat!("`to", "do!`").to_owned())]);
    }

    #[test]
    fn unsafe_has_two_homes() {
        assert_eq!(found("sys/a/src/lib.rs", "unsafe { x() }").len(), 1);
        assert_eq!(found("sys/a/src/lib.rs", "#![forbid(unsafe_code)]").len(), 0);
        assert_eq!(found("host/linux/src/lib.rs", "unsafe { x() }").len(), 0);
    }

    #[test]
    fn a_panic_needs_its_reason() {
        let text = "a.unwrap();\nb.unwrap(); // cannot fail: checked above\n//\nc.expect(\"no\");\n\
            d.expect(\"the table was checked\");\ne.expect(\n    \"bad\",\n);\n\
            parser.expect(Token::Comma);\n";
        let lines: Vec<usize> = found("sys/a/src/lib.rs", text).into_iter().map(|f| f.0).collect();
        assert_eq!(lines, [1, 4, 6]);
        assert!(found("sys/a/tests/a.rs", text).is_empty());
    }

    #[test]
    fn sleeping_needs_its_reason() {
        let text = "std::thread::sleep(d);\n\n// tidy: the pause is what is measured\nthread::sleep(d);";
        assert_eq!(found("app/a/src/lib.rs", text), [(1, "`thread::sleep`".to_owned())]);
    }
}
