//! A node's daemon for the suite: `conform-daemon CONFIG-FILE`, the same code `dvsd` runs.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: conform-daemon CONFIG-FILE");
        return ExitCode::FAILURE;
    };
    let config = match dvsd::Config::load(Path::new(&file)) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    match dvsd::Daemon::new(config, true).and_then(dvsd::Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
