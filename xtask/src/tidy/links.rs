//! Links between our pages lead somewhere, to the heading they name.

use super::Finding;
use super::source::Source;
use std::fs;
use std::path::Path;

/// Looks at every `[text](target)` outside code.
pub fn check(root: &Path, page: &Source, out: &mut Vec<Finding>) {
    let folder = root.join(&page.path).parent().unwrap_or(root).to_path_buf();
    for (line, target) in links(&page.lines) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { root.join(&page.path) } else { folder.join(path) };
        if !file.exists() {
            let what = format!("the link `{target}` leads nowhere");
            out.push(Finding::new(
                &page.path,
                line,
                what,
                "name a file that exists, from this page's folder",
            ));
        } else if !anchor.is_empty() && file.extension().is_some_and(|e| e == "md") {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if !anchors(&text).iter().any(|a| a == anchor) {
                let what = format!("the page has no heading `#{anchor}`");
                out.push(Finding::new(&page.path, line, what, "headings are lower case with - for blanks"));
            }
        }
    }
}

/// Line numbers and targets of the links.
fn links(lines: &[String]) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut fenced = false;
    for (i, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        for prose in line.split('`').step_by(2) {
            for piece in prose.split("](").skip(1) {
                if let Some((target, _)) = piece.split_once(')') {
                    out.push((i + 1, target.trim().to_owned()));
                }
            }
        }
    }
    out
}

/// The anchors of a page's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|l| l.starts_with('#'));
    headings
        .map(|h| {
            let kept = h.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "see [a](b.md#c) and [`d`](e.md), not `[x](y)`\n```\n[z](z)\n```\n";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let targets: Vec<String> = links(&lines).into_iter().map(|l| l.1).collect();
        assert_eq!(targets, ["b.md#c", "e.md"]);
    }

    #[test]
    fn headings_become_anchors() {
        assert_eq!(anchors("# The `x` door\ntext\n## 4.1 Why?\n"), ["the-x-door", "41-why"]);
    }
}
