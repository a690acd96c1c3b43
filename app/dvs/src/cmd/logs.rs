//! `dvs logs`

use super::Context;
use crate::fail::Done;
use crate::output::{Format, say};
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  dvs logs --follow\n  dvs logs session\n  dvs logs --output json")]
pub struct Logs {
    /// Only events about this: daemon, session, dc, node, or the name of a program
    subject: Option<String>,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    /// Prints the events, oldest first.
    pub fn run(&self, context: &Context) -> Done {
        let mut client = context.node.connect()?;
        if self.follow {
            client.set_deadline(Duration::from_secs(365 * 24 * 3600));
        }
        let json = context.output == Format::Json;
        client.ask(&AdminRequest::Logs { since: 0, follow: self.follow }, |part| {
            if let AdminAnswer::Events(events) = part {
                for e in events.iter().filter(|e| self.subject.as_ref().is_none_or(|s| *s == e.subject)) {
                    match serde_json::to_string(e) {
                        Ok(line) if json => say(&line),
                        _ => {
                            let at = UNIX_EPOCH + Duration::from_millis(e.unix_ms);
                            let at = humantime::format_rfc3339_millis(at);
                            say(&format!("{at} {}: {}", e.subject, e.text));
                        }
                    }
                }
            }
            true
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
