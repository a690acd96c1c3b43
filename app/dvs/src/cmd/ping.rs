//! `dvs ping`: a sign of life from a node, through its daemon.

use crate::cli::Cli;
use crate::{connect, show};
use anyhow::Result;
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;
use std::time::Instant;

/// Asks it so often.
pub fn run(cli: &Cli, target: &str, count: u32) -> Result<ExitCode> {
    let node = connect::node(cli, target)?;
    let mut client = connect::client(cli)?;
    for _ in 0..count.max(1) {
        let start = Instant::now();
        let parts = client.all(&AdminRequest::Ping { node })?;
        if parts.iter().any(|p| matches!(p, AdminAnswer::Pong { .. })) {
            show::line(&format!("node {node}: {} us", start.elapsed().as_micros()));
        } else {
            return Ok(super::silent(&[node]));
        }
    }
    Ok(ExitCode::SUCCESS)
}
