//! The broker's process.

use anyhow::{Context, Result, bail};
use dvs_bench_common::{Child, Side};

/// Debian keeps it outside a user's search path.
const PROGRAMS: [&str; 2] = ["/usr/sbin/nats-server", "/usr/local/bin/nats-server"];
/// Lines of its log read until it must have said where it listens.
const LINES_MAX: usize = 100;

/// A running broker; ended when dropped.
pub struct Broker {
    _process: Child,
    /// Where clients find it.
    pub address: String,
}

/// Starts it on a port of the system's choice.
///
/// # Errors
/// It is not installed, or did not start.
pub fn start(ip: &str) -> Result<Broker> {
    let installed = PROGRAMS.into_iter().find(|p| std::path::Path::new(p).exists());
    let program = installed.context("nats-server is not installed (Debian package nats-server)")?;
    // It writes its log to standard error; the shell puts it where we read.
    let command = format!("exec {program} -a {ip} -p -1 2>&1");
    // We run on the server's side already.
    let mut process = Child::foreign(Side::Here, "sh", &["-c".into(), command])?;
    for _ in 0..LINES_MAX {
        let line = process.line()?;
        if let Some((_, place)) = line.split_once("Listening for client connections on ") {
            return Ok(Broker { address: format!("nats://{place}"), _process: process });
        }
    }
    bail!("nats-server did not say where it listens")
}
