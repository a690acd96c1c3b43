//! What we link may be linked: licences of the list in `deny.toml`, one registry, no moving branches.
//!
//! `cargo deny` holds the same and more where it is installed; this holds it everywhere at no cost.

use super::Finding;
use super::source::Source;
use super::workspace::{Foreign, Workspace};

/// Looks at every foreign package of the lock file.
pub fn check(deny: Option<&Source>, workspace: &Workspace, out: &mut Vec<Finding>) {
    let Some(deny) = deny else {
        out.push(Finding::new("deny.toml", 1, "is missing", "it holds the list of licences"));
        return;
    };
    let allowed = allowed(deny);
    let registry = workspace.foreign.iter().map(|f| &*f.source).find(|s| s.starts_with("registry+"));
    for package in &workspace.foreign {
        let mut bad = |what: &str, remedy| {
            out.push(Finding::new("Cargo.lock", 1, format!("{}: {what}", package.name), remedy));
        };
        if !permits(&package.licence, &allowed) {
            let remedy = "choose another package, or the list in deny.toml after reading the licence";
            bad(&format!("licence `{}`", package.licence), remedy);
        }
        if !from(package, registry) {
            bad(
                &format!("comes from `{}`", package.source),
                "take it from the one registry of the lock file",
            );
        }
    }
}

fn from(package: &Foreign, registry: Option<&str>) -> bool {
    package.source.starts_with("registry+") && registry == Some(&package.source)
}

/// The strings of `allow = [...]`.
fn allowed(deny: &Source) -> Vec<String> {
    let text = deny.lines.iter().filter(|l| !l.starts_with('#')).fold(String::new(), |all, l| all + l + "\n");
    let list =
        text.split_once("allow = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an expression of AND, OR and brackets can be met. OR binds weaker; old packages write `/` for it.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    !words.is_empty() && any(&words, &mut at, allowed) && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut good = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= all(words, at, allowed);
    }
    good
}

fn all(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut good = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= one(words, at, allowed);
    }
    good
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let good = any(words, at, allowed);
        *at += 1;
        return good;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_weighed() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "MIT AND (ISC OR GPL-2.0)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT ISC"] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_list_is_read() {
        let deny = Source::new("deny.toml", "[licenses]\nallow = [\n  \"MIT\", # free\n  \"ISC\",\n]\n");
        assert_eq!(allowed(&deny), ["MIT", "ISC"]);
    }
}
