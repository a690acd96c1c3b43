//! A node's daemon for the suite: `conform-daemon CONFIG-FILE`, the same code `dvsd` runs. It ends with its
//! standard input, so that none is left behind by a suite that was killed.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    dvsd::serve::raise_descriptors();
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
    let daemon = dvsd::Daemon::new(config, true).and_then(|daemon| {
        let stopper = daemon.stopper();
        std::thread::Builder::new().spawn(move || {
            // Whatever is read, and an error too: what counts is that it is over.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stopper.stop();
        })?;
        Ok(daemon)
    });
    match daemon.and_then(dvsd::Daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
