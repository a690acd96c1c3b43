//! Breaks comment lines that are too long, as `./x fmt` does for code.
//!
//! rustfmt leaves comments alone. A comment line of more than 110 columns is cut at its last blank before
//! that; the rest moves to the front of the next line when that goes on with the same paragraph, else to a
//! line of its own. Tables and code blocks inside comments stay as they are, and so do comments behind code.

use std::fs;
use std::path::Path;

const COLUMNS: usize = 110;

/// Wraps the comments of every Rust file below `root`; says which files changed.
pub fn run(root: &Path) -> Result<(), String> {
    for (file, text) in crate::tidy::texts(root)? {
        if !file.ends_with(".rs") {
            continue;
        }
        let wrapped = wrap(&text);
        if wrapped != text {
            println!("{file}");
            fs::write(root.join(&file), wrapped).map_err(|e| format!("{file}: {e}"))?;
        }
    }
    Ok(())
}

/// The text with its long comment lines cut.
fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (mut i, mut fenced) = (0, false);
    while i < lines.len() {
        let Some((prefix, body)) = comment(&lines[i]).map(|(p, b)| (p, b.to_owned())) else {
            (i, fenced) = (i + 1, false);
            continue;
        };
        fenced ^= body.starts_with("```");
        if !fenced
            && !body.starts_with('|')
            && let Some(at) = cut(&lines[i], prefix.len())
        {
            let rest = lines[i].split_off(at);
            let rest = rest.trim_start().to_owned();
            let indent = if body.starts_with("- ") { "  " } else { "" };
            let line = format!("{prefix}{indent}{rest}");
            match lines.get_mut(i + 1).filter(|next| goes_on(next, &prefix)) {
                Some(next) => *next = format!("{line} {}", next[prefix.len()..].trim_start()),
                None => lines.insert(i + 1, line),
            }
        }
        i += 1;
    }
    let mut out = lines.join("\n");
    out.push('\n');
    out
}

/// The prefix of a comment line (`    /// `) and what stands behind it.
fn comment(line: &str) -> Option<(String, &str)> {
    let body = line.trim_start();
    let mark = ["//! ", "/// ", "// "].into_iter().find(|m| body.starts_with(m))?;
    let prefix = line.len() - body.len() + mark.len();
    Some((line[..prefix].to_owned(), &line[prefix..]))
}

/// Where to cut a line that is too long.
fn cut(line: &str, prefix: usize) -> Option<usize> {
    line.char_indices().nth(COLUMNS)?;
    let blanks = line.char_indices().take(COLUMNS + 1).filter(|(_, c)| *c == ' ');
    blanks.last().map(|(at, _)| at).filter(|at| *at > prefix)
}

/// Whether `next` is more of the same paragraph.
fn goes_on(next: &str, prefix: &str) -> bool {
    let starts = |body: &str| {
        ["|", "```", "- ", "* ", "# ", "[", "<"].iter().any(|m| body.starts_with(m))
            || body.starts_with(|c: char| c.is_ascii_digit())
    };
    comment(next).is_some_and(|(p, body)| p == prefix && !starts(body) && !body.starts_with("  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_comments_are_cut_and_flow_on() {
        let text = format!("    /// {}end of it\n    /// and more\nfn a() {{}}\n", "word ".repeat(20));
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|l| l.chars().count() <= COLUMNS), "{wrapped}");
        assert!(wrapped.ends_with("\n    /// end of it and more\nfn a() {}\n"), "{wrapped}");
        assert_eq!(wrap(&wrapped), wrapped);
    }

    #[test]
    fn tables_and_code_stay() {
        let long = "x ".repeat(80);
        let text = format!("//! | {long}\n//! ```text\n//! {long}\n//! ```\nlet a = 1; // {long}\n");
        assert_eq!(wrap(&text), text);
    }
}
