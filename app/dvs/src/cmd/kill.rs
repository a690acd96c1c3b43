//! `dvs kill`: asks the process of an endpoint to end.

use crate::cli::Cli;
use crate::{connect, show};
use anyhow::Result;
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;

/// Asks it, wherever it runs.
pub fn run(cli: &Cli, dc: &str, endpoint: &str, force: bool) -> Result<ExitCode> {
    let (dc, ep) = (connect::container(cli, dc)?.dc, connect::endpoint(endpoint)?);
    let parts = connect::ask(cli, &AdminRequest::Kill { dc, endpoint: ep.raw(), force })?;
    if let Some(AdminAnswer::Silent(nodes)) = parts.first() {
        return Ok(super::silent(nodes));
    }
    show::line(&format!("{ep} of dc{dc} was {}", if force { "killed" } else { "asked to end" }));
    Ok(ExitCode::SUCCESS)
}
