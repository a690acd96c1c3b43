//! A node's daemon for the tests: `cluster-daemon CONFIG-FILE`, the same code `dvsd` runs.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: cluster-daemon CONFIG-FILE");
        return ExitCode::FAILURE;
    };
    let served = dvsd::Config::load(Path::new(&file))
        .map_err(|e| e.to_string())
        .and_then(|config| dvsd::serve(config).map_err(|e| e.to_string()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
