//! How the story looks: headings, commands as they would be typed, and what they say. Colours only on a
//! terminal.

use crate::output::say;
use std::io::IsTerminal;

fn painted(code: &str, text: &str) -> String {
    match std::io::stdout().is_terminal() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_string(),
    }
}

/// A new part.
pub fn heading(text: &str) {
    say("");
    say(&painted("1", &format!("== {text}")));
}

/// A command.
pub fn command(text: &str) {
    say(&painted("36", &format!("$ {text}")));
}

/// A remark.
pub fn note(text: &str) {
    say(&painted("2", &format!("  ({text})")));
}

/// What a command said, or what came out of it.
pub fn line(text: &str) {
    say(&format!("  {text}"));
}
