//! Code shown in the pages is code that compiles: a block behind `<!-- from FILE -->` stands in that file.
//!
//! Lines are compared without their indentation, so that a page may show the inside of a function.

use super::Finding;
use super::source::Source;

/// Looks at every quoted block of one page.
pub fn check(page: &Source, sources: &[Source], out: &mut Vec<Finding>) {
    for (i, line) in page.lines.iter().enumerate() {
        let Some(path) = line.strip_prefix("<!-- from ").and_then(|l| l.strip_suffix(" -->")) else {
            continue;
        };
        let quoted = trimmed(page.lines.iter().skip(i + 2).take_while(|l| !l.starts_with("```")));
        let stands = sources
            .iter()
            .find(|s| s.path == path)
            .is_some_and(|s| trimmed(s.lines.iter()).contains(&quoted));
        if !stands {
            let what = format!("the code below is not in {path}");
            out.push(Finding::new(&page.path, i + 1, what, "copy it from there again"));
        }
    }
}

fn trimmed<'a>(lines: impl Iterator<Item = &'a String>) -> String {
    lines.fold(String::from("\n"), |all, l| all + l.trim() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_stands_in_its_file() {
        let sources = [Source::new("a.rs", "fn a() {\n    b();\n    c();\n}\n")];
        let found = |code: &str| {
            let text = format!("# A\n<!-- from a.rs -->\n```rust,ignore\n{code}\n```\n");
            let mut out = Vec::new();
            check(&Source::new("a.md", &text), &sources, &mut out);
            out.len()
        };
        assert_eq!((found("b();\nc();"), found("b();\nd();"), found("b(")), (0, 1, 1));
    }
}
