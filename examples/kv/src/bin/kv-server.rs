//! `dvs run shop --endpoint 20 -- kv-server`, or `kv-server --dc 0 --endpoint 20`: serves until it is killed
//! or unbound.
#![forbid(unsafe_code)]

use clap::Parser;
use dvs::{Code, DcId, Endpoint};
use dvs_kv_example::{Store, serve};
use std::process::ExitCode;

/// A key/value server.
#[derive(Parser)]
struct Arguments {
    /// Number of the container.
    #[arg(long, env = "DVS_DC", default_value_t = 0)]
    dc: u16,
    /// Endpoint to serve at: a system slot.
    #[arg(long, env = "DVS_ENDPOINT", default_value_t = 20, allow_negative_numbers = true)]
    endpoint: i32,
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
    let port = process.bind(DcId(a.dc), Endpoint::from_raw(a.endpoint))?;
    println!("serving at {} of {}", port.endpoint(), port.dc());
    Ok(serve(&port, &mut Store::default()))
}
