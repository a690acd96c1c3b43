//! The pages of `docs/reference` that follow from the source: errors and limits.
//!
//! They are made from the text of `sys/abi` rather than from the crate, so that the reason beside each
//! number and its formula (`16 << 10`) reach the reader as they were written.

use std::fs;
use std::path::Path;

/// Every generated page and its text.
pub fn pages(root: &Path) -> Vec<(&'static str, Result<String, String>)> {
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"));
    vec![
        ("docs/reference/errors.md", read("sys/abi/src/error.rs").and_then(|t| errors(&t))),
        ("docs/reference/limits.md", read("sys/abi/src/limits.rs").and_then(|t| limits(&t))),
    ]
}

/// Writes the pages.
pub fn write(root: &Path) -> Result<(), String> {
    for (path, text) in pages(root) {
        let file = root.join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        fs::write(&file, text?).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}

/// The rows of `codes! { NAME = -1, Fault, "text"; }` as a table.
fn errors(source: &str) -> Result<String, String> {
    let body =
        source.split_once("\ncodes! {").map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or_default());
    let mut page = String::from(ERRORS_HEAD);
    let mut rows = 0;
    for line in body.lines().map(str::trim).filter(|l| l.contains('=')) {
        let row = line.trim_end_matches(';').split_once(" = ").and_then(|(name, rest)| {
            let (number, rest) = rest.split_once(", ")?;
            let (fault, text) = rest.split_once(", ")?;
            Some(format!("| {number} | `{name}` | {} | {} |\n", fault.to_lowercase(), text.trim_matches('"')))
        });
        page += &row.ok_or_else(|| format!("sys/abi/src/error.rs: cannot read `{line}`"))?;
        rows += 1;
    }
    if rows == 0 { Err("sys/abi/src/error.rs: no list of codes".to_owned()) } else { Ok(page) }
}

const ERRORS_HEAD: &str = "\
# Errors

<!-- Generated from sys/abi/src/error.rs by `cargo xtask docs`. Do not edit. -->

A call that fails says four things:

| part | question | values |
|---|---|---|
| code | what went wrong? | the table below; the numbers are those of the reference system |
| fault | who has to act? | caller (its arguments, rights, state), peer (it died or refused), \
system (a node, a connection, a limit), nobody (time ran out, somebody ended the wait) |
| effect | did it happen? | no (retrying is safe), yes (the peer consumed it), \
unknown (only the program can know) |
| peer | about whom? | an endpoint, or none; a deadlock also names the circle |

Only the effect *unknown* forbids a blind retry. Fault in the table is the usual one; the place that raises an
error may know better.

| number | name | fault | meaning |
|---:|---|---|---|
";

/// The constants with their reasons as a table; a heading where the source has a blank line.
fn limits(source: &str) -> Result<String, String> {
    let mut page = String::from(LIMITS_HEAD);
    let (mut reason, mut rows) = (String::new(), 0);
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            reason += if reason.is_empty() { "" } else { " " };
            reason += text;
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let (name, value) = rest
                .trim_end_matches(';')
                .split_once(": ")
                .and_then(|(name, rest)| Some((name, rest.split_once(" = ")?.1)))
                .ok_or_else(|| format!("sys/abi/src/limits.rs: cannot read `{line}`"))?;
            page += &format!("| `{name}` | `{value}` | {} |\n", reason.replace('|', "\\|"));
            (reason, rows) = (String::new(), rows + 1);
        } else {
            reason.clear();
        }
    }
    if rows == 0 { Err("sys/abi/src/limits.rs: no constants".to_owned()) } else { Ok(page) }
}

const LIMITS_HEAD: &str = "\
# Limits

<!-- Generated from sys/abi/src/limits.rs by `cargo xtask docs`. Do not edit. -->

Nothing in the system grows without one of these bounds; what is full answers with an error that names it.
`NS` is nanoseconds, `BYTES` bytes. Relations between them are checked when the file compiles.

| name | value | what and why |
|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_rows() {
        let page = errors("x\ncodes! {\n    PERM = -1, Caller, \"not permitted\";\n}\n")
            .expect("the list can be read");
        assert!(page.ends_with("| -1 | `PERM` | caller | not permitted |\n"));
        assert!(errors("nothing").is_err());
    }

    #[test]
    fn constants_become_rows() {
        let page = limits("/// Nodes.\n/// One bit each.\npub const NODES: usize = 1 << 5;\n")
            .expect("one constant");
        assert!(page.ends_with("| `NODES` | `1 << 5` | Nodes. One bit each. |\n"));
        assert!(limits("pub const BROKEN;").is_err());
    }
}
