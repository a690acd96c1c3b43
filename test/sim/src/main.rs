//! Runs the control plane of the system in seeded worlds: `./x sim`.

use dvs_sim::control::scenario;
use dvs_sim::{Faults, Violation};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: ./x sim [--seeds N] [--from S] [--seed S [--trace]]

  --seeds N   run N seeds (200 if nothing is said), one world each
  --from S    the first of them (0)
  --seed S    run this one only, and say what went wrong in it
  --trace     print all that happens in it
";

struct Wanted {
    from: u64,
    seeds: u64,
    one: bool,
    trace: bool,
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut w = Wanted { from: 0, seeds: 200, one: false, trace: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("'{text}' after {arg} is not a number"))
        };
        match arg.as_str() {
            "--seeds" => w.seeds = number()?,
            "--from" => w.from = number()?,
            "--seed" => (w.from, w.seeds, w.one) = (number()?, 1, true),
            "--trace" => w.trace = true,
            other => return Err(format!("there is no option '{other}'")),
        }
    }
    if w.trace && !w.one { Err("--trace is for one --seed".into()) } else { Ok(w) }
}

fn run_one(seed: u64, w: &Wanted) -> Result<(u64, u64), Violation> {
    let mut world = scenario::world(seed);
    if w.trace {
        world.trace().tell(Box::new(|line| {
            // Whoever reads has had enough: so have we.
            if writeln!(std::io::stdout(), "{line}").is_err() {
                std::process::exit(0);
            }
        }));
    }
    let done = scenario::run(&mut world);
    if done.is_err() && w.one && !w.trace {
        world.trace().lines().for_each(|line| println!("{line}"));
    }
    let trace = world.trace();
    done.map(|()| (trace.count(), trace.hash()))
}

fn main() -> ExitCode {
    let w = match wanted(std::env::args().skip(1)) {
        Ok(w) => w,
        Err(text) => {
            eprint!("sim: {text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (mut failed, mut lines) = (0, 0);
    for seed in w.from..w.from.saturating_add(w.seeds) {
        match run_one(seed, &w) {
            Ok((count, hash)) if w.one => {
                println!("seed {seed}: all was so; {count} lines, trace {hash:016x}")
            }
            Ok((count, _)) => lines += count,
            Err(violation) => {
                failed += 1;
                println!("{violation}\n    faults: {:?}", faults(seed));
                println!("    again: ./x sim --seed {seed} --trace");
            }
        }
    }
    if !w.one {
        println!("{} seeds, {failed} failed, {lines} lines of trace", w.seeds);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn faults(seed: u64) -> Faults {
    Faults::drawn(&mut dvs_sim::Random::new(!seed))
}
