//! `dvs top`

use super::{Context, ps};
use crate::fail::Done;
use crate::output::{self, Format, say, span};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  dvs top shop\n  dvs top --count 1 --output json\n\nCtrl-C ends it.")]
pub struct Top {
    /// Only this container
    dc: Option<String>,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    every: f64,
    /// How many looks (default: until Ctrl-C)
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Top {
    /// Shows the busiest endpoints first, again and again.
    pub fn run(&self, context: &Context) -> Done {
        let mut before: HashMap<(u16, i32), u64> = HashMap::new();
        let mut at = Instant::now();
        let mut looks = 0;
        loop {
            let mut rows = ps::rows(context, self.dc.as_deref(), false)?;
            let seconds = at.elapsed().as_secs_f64().max(1e-3);
            at = Instant::now();
            let sent = |r: &ps::Row| r.sent_local + r.sent_remote;
            let rate = |r: &ps::Row| {
                let old = before.get(&(r.dc, r.raw)).copied().unwrap_or(sent(r));
                (sent(r).saturating_sub(old)) as f64 / seconds
            };
            rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
            if context.output == Format::Json {
                output::json(&rows)?;
            } else {
                // What fits the screen; all of it where there is none.
                let (width, height) = screen();
                let lines = rows.iter().take(height).map(|r| {
                    vec![
                        format!("dc{}", r.dc),
                        r.endpoint.clone(),
                        r.name.clone(),
                        format!("n{}", r.node),
                        r.state.to_string(),
                        r.peer.clone(),
                        span(r.waiting_ns),
                        format!("{:.0}", rate(r)),
                        sent(r).to_string(),
                    ]
                });
                let headings = ["dc", "endpoint", "name", "node", "state", "peer", "for", "msg/s", "sent"];
                let lines = output::lines(&headings, lines.collect());
                if std::io::stdout().is_terminal() {
                    say("\x1b[H\x1b[2J");
                }
                lines.iter().for_each(|l| say(&l.chars().take(width).collect::<String>()));
            }
            before = rows.iter().map(|r| ((r.dc, r.raw), sent(r))).collect();
            looks += 1;
            if self.count.is_some_and(|n| looks >= n) {
                return Ok(ExitCode::SUCCESS);
            }
            // tidy: the interval between two looks is what was asked for
            std::thread::sleep(Duration::from_secs_f64(self.every.clamp(0.1, 3600.0)));
        }
    }
}

/// Columns of the terminal, and rows that are left beside headings and prompt; no bound without a terminal.
fn screen() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let size = size.ok().filter(|s| s.ws_col > 0 && std::io::stdout().is_terminal());
    size.map_or((usize::MAX, usize::MAX), |s| {
        (s.ws_col.into(), usize::from(s.ws_row).saturating_sub(3).max(1))
    })
}
