//! `kv-server --dc 0 --endpoint 20`: serves until it is killed or unbound.
#![forbid(unsafe_code)]

use clap::Parser;
use dvs::{Code, DcId, Endpoint, ThreadWait, Timeout};
use dvs_kv::{Store, serve};
use std::process::ExitCode;
use std::time::Duration;

/// A key/value server.
#[derive(Parser)]
struct Arguments {
    /// Number of the container.
    #[arg(long, default_value_t = 0)]
    dc: u16,
    /// Endpoint to serve at: a system slot.
    #[arg(long, default_value_t = 20, allow_negative_numbers = true)]
    endpoint: i32,
    /// Wait to be bound (by `dvs run --endpoint`) instead of binding.
    #[arg(long)]
    wait_bound: bool,
}

fn main() -> ExitCode {
    let a = Arguments::parse();
    match run(&a) {
        Ok(e) if e.code == Code::SHUTDOWN => ExitCode::SUCCESS,
        Ok(e) | Err(e) => {
            eprintln!("kv-server: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(a: &Arguments) -> dvs::Result<dvs::Error> {
    let process = dvs::attach("kv-server")?;
    let port = if a.wait_bound {
        let home = ThreadWait::new(process.shared().host());
        process.wait_bound(home, Timeout::After(Duration::from_secs(10)))?
    } else {
        process.bind(DcId(a.dc), Endpoint::from_raw(a.endpoint))?
    };
    println!("serving at {} of {}", port.endpoint(), port.dc());
    Ok(serve(&port, &mut Store::default()))
}
