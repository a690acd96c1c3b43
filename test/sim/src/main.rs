//! Runs the control plane of the system, and the whole cluster, in seeded worlds: `./x sim`.

use dvs_sim::cluster::scenario as cluster;
use dvs_sim::control::scenario as control;
use dvs_sim::{Actor, Faults, Violation, World};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: ./x sim [--world WORLD] [--seeds N] [--from S] [--seed S [--trace]]

  --world WORLD  control: the control plane alone; cluster: with the rules of each node, RADAR, clients and
              servers; both, if nothing is said (a --trace is of the cluster then)
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
    control: bool,
    cluster: bool,
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut w = Wanted { from: 0, seeds: 200, one: false, trace: false, control: true, cluster: true };
    while let Some(arg) = args.next() {
        if arg == "--world" {
            let which = args.next().unwrap_or_default();
            (w.control, w.cluster) = (which != "cluster", which != "control");
            if !["control", "cluster", "both"].contains(&which.as_str()) {
                return Err(format!("there is no world '{which}'"));
            }
            continue;
        }
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

/// Runs one world: lines of its trace, and the number over it.
fn run_one<A: Actor>(
    mut world: World<A>,
    run: fn(&mut World<A>) -> Result<(), Violation>,
    w: &Wanted,
) -> Result<(u64, u64), Violation> {
    if w.trace {
        world.trace().tell(Box::new(|line| {
            // Whoever reads has had enough: so have we.
            if writeln!(std::io::stdout(), "{line}").is_err() {
                std::process::exit(0);
            }
        }));
    }
    let done = run(&mut world);
    if done.is_err() && w.one && !w.trace {
        world.trace().lines().for_each(|line| println!("{line}"));
    }
    let trace = world.trace();
    done.map(|()| (trace.count(), trace.hash()))
}

/// Of a world: how many events it had, and their hash; or what was broken.
type Outcome = Result<(u64, u64), Violation>;

/// The worlds of a seed that are wanted, by name.
fn worlds(seed: u64, w: &Wanted) -> Vec<(&'static str, Outcome)> {
    let mut done = Vec::new();
    if w.control && !(w.cluster && w.trace) {
        done.push(("control", run_one(control::world(seed), control::run, w)));
    }
    if w.cluster {
        done.push(("cluster", run_one(cluster::world(seed), cluster::run, w)));
    }
    done
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
        for (name, done) in worlds(seed, &w) {
            match done {
                Ok((count, hash)) if w.one => {
                    println!("seed {seed}, {name}: all was so; {count} lines, trace {hash:016x}")
                }
                Ok((count, _)) => lines += count,
                Err(violation) => {
                    failed += 1;
                    println!("{violation}\n    faults: {:?}", faults(seed));
                    println!("    again: ./x sim --world {name} --seed {seed} --trace");
                }
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
