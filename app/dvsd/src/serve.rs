//! A daemon from its configuration to its end.

use crate::config::{Config, Security};
use crate::daemon::Daemon;
use crate::paths::uid;
use dvs_proxy::tls::{NodeKey, TlsError};
use std::io;
use std::path::{Path, PathBuf};

/// Where the node's key is: the configured folder, else `/var/lib/dvs/NODE` for root and `dvs/NODE` below
/// `$XDG_DATA_HOME` or `~/.local/share` for others.
pub fn data_dir(config: &Config) -> PathBuf {
    if let Some(dir) = &config.data_dir {
        return dir.clone();
    }
    let env = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = match (uid(), env("XDG_DATA_HOME"), env("HOME")) {
        (0, _, _) => PathBuf::from("/var/lib"),
        (_, Some(dir), _) => dir,
        (_, None, Some(home)) => home.join(".local/share"),
        (_, None, None) => PathBuf::from("."),
    };
    base.join("dvs").join(&config.node)
}

/// The node's key, made when there is none yet.
///
/// # Errors
/// The folder cannot be written, or the key in it is broken.
pub fn key(config: &Config) -> Result<NodeKey, TlsError> {
    let dir = data_dir(config);
    load(&dir)
}

fn load(dir: &Path) -> Result<NodeKey, TlsError> {
    NodeKey::load_or_generate(dir)
}

/// The fingerprint of the node's key, for the node lists of the others.
///
/// # Errors
/// As [`key`].
pub fn fingerprint(config: &Config) -> Result<String, TlsError> {
    Ok(key(config)?.fingerprint().to_string())
}

/// Whether the node talks to others, and then whether it needs its key.
pub fn needs_key(config: &Config) -> bool {
    config.nodes.len() > 1 && config.security == Security::Tls
}

/// Runs a daemon until it is told to end.
///
/// # Errors
/// It could not start: another one runs, a folder or address cannot be used.
pub fn serve(config: Config) -> io::Result<()> {
    // Before any thread is started: all of them inherit which signals are blocked.
    let signals = dvs_linux::signal::termination()?;
    let mut daemon = Daemon::new(config, true)?;
    daemon.end_on(signals)?;
    daemon.run()
}
