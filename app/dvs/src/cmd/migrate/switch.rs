//! A passive service moves: its callers are pointed to another instance that is in step.

use super::{Migrate, Outcome};
use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::Code;
use dvsd::admin::{AdminAnswer, AdminRequest, MoveCheck, ServiceRow};
use std::process::ExitCode;
use std::time::Instant;

/// Has callers of a passive service go to its instance on a node.
///
/// # Errors
/// What is in the way: exit code 5.
pub fn switch(context: &Context, (dc, slot): (u16, i32), to: u16) -> Done<()> {
    for part in context.node.ask(&AdminRequest::Switch { dc, slot, to, check: false })? {
        if let AdminAnswer::Refused { code, why } = part {
            return Err(Fail::refused(refusal(code), why));
        }
    }
    Ok(())
}

/// What is in the way is a refusal.
fn refusal(code: i32) -> i32 {
    use Code::{EXIST, MIGRATE, NODCNODE, NONODE, NOTCONN, PROCSTS};
    let hinders = [EXIST, MIGRATE, NODCNODE, NONODE, NOTCONN, PROCSTS].map(|c| c as i32);
    if hinders.contains(&code) { Code::BUSY as i32 } else { code }
}

impl Migrate {
    /// Switches, or looks what would hinder that.
    pub(super) fn passive(&self, context: &Context, service: &ServiceRow, to: u16) -> Done {
        if !self.program.is_empty() {
            let text = "its instances keep themselves in step, so nothing is started for a move";
            return Err(Fail::usage(text).next(format!(
                "start an instance there with: dvs run --node {} …, then migrate without a program",
                self.to
            )));
        }
        if self.check {
            return self.look_at_switch(context, service, to);
        }
        let began = Instant::now();
        let done = switch(context, (service.dc, service.slot), to);
        let shown = context.output == Format::Table;
        if shown {
            done?;
            say(&format!("{} is on {} now", service.spec.name, self.to));
            return Ok(ExitCode::SUCCESS);
        }
        let (moved, why) =
            done.as_ref().map_or_else(|e| (false, e.what().to_owned()), |()| (true, String::new()));
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        output::json(&Outcome { moved, why, rounds: None, bytes: None, held_ms: None, took_ms })?;
        Ok(done.map_or_else(|e| e.exit(), |()| ExitCode::SUCCESS))
    }

    fn look_at_switch(&self, context: &Context, service: &ServiceRow, to: u16) -> Done {
        let (dc, slot) = (service.dc, service.slot);
        let parts = context.node.ask(&AdminRequest::Switch { dc, slot, to, check: true })?;
        let found = parts.into_iter().find_map(|part| match part {
            AdminAnswer::Checked(MoveCheck { hindrances, .. }) => Some(hindrances),
            _ => None,
        });
        let hindrances = found.ok_or_else(|| Fail::new("the daemon did not say what it found"))?;
        let free = hindrances.is_empty();
        if context.output == Format::Json {
            output::json(&serde_json::json!({ "from": service.at, "to": to, "hindrances": hindrances }))?;
        } else if free {
            let name = &service.spec.name;
            say(&format!("nothing hinders {name} from moving to {}: an instance is in step there", self.to));
        } else {
            hindrances.iter().for_each(|h| say(h));
        }
        Ok(if free { ExitCode::SUCCESS } else { ExitCode::from(5) })
    }
}
