//! A program started by a daemon: of another machine, or of this one when nobody waits for it.
//!
//! Its output arrives in parts, and is written as it comes; then its end. A signal for this command is passed
//! on to the program; a second one, or the terminal going away, ends this command, and the daemons see to it
//! that the program ends too.

use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::node::{Node, Target};
use crate::output::{self, Format, say};
use dvs_linux::signal;
use dvsd::admin::{AdminAnswer, AdminRequest, ProgramSignal, RunOrder};
use serde::Serialize;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// The program has no deadline; the daemon says when its node is gone.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
/// Signals as they are numbered everywhere on Linux.
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGPIPE: u8 = 13;

/// What `--detach` prints as JSON.
#[derive(Serialize)]
struct Started {
    program: String,
    node: String,
    pid: u32,
}

/// What is known when the answer ends.
#[derive(Default)]
struct Seen {
    started: Option<(u32, u32)>,
    ended: Option<i32>,
    refused: Option<(i32, String)>,
    silent: bool,
    unread: bool,
}

/// Has it run; gives back its exit code.
pub fn run(context: &Context, target: &Target, order: RunOrder) -> Done {
    let program = order.program.first().cloned().unwrap_or_default();
    let detach = order.detach;
    let mut client = target.door.connect()?;
    client.set_deadline(LONG);
    let number = std::sync::Arc::new(OnceLock::new());
    if !detach {
        let signals = signal::termination().map_err(Fail::new)?;
        let (door, node, number) = (target.door.clone(), target.id, number.clone());
        std::thread::spawn(move || pass_on(&signals, &door, node, &number));
    }
    let mut seen = Seen::default();
    let asked = client.ask(&AdminRequest::Run { node: target.id, order }, |part| {
        match part {
            AdminAnswer::Started { program, pid } => {
                seen.started = Some((program, pid));
                // Said once.
                let _ = number.set(program);
            }
            AdminAnswer::Output { error, bytes } => seen.unread = !write(error, &bytes),
            AdminAnswer::Ended { code } => seen.ended = Some(code),
            AdminAnswer::Refused { code, why } => seen.refused = Some((code, why)),
            AdminAnswer::Silent(_) => seen.silent = true,
            _ => {}
        }
        !seen.unread
    });
    if let Some((code, why)) = seen.refused {
        return Err(Fail::refused(code, why));
    }
    match (seen.started, seen.ended) {
        (Some((number, pid)), _) if detach => {
            let program = format!("n{}.{number}", target.id);
            if context.output == Format::Json {
                output::json(&Started { program, node: target.name.clone(), pid })?;
            } else {
                say(&format!("program {program} runs on node {}, pid {pid}", target.name));
            }
            Ok(ExitCode::SUCCESS)
        }
        (_, Some(code)) => Ok(ExitCode::from(code as u8)),
        _ if seen.unread => Ok(ExitCode::from(128 + SIGPIPE)),
        (started, None) => {
            let what = match (asked, started) {
                (Err(_), _) => format!("the daemon of node {} went away", target.door.name()),
                (Ok(()), Some(_)) => format!("node {} went away", target.name),
                (Ok(()), None) => format!("node {} does not answer", target.name),
            };
            let after = match started {
                Some(_) => "how it ends is unknown: its node ends it when it notices",
                None => "it was not started, or its node ends it",
            };
            Err(Fail::gone(what).of(program).next(after))
        }
    }
}

/// Writes what the program wrote; false when nobody reads it any more.
fn write(error: bool, bytes: &[u8]) -> bool {
    let written = match error {
        true => std::io::stderr().write_all(bytes),
        false => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
    };
    written.is_ok()
}

/// Passes the first signal on to the program, and leaves at the second, or when the terminal is gone.
fn pass_on(signals: &OwnedFd, door: &Node, node: u16, number: &OnceLock<u32>) {
    let mut asked = false;
    loop {
        let Ok(caught) = signal::next(signals) else { return };
        let signal = if caught == SIGINT { ProgramSignal::Interrupt } else { ProgramSignal::Terminate };
        match number.get() {
            Some(&program) if !asked && caught != SIGHUP => {
                asked = true;
                let passed = door.ask(&AdminRequest::Signal { node, program, signal });
                if passed.is_ok() {
                    continue;
                }
            }
            _ => {}
        }
        std::process::exit(128 + caught);
    }
}
