//! Counts what a test runner reported.
//!
//! A test that cannot run here prints `SKIP: reason` on its standard error and returns. Runners call that
//! passed; we call it skipped, and say so. Two forms of report are read: the text of Rust's own runner with
//! `--show-output`, and the JUnit file of nextest. Prints `passed failed skipped`.

use std::fs;
use std::io::Write;

/// What one report says.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Test and reason.
    reasons: Vec<(String, String)>,
}

/// Reads `report`, prints the counts and appends the reasons of skipped tests to the file `skips`.
pub fn run(form: &str, report: &str, skips: &str, label: &str) -> Result<(), String> {
    let text =
        fs::read_to_string(report).map_err(|e| format!("{report}: {e}; did the test runner start?"))?;
    let tally = match form {
        "libtest" => libtest(&text),
        "junit" => junit(&text),
        other => return Err(format!("unknown form of report `{other}`: libtest or junit")),
    };
    let mut file =
        fs::OpenOptions::new().create(true).append(true).open(skips).map_err(|e| format!("{skips}: {e}"))?;
    for (test, reason) in &tally.reasons {
        writeln!(file, "{label}: {test}: {reason}").map_err(|e| format!("{skips}: {e}"))?;
    }
    println!("{} {} {}", tally.passed, tally.failed, tally.skipped);
    Ok(())
}

/// The reason in a line that starts with `SKIP:`.
fn reason(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("SKIP:").map(str::trim)
}

/// Sums the `test result:` lines; sections `---- name stdout ----` name the test that was skipped.
fn libtest(text: &str) -> Tally {
    let mut tally = Tally::default();
    let mut section = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("test result: ") {
            section = None;
            for part in rest.split(['.', ';']) {
                let mut words = part.split_whitespace();
                let Some(Ok(n)) = words.next().map(str::parse::<usize>) else { continue };
                match words.next() {
                    Some("passed") => tally.passed += n,
                    Some("failed") => tally.failed += n,
                    Some("ignored") => tally.skipped += n,
                    _ => {}
                }
            }
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----")) {
            section = Some(name.to_owned());
        } else if let (Some(why), Some(name)) = (reason(line), section.take_if(|_| reason(line).is_some())) {
            tally.reasons.push((name, why.to_owned()));
        }
    }
    moved(tally)
}

/// Reads the elements `testcase` one after another; each has at most one result.
fn junit(text: &str) -> Tally {
    let mut tally = Tally::default();
    for case in text.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let name = attribute(case, "name").unwrap_or_else(|| "?".to_owned());
        if case.contains("<failure") || case.contains("<error") {
            tally.failed += 1;
            continue;
        }
        tally.passed += 1;
        let output = case.split_once("<system-err>").map_or("", |(_, rest)| rest);
        if let Some(why) = output.lines().find_map(|l| reason(&unescape(l)).map(str::to_owned)) {
            tally.reasons.push((name, why.split("</").next().unwrap_or_default().to_owned()));
        }
    }
    moved(tally)
}

/// Skipped tests had been counted as passed.
fn moved(mut tally: Tally) -> Tally {
    let n = tally.reasons.len().min(tally.passed);
    tally.passed -= n;
    tally.skipped += n;
    tally
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let rest = element.split_once(&format!("{name}=\""))?.1;
    Some(unescape(rest.split('"').next()?))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_results_add_up_over_binaries() {
        let text = "test a ... ok\n\nsuccesses:\n\n---- b stdout ----\nSKIP: needs root\nSKIP: again\n\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let tally = libtest(text);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (3, 2, 2));
        assert_eq!(tally.reasons, [("b".to_owned(), "needs root".to_owned())]);
    }

    #[test]
    fn junit_cases_are_counted_one_by_one() {
        let text = "<testsuite name=\"s\"><testcase name=\"x::a\" time=\"0\">\n</testcase>\
            <testcase name=\"x::b\"><system-err>SKIP: no &lt;veth&gt;\nmore</system-err></testcase>\
            <testcase name=\"x::c\"><failure type=\"t\"/><system-err>SKIP: no</system-err></testcase>";
        let tally = junit(text);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 1, 1));
        assert_eq!(tally.reasons, [("x::b".to_owned(), "no <veth>".to_owned())]);
    }

    #[test]
    fn an_empty_report_counts_nothing() {
        assert_eq!(libtest(""), Tally::default());
        assert_eq!(junit(""), Tally::default());
    }
}
