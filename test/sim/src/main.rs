//! Runs the control plane of the system, and the whole cluster, in seeded worlds: `./x sim`.

use dvs_sim::cluster::scenario as cluster;
use dvs_sim::control::scenario as control;
use dvs_sim::replica::scenario as replica;
use dvs_sim::{Actor, Violation, World};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: ./x sim [--world WORLD]... [--seeds N] [--from S] [--seed S [--trace]]

  --world WORLD  control: the control plane alone; cluster: with the rules of each node, RADAR, clients and
              servers; control-log, cluster-log: the same over real consensus instead of a stand-in;
              replica: replicated services and their clients;
              all, if nothing is said (a --trace is of the cluster then)
  --seeds N   run N seeds (200 if nothing is said), one world each
  --from S    the first of them (0)
  --seed S    run this one only, and say what went wrong in it
  --trace     print all that happens in it
  --help      print this
";

/// Runs a world of this seed.
type Run = fn(u64, &Wanted) -> Outcome;

/// The worlds there are.
const WORLDS: [(&str, Run); 5] = [
    ("control", |seed, w| run_one(control::world(seed), control::run, w)),
    ("cluster", |seed, w| run_one(cluster::world(seed), cluster::run, w)),
    ("control-log", |seed, w| run_one(control::council(seed), control::run, w)),
    ("cluster-log", |seed, w| run_one(cluster::council(seed), cluster::run, w)),
    ("replica", |seed, w| run_one(replica::world(seed), replica::run, w)),
];

struct Wanted {
    from: u64,
    seeds: u64,
    one: bool,
    trace: bool,
    help: bool,
    worlds: Vec<(&'static str, Run)>,
}

fn wanted(mut args: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut w = Wanted { from: 0, seeds: 200, one: false, trace: false, help: false, worlds: Vec::new() };
    while let Some(arg) = args.next() {
        if arg == "--world" {
            let which = args.next().unwrap_or_default();
            let found = WORLDS.into_iter().find(|(name, _)| *name == which);
            w.worlds.push(found.ok_or_else(|| format!("there is no world '{which}'"))?);
            continue;
        }
        if arg == "--help" || arg == "-h" {
            w.help = true;
            return Ok(w);
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
    if w.worlds.is_empty() {
        w.worlds = WORLDS.into_iter().filter(|(name, _)| !w.trace || *name == "cluster").collect();
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
    if !w.one {
        world.trace().silence();
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

fn main() -> ExitCode {
    let w = match wanted(std::env::args().skip(1)) {
        Ok(w) => w,
        Err(text) => {
            eprint!("sim: {text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if w.help {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let (mut failed, mut lines) = (0, 0);
    let began = Instant::now();
    for seed in w.from..w.from.saturating_add(w.seeds) {
        for (name, run) in &w.worlds {
            match run(seed, &w) {
                Ok((count, hash)) if w.one => {
                    println!("seed {seed}, {name}: all was so; {count} lines, trace {hash:016x}")
                }
                Ok((count, _)) => lines += count,
                Err(violation) => {
                    failed += 1;
                    println!("{violation}\n    faults: {:?}", cluster::faults(seed));
                    println!("    again: ./x sim --world {name} --seed {seed} --trace");
                }
            }
        }
    }
    if !w.one {
        let runs = w.seeds.saturating_mul(w.worlds.len() as u64);
        let minute = runs as f64 * 60.0 / began.elapsed().as_secs_f64().max(1e-3);
        println!("{} seeds, {failed} failed, {lines} lines of trace; {minute:.0} worlds a minute", w.seeds);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
