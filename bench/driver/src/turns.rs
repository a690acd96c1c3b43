//! Ours, the peer, ours, the peer … until enough quiet rounds were seen.

use std::time::Duration;

use anyhow::Result;

use crate::machine::{Account, wait_for_quiet};
use crate::program::{OURS, Programs};
use crate::row::{Against, Row};
use crate::stat::Summary;

/// Cores' worth of others' work in a round that is still taken as it is.
const NOISE_CORES: f64 = 0.20;
/// Rounds at the most, in multiples of those asked for; of noisy ones the quietest are kept.
const PATIENCE: usize = 2;

/// How a bench is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count.
    pub runs: usize,
    /// One timed batch.
    pub window: Duration,
    /// Wait for quiet, and repeat noisy rounds.
    pub quiet: bool,
}

/// One side of a row: its figure, or why there is none.
pub type Side = Result<Summary, String>;

/// A measured row.
pub struct Outcome {
    /// What was asked.
    pub row: Row,
    /// Ours.
    pub ours: Side,
    /// The peer.
    pub peer: Side,
    /// Larger is better; none unless both sides ran.
    pub ratio: Option<f64>,
    /// The most cores' worth of foreign work in a round that was kept.
    pub noise: f64,
}

impl Outcome {
    /// Whether the bar is held. None where there is no bar. A row with a side that could not run is not held.
    pub fn held(&self) -> Option<bool> {
        self.row.bar.map(|bar| self.ratio.is_some_and(|ratio| ratio >= bar))
    }
}

struct Round {
    noise: f64,
    ours: Option<f64>,
    peer: Option<f64>,
}

/// Measures one row.
///
/// # Errors
/// The machine does not let us run programs at all. A side that cannot run is no error but part of the
/// outcome.
pub fn measure(row: &Row, programs: &Programs, plan: &Plan) -> Result<Outcome> {
    let (mut no_ours, mut no_peer) = (None, None);
    let mut rounds: Vec<Round> = Vec::new();
    let runs = plan.runs * row.rounds;
    let most = if plan.quiet { runs * PATIENCE } else { runs };
    while rounds.len() < most && !(no_ours.is_some() && no_peer.is_some()) {
        if plan.quiet {
            wait_for_quiet();
        }
        let account = Account::open();
        let ours = attempt(&mut no_ours, || programs.run(OURS, row.ours, plan.window))?;
        let peer = attempt(&mut no_peer, || match row.against {
            Against::Peer(program, words) => programs.run(program, words, plan.window),
            Against::Ours(words) => programs.run(OURS, words, plan.window),
            Against::Limit(number) => Ok(Ok(number)),
        })?;
        rounds.push(Round { noise: account.foreign_cores(), ours, peer });
        if rounds.iter().filter(|r| r.noise < NOISE_CORES).count() >= runs {
            break;
        }
    }
    rounds.sort_by(|a, b| a.noise.total_cmp(&b.noise));
    rounds.truncate(runs);
    let ours = side(no_ours, rounds.iter().filter_map(|r| r.ours).collect());
    let peer = side(no_peer, rounds.iter().filter_map(|r| r.peer).collect());
    let ratio = match (&ours, &peer) {
        (Ok(ours), Ok(peer)) => Some(row.ratio(ours.median, peer.median)),
        _ => None,
    };
    let noise = rounds.last().map_or(0.0, |r| r.noise);
    Ok(Outcome { row: *row, ours, peer, ratio, noise })
}

/// Runs a side unless it has failed before: what cannot run once is not asked again.
fn attempt(
    failed: &mut Option<String>,
    run: impl FnOnce() -> Result<Result<f64, String>>,
) -> Result<Option<f64>> {
    if failed.is_some() {
        return Ok(None);
    }
    match run()? {
        Ok(number) => Ok(Some(number)),
        Err(why) => {
            *failed = Some(why);
            Ok(None)
        }
    }
}

fn side(failed: Option<String>, runs: Vec<f64>) -> Side {
    match failed {
        Some(why) => Err(why),
        None => Summary::of(&runs).ok_or_else(|| "no run was kept".into()),
    }
}
