//! One move, from the order to the truth about how it ended.

use crate::cmd::Context;
use crate::cmd::service::services;
use crate::fail::{Done, Fail};
use crate::node::Node;
use dvs::Code;
use dvs_linux::signal;
use dvsd::admin::{AdminAnswer, AdminRequest, MoveOrder};
use serde::Serialize;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the log may take to say where a service is whose program, or daemon, was lost on the way.
const TRUTH: Duration = Duration::from_secs(90);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(50);

/// How a move ended.
#[derive(Serialize, Debug)]
pub struct Outcome {
    /// The service is on its new node.
    pub moved: bool,
    /// Why not.
    pub why: String,
    /// Rounds in which its state was sent.
    pub rounds: Option<u32>,
    /// Bytes that were.
    pub bytes: Option<u64>,
    /// How long callers were held.
    pub held_ms: Option<f64>,
    /// How long it took in all.
    pub took_ms: f64,
}

/// Moves a service; `say` is told how far it is. `signals`: Ctrl-C gives it up.
///
/// # Errors
/// It was refused before it began.
pub fn carry(context: &Context, order: MoveOrder, signals: bool, say: &dyn Fn(&str)) -> Done<Outcome> {
    if signals {
        let (fd, door) = (signal::termination().map_err(Fail::new)?, context.node.clone());
        let (dc, slot) = (order.dc, order.slot);
        std::thread::spawn(move || give_up(&fd, &door, dc, slot));
    }
    let began = Instant::now();
    loop {
        if let Some(outcome) = attempt(context, order.clone(), began, say)? {
            return Ok(outcome);
        }
        // tidy: the node that was asked learns in a moment where the service is
        std::thread::sleep(LOOK);
    }
}

/// One attempt; nothing if the service was elsewhere by then.
fn attempt(context: &Context, order: MoveOrder, began: Instant, say: &dyn Fn(&str)) -> Done<Option<Outcome>> {
    let (dc, slot, to) = (order.dc, order.slot, order.to);
    let mut client = context.node.connect()?;
    // As long as a move may take, and what a program needs to start.
    client.set_deadline(Duration::from_millis(order.prepare_ms + order.hold_ms) + Duration::from_secs(40));
    let (mut ended, mut refused, mut under, mut shown) = (None, None, false, String::new());
    let asked = client.ask(&AdminRequest::Migrate(order), |part| {
        match part {
            AdminAnswer::Moving { phase, round, bytes } => {
                under = true;
                let line = match (round, bytes) {
                    (0, _) | (_, 0) => phase.text().to_owned(),
                    _ => format!("{}, round {round}", phase.text()),
                };
                if line != shown {
                    say(&line);
                    shown = line;
                }
            }
            AdminAnswer::Moved { moved, why, rounds, bytes, held_ns } => {
                ended = Some(Outcome {
                    moved,
                    why,
                    rounds: Some(rounds),
                    bytes: Some(bytes),
                    held_ms: Some(held_ns as f64 / 1e6),
                    took_ms: 0.0,
                });
            }
            AdminAnswer::Refused { code, why } => refused = Some((code, why)),
            _ => {}
        }
        true
    });
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    match (ended, refused) {
        (Some(outcome), _) => return Ok(Some(Outcome { took_ms, ..outcome })),
        (None, Some((code, _))) if code == Code::STALE as i32 && began.elapsed() < TRUTH => return Ok(None),
        (None, Some((code, why))) if !under => return Err(Fail::refused(refusal(code), why)),
        (None, None) if !under && asked.is_ok() => {
            return Err(Fail::gone("the node that serves it does not answer"));
        }
        _ => {}
    }
    // Somebody was lost on the way: what the log says is the truth.
    say("a part of it was lost on the way; waiting for the system to decide");
    truth(context, (dc, slot), to, began).map(Some)
}

/// What is in the way is a refusal.
fn refusal(code: i32) -> i32 {
    if code == Code::PROCSTS as i32 || code == Code::NOSYS as i32 { Code::BUSY as i32 } else { code }
}

fn truth(context: &Context, (dc, slot): (u16, i32), to: u16, began: Instant) -> Done<Outcome> {
    let end = Instant::now() + TRUTH;
    let mut why = "it is not known where the service is; see dvs service ls".to_owned();
    while Instant::now() < end {
        let row = services(context)?.into_iter().find(|s| (s.dc, s.slot) == (dc, slot));
        let Some(row) = row else {
            why = "it is no service any more".into();
            break;
        };
        match (row.at, row.to) {
            (Some(node), _) if node == to => {
                let took_ms = began.elapsed().as_secs_f64() * 1e3;
                let why = String::new();
                let (rounds, bytes, held_ms) = (None, None, None);
                return Ok(Outcome { moved: true, why, rounds, bytes, held_ms, took_ms });
            }
            (Some(node), None) => {
                why = format!("it was not moved, it is on n{node}");
                break;
            }
            (None, None) => why = "its program was lost, and what it had with it: start it anew".into(),
            (_, Some(_)) => {}
        }
        // tidy: what the log says is asked for now and then
        std::thread::sleep(LOOK);
    }
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    Ok(Outcome { moved: false, why, rounds: None, bytes: None, held_ms: None, took_ms })
}

/// The first signal gives the move up, the second leaves it as it is.
fn give_up(signals: &OwnedFd, door: &Node, dc: u16, slot: i32) {
    let mut asked = false;
    loop {
        let Ok(caught) = signal::next(signals) else { return };
        if asked || door.ask(&AdminRequest::CancelMove { dc, slot }).is_err() {
            std::process::exit(128 + caught);
        }
        asked = true;
    }
}
