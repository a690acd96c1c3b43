//! `dvs logs`: what happened on the node.

use crate::cli::{Cli, Output};
use crate::{connect, show};
use anyhow::Result;
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::log::LogEvent;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// A year: for as long as somebody looks.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Prints events, one a line.
pub fn run(cli: &Cli, follow: bool) -> Result<ExitCode> {
    let mut client = connect::client(cli)?;
    if follow {
        client.set_deadline(LONG);
    }
    client.ask(&AdminRequest::Logs { since: 0, follow }, |part| {
        if let AdminAnswer::Events(events) = part {
            for e in events {
                print(cli.output, &e);
            }
        }
        true
    })?;
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, e: &LogEvent) {
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(e.unix_ms));
    match output {
        Output::Table => show::line(&format!("{time}  {}: {}", e.subject, e.text)),
        Output::Json => show::line(&serde_json::to_string(e).unwrap_or_default()),
    }
}
