//! A helper process: `cluster-actor ROLE SOCKET ARGUMENTS`; the roles are those of `dvs_cluster::roles` and
//! `dvs_cluster::hostile`.
#![forbid(unsafe_code)]

use dvs_cluster::hostile::{self, Harm};
use dvs_cluster::lease;
use dvs_cluster::roles::{self, ClientPlan};
use dvs_cluster::{kv, moves, passive};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Some(()) => ExitCode::SUCCESS,
        None => {
            eprintln!("usage: cluster-actor ROLE SOCKET ARGUMENTS");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Option<()> {
    let (role, socket) = (*words.first()?, Path::new(*words.get(1)?));
    let word = |n: usize| words.get(n + 2).copied();
    let number = |n: usize| word(n)?.parse::<usize>().ok();
    match role {
        "server" => roles::serve(socket, number(0)?, number(1)?, &PathBuf::from(word(2)?)),
        "client" => {
            let plan = ClientPlan {
                incarnation: number(0)? as u32,
                slot: word(1)?.parse().ok(),
                servers: number(2)?,
                burst: 64,
                pause: Duration::from_millis(8),
            };
            roles::call(socket, &plan, &PathBuf::from(word(3)?));
        }
        "kv" => kv::serve(socket, number(0)?, &PathBuf::from(word(1)?), word(2) == Some("reads")),
        "instance" => lease::serve(socket, word(0)?),
        "asker" => lease::ask(socket, word(0) == Some("changes")),
        "ledger" => passive::serve(socket, number(0)? as u16),
        "mover" => moves::serve(socket, word(0)?.parse().ok()?, number(1)?, word(2)?),
        "alone" => moves::serve_kv(socket),
        "idle" => roles::idle(socket, number(0)?),
        "hostile" => {
            let harm = Harm::ALL.into_iter().find(|h| Some(h.name().as_str()) == word(0))?;
            hostile::run(socket, harm, number(1)?);
        }
        _ => return None,
    }
    Some(())
}
