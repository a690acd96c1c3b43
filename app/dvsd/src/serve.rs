//! A daemon from its configuration to its end.

use crate::config::Config;
use crate::daemon::Daemon;
use crate::proxy::node_key;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The fingerprint of the node's key (made when there is none), for the node lists of the others.
///
/// # Errors
/// The key's folder cannot be written, or what is in it is no key.
pub fn fingerprint(config: &Config) -> io::Result<String> {
    Ok(node_key(config)?.fingerprint().to_string())
}

/// A session costs four descriptors, a link one: as many as this process may have. What it starts afterwards
/// inherits that.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let has = getrlimit(Resource::Nofile);
    // Not raised: then fewer sessions are let in.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: has.maximum, maximum: has.maximum });
}

/// Runs a daemon until it is told to end.
///
/// # Errors
/// It could not start: another one runs, a folder or address cannot be used.
pub fn serve(config: Config) -> io::Result<()> {
    start(config)?.run()
}

/// The same, and it ends with its standard input too: so none is left behind by who started it and was
/// killed, to meet others at an address that is used again.
///
/// # Errors
/// As [`serve`].
pub fn serve_fed(config: Config) -> io::Result<()> {
    let daemon = start(config)?;
    let stopper = daemon.stopper();
    std::thread::Builder::new().name("dvs-input".into()).spawn(move || {
        // Whatever is read, and an error too: what counts is that it is over.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stopper.stop();
    })?;
    daemon.run()
}

/// The whole of a test's daemon: `PROGRAM CONFIG-FILE`, served by [`serve_fed`].
pub fn fed_program() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: PROGRAM CONFIG-FILE");
        return ExitCode::FAILURE;
    };
    let served = Config::load(Path::new(&file))
        .map_err(|e| e.to_string())
        .and_then(|config| serve_fed(config).map_err(|e| e.to_string()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> io::Result<Daemon> {
    // Before any thread is started: all of them inherit which signals are blocked.
    let signals = dvs_linux::signal::termination()?;
    raise_descriptors();
    let mut daemon = Daemon::new(config, true)?;
    daemon.end_on(signals)?;
    Ok(daemon)
}
