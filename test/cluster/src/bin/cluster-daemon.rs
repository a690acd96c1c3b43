//! A node's daemon for the tests: `cluster-daemon CONFIG-FILE`, the same code `dvsd` runs. It ends with its
//! standard input, so that none is left behind by a test that was killed.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dvsd::serve::fed_program()
}
