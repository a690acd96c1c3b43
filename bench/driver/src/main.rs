//! Runs ours and each peer in turn, and prints how they compare.
//!
//! ```text
//!   row 1:  quiet? ours peer | quiet? ours peer | … five quiet rounds ─> medians ─> ratio against the bar
//!   row 2:  …
//! ```
//!
//! `dvs-bench ipc|net [--json] [--quick] [--only WORD] [--runs N] [--no-quiet]`. The programs it runs stand
//! beside it and print one number a run; what could not be built has left its reason in `why/PROGRAM`. The
//! exit code is 0 also when a bar is missed: the table says so.
#![forbid(unsafe_code)]

mod ipc;
mod machine;
mod net;
mod output;
mod program;
mod row;
mod stat;
mod turns;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::program::Programs;
use crate::row::Row;
use crate::turns::Plan;

/// Runs of each side of a row, unless asked otherwise.
const RUNS: usize = 5;
/// One timed batch.
const WINDOW: Duration = Duration::from_millis(300);
/// One timed batch with `--quick`: for trying the bench, not for figures.
const QUICK_WINDOW: Duration = Duration::from_millis(60);

struct Options {
    rows: &'static [Row],
    json: bool,
    only: String,
    plan: Plan,
}

fn options() -> Result<Options> {
    let mut words = std::env::args().skip(1);
    let name = words.next().context("which bench? ipc or net")?;
    let rows = match name.as_str() {
        "ipc" => ipc::ROWS,
        "net" => net::ROWS,
        _ => bail!("unknown bench {name:?}: ipc or net"),
    };
    let plan = Plan { runs: RUNS, window: WINDOW, quiet: true };
    let mut options = Options { rows, json: false, only: String::new(), plan };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => options.json = true,
            "--quick" => options.plan = Plan { window: QUICK_WINDOW, quiet: false, ..options.plan },
            "--no-quiet" => options.plan.quiet = false,
            "--only" => options.only = words.next().context("--only needs a word")?,
            "--runs" => {
                let runs = words.next().context("--runs needs a number")?;
                options.plan.runs = runs.parse::<usize>().with_context(|| format!("--runs {runs}"))?.max(1);
            }
            _ => bail!("unknown option {word:?}: --json, --quick, --only WORD, --runs N or --no-quiet"),
        }
    }
    Ok(options)
}

fn run() -> Result<()> {
    let options = options()?;
    let programs = Programs::beside_this_one()?;
    let rows: Vec<&Row> = options.rows.iter().filter(|r| r.name().contains(&options.only)).collect();
    if rows.is_empty() {
        bail!("no row's name contains {:?}", options.only);
    }
    let mut results = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        eprintln!("{}/{}: {}", number + 1, rows.len(), row.name());
        let result = turns::measure(row, &programs, &options.plan)?;
        if options.json {
            println!("{}", output::json(&result));
        }
        results.push(result);
    }
    if options.json {
        eprint!("{}", output::summary(&results));
    } else {
        print!("{}{}", output::table(&results), output::summary(&results));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
