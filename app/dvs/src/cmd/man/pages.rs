//! The pages of `docs/reference/commands`: one a sub-command, made of the definition that parses arguments,
//! so they cannot say anything else than `--help` does.

use clap::{Arg, Command};
use std::fmt::Write;

const HEAD: &str = "<!-- Generated from app/dvs by `./x fmt`. Do not edit. -->";

/// File names and texts: an index, then a page a sub-command.
pub fn pages(mut program: Command) -> Vec<(String, String)> {
    program.build();
    let mut index = format!("# Commands\n\n{HEAD}\n\n{}\n\n", about(&program));
    let _ = write!(index, "```text\n{}\n```\n\n| command | what it does |\n|---|---|\n", usage(&program));
    let mut files = Vec::new();
    for command in program.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        let name = command.get_name();
        let _ = writeln!(index, "| [dvs {name}]({name}.md) | {} |", about(command));
        let mut text = format!("# dvs {name}\n\n{HEAD}\n");
        page(&mut text, command, false);
        files.push((format!("{name}.md"), text));
    }
    index += "\nEvery command also takes:\n\n";
    arguments(&mut index, program.get_arguments().filter(|a| a.is_global_set()));
    after(&mut index, &program);
    files.insert(0, ("README.md".into(), index));
    files
}

/// Appends what there is to say of a command and those below it. (Writing into a String cannot fail.)
fn page(text: &mut String, command: &Command, nested: bool) {
    if nested {
        let _ = write!(text, "\n## {}\n", command.get_bin_name().unwrap_or(command.get_name()));
    }
    let _ = write!(text, "\n{}.\n\n```text\n{}\n```\n", about(command), usage(command));
    let own: Vec<&Arg> = command.get_arguments().filter(|a| !a.is_global_set() && is_own(a)).collect();
    if !own.is_empty() {
        text.push('\n');
        arguments(text, own.into_iter());
    }
    after(text, command);
    for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
        page(text, below, true);
    }
}

/// What the help ends with: lines to be typed as they are, prose as prose.
fn after(text: &mut String, command: &Command) {
    let help = command.get_after_help().map_or(String::new(), ToString::to_string);
    for paragraph in help.trim().split("\n\n").filter(|p| !p.is_empty()) {
        let _ = match paragraph.contains("\n ") {
            true => write!(text, "\n```text\n{paragraph}\n```\n"),
            false => write!(text, "\n{paragraph}\n"),
        };
    }
}

fn is_own(a: &Arg) -> bool {
    !a.is_hide_set() && a.get_id() != "help" && a.get_id() != "version"
}

fn about(command: &Command) -> String {
    command.get_about().map_or(String::new(), |a| a.to_string().trim_end_matches('.').to_string())
}

fn usage(command: &Command) -> String {
    let text = command.clone().render_usage().to_string();
    text.trim_start_matches("Usage:").lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

fn arguments<'a>(text: &mut String, all: impl Iterator<Item = &'a Arg>) {
    text.push_str("| argument | meaning |\n|---|---|\n");
    for a in all {
        let help = a.get_help().map_or(String::new(), ToString::to_string);
        let _ = writeln!(text, "| {} | {}{} |", written(a), help.replace('|', "\\|"), notes(a));
    }
}

/// How an argument is written.
fn written(a: &Arg) -> String {
    let value = a.get_value_names().filter(|_| a.get_action().takes_values());
    let value = value.map_or(String::new(), |v| v.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" "));
    match (a.get_long(), a.get_short()) {
        (None, None) => format!("`{value}`"),
        (long, short) => {
            let names: Vec<String> =
                short.map(|s| format!("-{s}")).into_iter().chain(long.map(|l| format!("--{l}"))).collect();
            format!("`{}`", format!("{} {value}", names.join(", ")).trim_end())
        }
    }
}

/// What may be given, and what holds when nothing is.
fn notes(a: &Arg) -> String {
    let mut notes = String::new();
    if a.get_action().takes_values() {
        let values: Vec<String> = a.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
        if !values.is_empty() {
            let _ = write!(notes, " ({})", values.join(", "));
        }
        let defaults: Vec<String> =
            a.get_default_values().iter().map(|d| d.to_string_lossy().into_owned()).collect();
        if !defaults.is_empty() {
            let _ = write!(notes, "; default {}", defaults.join(", "));
        }
    }
    if let Some(variable) = a.get_env() {
        let _ = write!(notes, "; else `${}`", variable.to_string_lossy());
    }
    notes
}
