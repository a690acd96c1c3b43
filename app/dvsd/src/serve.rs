//! A daemon from its configuration to its end.

use crate::config::Config;
use crate::daemon::Daemon;
use crate::proxy::node_key;
use std::io;

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
    // Before any thread is started: all of them inherit which signals are blocked.
    let signals = dvs_linux::signal::termination()?;
    raise_descriptors();
    let mut daemon = Daemon::new(config, true)?;
    daemon.end_on(signals)?;
    daemon.run()
}
