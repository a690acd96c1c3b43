//! Each call has a chapter of the same five parts, and names only errors that exist.

use super::Finding;
use super::source::Source;

const FOLDER: &str = "docs/reference/calls/";
const PARTS: [&str; 5] = ["## Purpose", "## Arguments", "## Result", "## Errors", "## Notes"];

/// Looks at one page; `errors` is the source of the codes.
pub fn check(page: &Source, errors: Option<&Source>, out: &mut Vec<Finding>) {
    if !page.path.starts_with(FOLDER) {
        return;
    }
    let parts: Vec<&str> = page.lines.iter().map(|l| l.as_str()).filter(|l| l.starts_with("## ")).collect();
    if !page.path.ends_with("/README.md") && parts != PARTS {
        let remedy = "a chapter has the parts Purpose, Arguments, Result, Errors, Notes, in this order";
        out.push(Finding::new(&page.path, 1, format!("has the parts {}", parts.join(", ")), remedy));
    }
    for (i, line) in page.lines.iter().enumerate().filter(|(_, l)| l.starts_with("| `")) {
        let cell = line.trim_start_matches('|').split('|').next().unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2).filter(|n| n.bytes().all(|b| b.is_ascii_uppercase())) {
            let known =
                |e: &Source| e.lines.iter().any(|l| l.trim_start().starts_with(&format!("{name} = ")));
            if !errors.is_some_and(known) {
                let remedy = "use a name of docs/reference/errors.md";
                out.push(Finding::new(&page.path, i + 1, format!("there is no error `{name}`"), remedy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_errors_are_checked() {
        let errors = Source::new("sys/abi/src/error.rs", "codes! {\n    PERM = -1, Caller, \"no\";\n}\n");
        let found = |text: &str| {
            let mut out = Vec::new();
            check(&Source::new("docs/reference/calls/send.md", text), Some(&errors), &mut out);
            out.into_iter().map(|f| f.line).collect::<Vec<_>>()
        };
        let head = "# send\n## Purpose\n## Arguments\n## Result\n";
        assert!(found(&format!("{head}## Errors\n| `PERM` | when |\n## Notes\n")).is_empty());
        assert_eq!(found(&format!("{head}## Notes\n## Errors\n| `PERM`, `GONE` | when |\n")), [1, 7]);
    }
}
