//! CHANGELOG.md keeps the form of keepachangelog.com: `Unreleased` first, versions with dates, known
//! sections.

use super::Finding;
use super::source::Source;

const SECTIONS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/// Looks at the headings.
pub fn check(page: Option<&Source>, out: &mut Vec<Finding>) {
    let Some(page) = page else {
        out.push(Finding::new("CHANGELOG.md", 1, "is missing", "write one"));
        return;
    };
    let mut bad = |line: usize, what: String, remedy: &'static str| {
        out.push(Finding::new(&page.path, line, what, remedy));
    };
    if page.lines.first().map(String::as_str) != Some("# Changelog") {
        bad(1, "does not open with `# Changelog`".to_owned(), "let it");
    }
    let mut versions = 0;
    for (i, line) in page.lines.iter().enumerate() {
        if let Some(version) = line.strip_prefix("## ") {
            versions += 1;
            let known = if versions == 1 { version == "[Unreleased]" } else { is_release(version) };
            if !known {
                let what = format!("heading `{line}`");
                bad(i + 1, what, "`## [Unreleased]` comes first, then `## [1.2.3] - 2030-12-31`");
            }
        } else if let Some(section) = line.strip_prefix("### ")
            && !SECTIONS.contains(&section)
        {
            let remedy = "sections are Added, Changed, Deprecated, Removed, Fixed, Security";
            bad(i + 1, format!("section `{section}`"), remedy);
        }
    }
    if versions == 0 {
        bad(1, "has no `## [Unreleased]`".to_owned(), "add it");
    }
}

/// Whether `text` is `[1.2.3] - 2030-12-31`.
fn is_release(text: &str) -> bool {
    let numbers = |t: &str, by: char, n: usize| {
        t.split(by).count() == n
            && t.split(by).all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    text.strip_prefix('[')
        .and_then(|t| t.split_once("] - "))
        .is_some_and(|(version, date)| numbers(version, '.', 3) && numbers(date, '-', 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        let mut out = Vec::new();
        check(Some(&Source::new("CHANGELOG.md", text)), &mut out);
        out.len()
    }

    #[test]
    fn headings_are_checked() {
        assert_eq!(found("# Changelog\n\n## [Unreleased]\n### Added\n- a\n\n## [0.1.0] - 2030-01-02\n"), 0);
        assert_eq!(found("# Changelog\n## [0.1.0] - 2030-01-02\n"), 1);
        assert_eq!(found("# Changelog\n## [Unreleased]\n### New\n## 0.1\n"), 2);
        assert_eq!(found("news\n"), 2);
    }
}
