//! Who may depend on whom: the tables of ARCHITECTURE.md against `cargo metadata`.
//!
//! `| crate | may depend on |` holds for what is built, `| crate | its tests may also depend on |` for
//! what only
//! tests use. Every crate has a row in the first; an arrow that no row permits is an error, and so is a row
//! about a crate that is not there.

use super::Finding;
use super::source::Source;
use super::workspace::Workspace;
use std::collections::BTreeMap;

const BUILT: &str = "| crate | may depend on |";
const TESTS: &str = "| crate | its tests may also depend on |";

/// Crate, the line of its row, and the crates it permits.
type Table = BTreeMap<String, (usize, Vec<String>)>;

/// Compares the tables with the arrows there are.
pub fn check(page: Option<&Source>, workspace: &Workspace, out: &mut Vec<Finding>) {
    let Some(page) = page else {
        out.push(Finding::new("ARCHITECTURE.md", 1, "is missing", "it holds the table of permitted arrows"));
        return;
    };
    let (built, tests) = (table(page, BUILT), table(page, TESTS));
    let ours: Vec<&str> = workspace.members.iter().map(|m| &*m.name).collect();
    for member in &workspace.members {
        let Some((_, row)) = built.get(&member.name) else {
            let what = format!("crate {} has no row in the table of permitted arrows", member.name);
            out.push(Finding::new(&page.path, 1, what, "add one, after asking whether the crate has to be"));
            continue;
        };
        let extra = tests.get(&member.name).map_or(&[][..], |(_, r)| &r[..]);
        for (target, only_tests) in member.arrows.iter().filter(|(t, _)| ours.contains(&&**t)) {
            let permitted =
                row.contains(target) || *only_tests && (extra.contains(target) || *target == member.name);
            if !permitted {
                let kind = if *only_tests { "tests of " } else { "" };
                let what = format!("{kind}{} may not depend on {target}", member.name);
                let file = format!("{}/Cargo.toml", member.folder);
                out.push(Finding::new(
                    &file,
                    1,
                    what,
                    "turn the arrow round or see the table in ARCHITECTURE.md",
                ));
            }
        }
    }
    for (name, (line, row)) in built.iter().chain(&tests) {
        for stale in row.iter().chain([name]).filter(|n| !ours.contains(&&***n)) {
            out.push(Finding::new(
                &page.path,
                *line,
                format!("there is no crate {stale}"),
                "take it out of the table",
            ));
        }
    }
}

/// The rows behind the heading `head`.
fn table(page: &Source, head: &str) -> Table {
    let start = page.lines.iter().position(|l| l.trim() == head).map_or(page.lines.len(), |n| n + 2);
    let rows = page.lines.iter().enumerate().skip(start).take_while(|(_, l)| l.starts_with('|'));
    rows.filter_map(|(i, line)| {
        let mut cells = line.trim().trim_matches('|').split('|').map(|c| c.trim().replace('`', ""));
        let name = cells.next()?;
        let targets = cells.next()?;
        let targets = targets.split(',').map(str::trim).filter(|t| !t.is_empty() && *t != "nothing");
        Some((name, (i + 1, targets.map(str::to_owned).collect())))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::workspace::Member;
    use super::*;

    fn member(name: &str, arrows: &[(&str, bool)]) -> Member {
        let arrows = arrows.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
        Member { name: name.to_owned(), folder: format!("sys/{name}"), roots: vec![], arrows }
    }

    fn found(page: &str, members: Vec<Member>) -> Vec<String> {
        let mut out = Vec::new();
        let workspace = Workspace { members, foreign: vec![] };
        check(Some(&Source::new("ARCHITECTURE.md", page)), &workspace, &mut out);
        out.into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn an_arrow_outside_the_table_is_found() {
        let page = "| crate | may depend on |\n|---|---|\n| `a` | nothing |\n| `b` | `a` |\n\n\
            | crate | its tests may also depend on |\n|---|---|\n| a | b |\n";
        let good = || vec![member("a", &[("serde", false), ("b", true)]), member("b", &[("a", false)])];
        assert_eq!(found(page, good()), Vec::<String>::new());
        let bad = vec![member("a", &[("b", false)]), member("b", &[])];
        assert_eq!(found(page, bad), ["a may not depend on b"]);
    }

    #[test]
    fn every_crate_has_a_row_and_every_row_a_crate() {
        let page = "| crate | may depend on |\n|---|---|\n| a | gone |\n";
        let what = found(page, vec![member("a", &[]), member("new", &[])]);
        assert_eq!(what, ["crate new has no row in the table of permitted arrows", "there is no crate gone"]);
    }
}
