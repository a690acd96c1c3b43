//! A node's daemon for the suite: `conform-daemon CONFIG-FILE`, the same code `dvsd` runs. It ends with its
//! standard input, so that none is left behind by a suite that was killed.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dvsd::serve::fed_program()
}
