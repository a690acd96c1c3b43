//! SPECIFICATION.md keeps to its form: a promise, the test that holds it, one of three states.
//!
//! A row of a table whose head ends in `| held by | state |` says `held`, `missed` or `not yet held`. What
//! is held
//! names in backticks at least one thing that exists: a test function, a file, or a bench as `./x bench
//! NAME`.

use super::Finding;
use super::source::Source;

const HEAD: &str = "| held by | state |";

/// Looks at every row of every such table.
pub fn check(page: Option<&Source>, sources: &[Source], out: &mut Vec<Finding>) {
    let Some(page) = page else {
        out.push(Finding::new("SPECIFICATION.md", 1, "is missing", "it holds the promises in numbers"));
        return;
    };
    let mut inside = false;
    for (i, line) in page.lines.iter().enumerate() {
        let line = line.trim();
        if line.ends_with(HEAD) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|--") {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [.., by, state] = cells.as_slice() else { continue };
            if let Some(what) = wrong(by, state, sources) {
                let remedy = "a held promise names its test; the states are held, missed, not yet held";
                out.push(Finding::new(&page.path, i + 1, what, remedy));
            }
        }
    }
}

/// What is wrong with a row.
fn wrong(by: &str, state: &str, sources: &[Source]) -> Option<String> {
    let held = state == "held" || state.starts_with("held,");
    let other = ["missed", "not yet held"].iter().any(|s| state.starts_with(s));
    if !held && !other {
        return Some(format!("state `{state}`"));
    }
    let named = by.split('`').skip(1).step_by(2);
    (held && !named.into_iter().any(|name| exists(name, sources)))
        .then(|| format!("held by `{by}`, which is not there"))
}

fn exists(name: &str, sources: &[Source]) -> bool {
    let function = name.rsplit("::").next().unwrap_or(name);
    let call = format!("fn {function}(");
    name.starts_with("./x bench ")
        || sources.iter().any(|s| s.path == name || s.is_rust() && s.lines.iter().any(|l| l.contains(&call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_promise_names_its_test() {
        let page = "| promise | held by | state |\n|---|---|---|\n\
            | a | `x::works` | held |\n| b | | not yet held |\n\
            | c | `nothing` | held |\n| d | | soon |\n\n| e | f | g |\n";
        let sources = [Source::new("test/a.rs", "//! A.\nfn works() {}\n")];
        let mut out = Vec::new();
        check(Some(&Source::new("SPECIFICATION.md", page)), &sources, &mut out);
        assert_eq!(out.iter().map(|f| f.line).collect::<Vec<_>>(), [5, 6]);
    }
}
