//! How results are shown: a table for people, JSON for programs.

use crate::fail::{Done, Fail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// What to print.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    // No comments for the help: each value would get a paragraph of its own.
    #[default]
    Table,
    Json,
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) -> Done<()> {
    let text = serde_json::to_string_pretty(value).map_err(Fail::new)?;
    say(&text);
    Ok(())
}

/// Prints rows under headings; nothing but the headings when there are none.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) {
    lines(headings, rows).iter().for_each(|l| say(l));
}

/// Prints what was done.
pub fn done(format: Format, text: &str) -> Done<()> {
    match format {
        Format::Table => {
            say(text);
            Ok(())
        }
        Format::Json => json(&serde_json::json!({ "done": text })),
    }
}

/// Rows under headings, as lines.
pub fn lines(headings: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut t = Table::new();
    t.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // A column of numbers is aligned where they end, with its heading.
    let number =
        |text: &String| text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let numbers: Vec<bool> = (0..headings.len())
        .map(|i| !rows.is_empty() && rows.iter().all(|r| r.get(i).is_none_or(number)))
        .collect();
    let cell = |i: usize, text: String| {
        let right = numbers.get(i).copied().unwrap_or(false);
        let side = if right { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(side)
    };
    t.set_header(headings.iter().enumerate().map(|(i, h)| cell(i, h.to_uppercase())));
    for row in rows {
        t.add_row(row.into_iter().enumerate().map(|(i, text)| cell(i, text)));
    }
    // Every cell has a blank on both sides; the first one's is not wanted.
    let text = t.to_string();
    text.lines().map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end().to_string()).collect()
}

/// Prints a line; a reader that went away (`dvs ps | head`) ends the program quietly.
pub fn say(line: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// A time span as people read it.
pub fn span(ns: u64) -> String {
    match ns {
        0 => String::new(),
        1..=999 => format!("{ns}ns"),
        1_000..=999_999 => format!("{}us", ns / 1_000),
        1_000_000..=999_999_999 => format!("{}ms", ns / 1_000_000),
        _ => {
            let s = ns / 1_000_000_000;
            match s {
                0..=59 => format!("{s}s"),
                60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
                _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
            }
        }
    }
}

/// An endpoint of a row; `-` for none.
pub fn endpoint(raw: i32) -> String {
    match dvs::Endpoint::from_raw(raw) {
        dvs::Endpoint::NONE => "-".to_string(),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans_are_short() {
        let shown: Vec<_> = [0, 5, 5_000, 5_000_000, 5_000_000_000, 65_000_000_000, 3_700_000_000_000]
            .into_iter()
            .map(super::span)
            .collect();
        assert_eq!(shown, ["", "5ns", "5us", "5ms", "5s", "1m05s", "1h01m"]);
    }
}
