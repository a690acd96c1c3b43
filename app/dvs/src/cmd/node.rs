//! `dvs up`, `down`, `status`.

use crate::cli::{Cli, Output, Up};
use crate::{connect, show};
use anyhow::{Context, Result, bail};
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::client::AdminClient;
use dvsd::{Config, Daemon, paths};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take on a machine that is busy with other things.
const START: Duration = Duration::from_secs(20);

/// Starts the daemon.
pub fn up(cli: &Cli, up: &Up) -> Result<ExitCode> {
    let mut config = match &up.config {
        Some(file) => Config::load(file)?,
        None => Config::single(&cli.node),
    };
    if let Some(dir) = &cli.runtime_dir {
        config.runtime_dir = Some(dir.clone());
    }
    let dir = config.runtime_dir.clone().unwrap_or_else(|| paths::runtime_dir(&config.node));
    if up.foreground {
        let signals = dvs_linux::signal::termination()?;
        let mut daemon = Daemon::new(config, true)?;
        daemon.end_on(signals)?;
        daemon.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut child = Command::new(std::env::current_exe().context("this program does not find itself")?)
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("the daemon could not be started")?;
    let end = Instant::now() + START;
    loop {
        if let Some(status) = child.try_wait()? {
            let mut said = String::new();
            child.stderr.take().map(|mut e| e.read_to_string(&mut said)).transpose()?;
            bail!("the daemon ended at once ({status}): {}", said.trim());
        }
        if answers(&dir, child.id()) {
            show::line(&format!("node {} is up in {}", config.node, dir.display()));
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() > end {
            bail!("the daemon does not answer; see what it says with `dvs up --foreground`");
        }
        std::thread::yield_now();
    }
}

/// Whether the daemon in `dir` is the process `pid` and serves.
fn answers(dir: &Path, pid: u32) -> bool {
    let client = AdminClient::connect(&paths::admin_socket(dir));
    let parts = client.and_then(|mut c| c.all(&AdminRequest::Status)).unwrap_or_default();
    parts.iter().any(|p| matches!(p, AdminAnswer::Status(s) if s.pid == pid))
}

/// Stops the daemon and waits until it is gone.
pub fn down(cli: &Cli) -> Result<ExitCode> {
    let status = connect::status(cli)?;
    let held = dvs_linux::pidfd::PidFd::open(status.pid);
    connect::ask(cli, &AdminRequest::Shutdown)?;
    if let Ok(held) = held {
        let deadline = dvs_linux::clock::now() + START.as_nanos() as u64;
        if !held.wait(dvs_abi::Deadline::from_ns(deadline))? {
            bail!("the daemon (pid {}) does not end; `kill -9 {0}` makes it", status.pid);
        }
    }
    show::line(&format!("node {} is down", status.name));
    Ok(ExitCode::SUCCESS)
}

/// Shows how the node is.
pub fn status(cli: &Cli) -> Result<ExitCode> {
    let s = connect::status(cli)?;
    if cli.output == Output::Json {
        show::print(cli.output, &[], Vec::new(), &s);
        return Ok(ExitCode::SUCCESS);
    }
    let up = s.uptime_ms / 1000;
    show::line(&format!("node {} ({}), pid {}, version {}, up {up} s", s.node, s.name, s.pid, s.version));
    show::line(&format!(
        "{} containers, {} endpoints, {} sessions, {} links, {} lanes; {} KiB resident; security {}",
        s.containers, s.endpoints, s.sessions, s.links, s.lanes, s.resident_kib, s.security
    ));
    if !s.fingerprint.is_empty() {
        show::line(&format!("fingerprint {}", s.fingerprint));
    }
    let state = |n: &dvs_ipc::control::NodeInfo| match n.flags {
        _ if n.node == s.node => "this one",
        f if f & 8 != 0 => "up",
        _ => "not reached",
    };
    let rows = s.nodes.iter().map(|n| {
        vec![n.node.to_string(), n.name.clone(), n.address.clone(), state(n).into(), show::bits(n.dcs)]
    });
    show::print(cli.output, &["node", "name", "address", "state", "containers"], rows.collect(), &s);
    Ok(ExitCode::SUCCESS)
}
