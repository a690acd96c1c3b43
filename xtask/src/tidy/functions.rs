//! A function fits on a screen: at most 70 lines from `fn` to its closing brace.

use super::Finding;
use super::source::{Source, is_word, item_end};

/// Lines of a function.
const LINES: usize = 70;

/// Looks at every function of one file; relies on rustfmt's layout only in that braces balance.
pub fn check(source: &Source, out: &mut Vec<Finding>) {
    for (i, line) in source.code.iter().enumerate() {
        let named = line.match_indices("fn ").any(|(at, _)| {
            is_word(line, at, "fn") && line[at + 3..].starts_with(|c: char| c.is_alphabetic() || c == '_')
        });
        if !named {
            continue;
        }
        let length = item_end(&source.code, i) + 1 - i;
        if length > LINES {
            let what = format!("a function of {length} lines");
            out.push(Finding::new(
                &source.path,
                i + 1,
                what,
                "cut it where its parts have names; 70 is the limit",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: usize) -> usize {
        let text = format!("fn f(\n    a: [u8; 4],\n) {{\n{}}}\nfn g();\n", "    x();\n".repeat(body));
        let mut out = Vec::new();
        check(&Source::new("a.rs", &text), &mut out);
        out.len()
    }

    #[test]
    fn seventy_lines_are_enough() {
        assert_eq!(found(66), 0);
        assert_eq!(found(67), 1);
    }
}
