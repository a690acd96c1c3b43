//! A node's daemon in the foreground: `dvsd [CONFIG-FILE]`. `dvs up` is the comfortable way.
#![forbid(unsafe_code)]

use dvsd::Config;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let config = match std::env::args_os().nth(1) {
        Some(file) => match Config::load(Path::new(&file)) {
            Ok(config) => config,
            Err(e) => return fail(&e),
        },
        None => Config::default(),
    };
    match dvsd::serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(e: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("dvsd: {e}");
    ExitCode::FAILURE
}
