//! `dvs logs`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::{Format, say};
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::log::LogEvent;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

const EXAMPLES: &str = "\
Examples:
  dvs logs --follow
  dvs logs session
  dvs logs kv-server --node n1    on another machine
  dvs logs --output json          one object a line

The node keeps its last 1024 events, and the last mebibyte of what programs started by dvs run wrote. \
A node on another machine shows them if its configuration says remote_programs = true.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Logs {
    /// Only events about this: daemon, session, program, dc, node, or the name of a program
    subject: Option<String>,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    /// Prints the events, oldest first.
    pub fn run(&self, context: &Context) -> Done {
        let target = context.target()?;
        if self.follow && !target.here {
            return Err(Fail::usage("the log of a node on another machine cannot be followed")
                .next("leave out --follow"));
        }
        let mut client = target.door.connect()?;
        if self.follow {
            client.set_deadline(Duration::from_secs(365 * 24 * 3600));
        }
        let json = context.output == Format::Json;
        let node = Some(target.id).filter(|_| !target.here);
        let mut refused = None;
        client.ask(&AdminRequest::Logs { node, since: 0, follow: self.follow }, |part| {
            match part {
                AdminAnswer::Events(events) => self.show(&events, json),
                AdminAnswer::Refused { code, why } => refused = Some(Fail::refused(code, why)),
                AdminAnswer::Silent(_) => {
                    refused = Some(Fail::gone(format!("node {} does not answer", target.name)));
                }
                _ => {}
            }
            true
        })?;
        refused.map_or(Ok(ExitCode::SUCCESS), Err)
    }

    fn show(&self, events: &[LogEvent], json: bool) {
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
}
