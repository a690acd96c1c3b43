//! Printing: tables for people, JSON for programs. Colour only on a terminal and without NO_COLOR.

use crate::cli::Output;
use serde::Serialize;
use std::io::{IsTerminal, Write, stdout};

/// Whether to decorate.
pub fn decorated() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Prints rows as a table, or `value` as JSON.
pub fn print(output: Output, head: &[&str], rows: Vec<Vec<String>>, value: &impl Serialize) {
    match output {
        Output::Json => line(&serde_json::to_string_pretty(value).unwrap_or_default()),
        Output::Table => line(&table(head, rows)),
    }
}

/// A line on standard output. Whoever reads may leave early (`| head`): that is no error.
pub fn line(text: &str) {
    let _ = writeln!(stdout().lock(), "{text}");
}

/// Columns as wide as their widest cell, two blanks apart.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|h| h.to_uppercase()).collect();
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|r| r.get(n)).chain(head.get(n));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(c, w)| format!("{c:w$}")).collect();
        padded.join("  ").trim_end().to_string()
    };
    let title = if decorated() { format!("\x1b[1m{}\x1b[0m", line(&head)) } else { line(&head) };
    let lines: Vec<String> = std::iter::once(title).chain(rows.iter().map(|r| line(r))).collect();
    lines.join("\n")
}

/// A duration for people.
pub fn duration(ns: u64) -> String {
    match ns {
        0 => String::new(),
        1..1_000_000 => format!("{} us", ns / 1000),
        1_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

/// The numbers of the bits that are set.
pub fn bits(map: u32) -> String {
    let numbers: Vec<String> = (0..32).filter(|n| map & 1 << n != 0).map(|n| n.to_string()).collect();
    numbers.join(",")
}
