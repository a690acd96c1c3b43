//! Every file says at its head what it is for.

use super::Finding;
use super::source::Source;

/// A Rust file opens with `//!`, before anything but attributes and blank lines. The tests beside a module
/// (`tests.rs`) are explained by the module.
pub fn check(source: &Source, out: &mut Vec<Finding>) {
    if source.path.ends_with("/tests.rs") {
        return;
    }
    let opens = source.lines.iter().find(|l| !l.trim().is_empty() && !l.starts_with("#!"));
    if !opens.is_some_and(|l| l.starts_with("//!")) {
        let remedy = "open it with `//!`: why it is, the picture, the algorithm";
        out.push(Finding::new(&source.path, 1, "no comment at the head", remedy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        let mut out = Vec::new();
        check(&Source::new("a.rs", text), &mut out);
        out.len()
    }

    #[test]
    fn a_head_comes_first() {
        assert_eq!(found("//! Why.\nfn a() {}\n"), 0);
        assert_eq!(found("#![no_main]\n//! Why.\n"), 0);
        assert_eq!(found("// Why.\nfn a() {}\n") + found(""), 2);
    }
}
