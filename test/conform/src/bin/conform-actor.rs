//! An actor as a process: `conform-actor SOCKET NAME`. Acts come on standard input, one a line; each is
//! answered by a line on standard output. The line `!cancel` ends the pending call. The end of the input ends
//! the actor.
#![forbid(unsafe_code)]

use dvs_conform::actor::{Actor, perform_line};
use dvs_conform::ported::{Held, Ported};
use dvs_ipc::wait::ThreadWait;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::mpsc::channel;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(name)) = (args.next(), args.next()) else {
        eprintln!("usage: conform-actor SOCKET NAME");
        std::process::exit(2);
    };
    let process = match dvs::attach_to(Path::new(&socket), &name) {
        Ok(process) => process,
        Err(e) => {
            eprintln!("conform-actor: {e}");
            std::process::exit(1);
        }
    };
    let held = Held::default();
    let (lines, work) = channel::<String>();
    let worker = {
        let (process, held) = (process.clone(), held.clone());
        move || {
            let home = || ThreadWait::new(process.shared().host());
            let mut actor = Actor::new(Box::new(Ported::new(process.clone(), home, held)));
            while let Ok(line) = work.recv() {
                let Some(answer) = perform_line(&mut actor, &line) else { std::process::exit(0) };
                let mut out = std::io::stdout().lock();
                if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
                    std::process::exit(0);
                }
            }
        }
    };
    std::thread::spawn(worker);
    for line in std::io::stdin().lock().lines() {
        match line {
            Ok(line) if line == "!cancel" => {
                let now = *held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if let Some((dc, endpoint)) = now {
                    process.interrupt(dc, endpoint, dvs_abi::Code::INTR);
                }
            }
            Ok(line) => {
                if lines.send(line).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
