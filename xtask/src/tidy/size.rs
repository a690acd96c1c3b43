//! Lines fit beside each other on a screen, files into a head.
//!
//! At most 110 columns in code (tables in pages, comments and TOML cannot be broken), and 1000 lines a file
//! unless the comment at its head says `long because` and the reason.

use super::Finding;
use super::source::Source;

const COLUMNS: usize = 110;
const LINES: usize = 1000;

/// Looks at one file.
pub fn check(source: &Source, out: &mut Vec<Finding>) {
    let page = source.path.ends_with(".md");
    for (i, line) in source.lines.iter().enumerate() {
        let columns = line.chars().count();
        let table = ["//! |", "/// |"].iter().any(|t| line.trim_start().starts_with(t));
        if columns > COLUMNS && !page && !table && !source.path.ends_with(".toml") {
            let what = format!("a line of {columns} columns");
            out.push(Finding::new(&source.path, i + 1, what, "break it; 110 is the limit"));
        }
        if line.ends_with([' ', '\t']) {
            out.push(Finding::new(&source.path, i + 1, "blanks at the end of the line", "take them away"));
        }
    }
    if source.lines.len() > LINES && !page && !source.head().contains("long because") {
        let what = format!("a file of {} lines", source.lines.len());
        out.push(Finding::new(
            &source.path,
            1,
            what,
            "split it, or say at its head `long because` and the reason",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        let mut out = Vec::new();
        check(&Source::new(path, text), &mut out);
        out.len()
    }

    #[test]
    fn width_counts_characters() {
        assert_eq!(found("a.rs", &"ä".repeat(110)), 0);
        assert_eq!(found("a.rs", &"x".repeat(111)), 1);
        assert_eq!(found("a.md", &"x".repeat(111)), 0);
    }

    #[test]
    fn a_long_file_gives_its_reason() {
        let long = "x;\n".repeat(1001);
        assert_eq!(found("a.rs", &long), 1);
        assert_eq!(found("a.rs", &format!("//! A table, long because it is one.\n{long}")), 0);
    }
}
