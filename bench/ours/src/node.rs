//! A node for one run: a daemon in a folder of its own, a container, and processes attached to it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dvs::{DcId, DcPlan, Endpoint, Process};
use dvs_bench_common::{Ask, Child, Side, ready};
use dvsd::{Config, Daemon, paths};

/// The container of the run.
pub const DC: DcId = DcId(1);
/// The endpoint that serves.
pub const SERVER: Endpoint = Endpoint::new(0, 1);

/// The daemon's process: serves in the folder `--of`, or by the configuration file of this name, until it is
/// ended.
pub fn daemon(ask: &Ask) -> Result<f64> {
    let config = if ask.of.ends_with(".toml") {
        Config::load(Path::new(&ask.of))?
    } else {
        Config {
            runtime_dir: Some(ask.of.clone().into()),
            data_dir: Some(format!("{}.data", ask.of).into()),
            ..Config::default()
        }
    };
    let daemon = Daemon::new(config, false)?;
    ready(&ask.of)?;
    daemon.run()?;
    bail!("the daemon ended")
}

/// Starts a daemon in `folder` and makes the container.
///
/// # Errors
/// It does not start, or refuses us.
pub fn start(folder: &str) -> Result<Child> {
    let mut daemon = Child::again(Side::Here, &["daemon", "--of", folder].map(String::from))?;
    let line = daemon.line()?;
    line.strip_prefix("READY").with_context(|| format!("expected READY, got {line:?}"))?;
    attach(folder, "bench-setup")?.system().dc_init(&DcPlan::new(DC, "bench"))?;
    Ok(daemon)
}

/// Attaches this process to the daemon in `folder`.
///
/// # Errors
/// There is none, or it refuses us.
pub fn attach(folder: &str, name: &str) -> Result<Process> {
    Ok(dvs::attach_to(&paths::session_socket(Path::new(folder)), name)?)
}

/// A folder nobody else uses, for the node of a run.
pub fn folder() -> String {
    let scratch = std::env::var("DVS_BENCH_DIR").unwrap_or_else(|_| "/tmp".into());
    format!("{scratch}/node-{}", std::process::id())
}
