//! Pure crates take `(state, event, now)` and return commands: no clock, socket, thread, file or chance
//! inside.

use super::Finding;
use super::source::{Source, is_word};

/// The crates marked pure.
const CRATES: [&str; 3] = ["sys/abi/", "sys/kern/", "net/wire/"];
/// What their product code may not name.
const NAMES: [&str; 12] = [
    "Instant",
    "SystemTime",
    "std::net",
    "std::thread",
    "std::fs",
    "std::process",
    "std::env",
    "std::os",
    "rand",
    "RandomState",
    "thread_rng",
    "getrandom",
];

/// Looks at one Rust file.
pub fn check(source: &Source, out: &mut Vec<Finding>) {
    if !CRATES.iter().any(|c| source.path.starts_with(c)) {
        return;
    }
    for (n, line) in source.product() {
        for name in NAMES {
            if line.match_indices(name).any(|(at, _)| is_word(line, at, name)) && !source.excused(n, "tidy") {
                let remedy = "a pure crate is told the time and returns what is to be done";
                out.push(Finding::new(&source.path, n, format!("`{name}` in a pure crate"), remedy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_found_only_in_pure_crates() {
        let text = "use std::time::{Duration, Instant};\n/// Instant.\n\
            #[cfg(test)]\nmod tests {\n    use std::thread;\n}\n";
        let found = |path: &str| {
            let mut out = Vec::new();
            check(&Source::new(path, text), &mut out);
            out.len()
        };
        assert_eq!((found("sys/kern/src/a.rs"), found("sys/ipc/src/a.rs")), (1, 0));
    }
}
