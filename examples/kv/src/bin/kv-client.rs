//! `dvs run shop -- kv-client --server 20 --seconds 5 --json`: one request after another, and what they took.
//!
//! When the server ends, the error is counted, the client waits until the endpoint is bound again, and goes
//! on.
#![forbid(unsafe_code)]

use clap::Parser;
use dvs::{DcId, Endpoint, Timeout};
use dvs_kv_example::client::{Client, KvError};
use dvs_kv_example::load::{Load, Summary};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// A load generator for the key/value server.
#[derive(Parser)]
struct Arguments {
    /// Number of the container.
    #[arg(long, env = "DVS_DC", default_value_t = 0)]
    dc: u16,
    /// Endpoint of the server.
    #[arg(long, default_value_t = 20, allow_negative_numbers = true)]
    server: i32,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Print one JSON object, and each error as one at once.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let a = Arguments::parse();
    match run(&a) {
        Ok(summary) => {
            print(&a, &summary);
            if summary.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("kv-client: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(a: &Arguments) -> dvs::Result<Summary> {
    let Ok(length) = Duration::try_from_secs_f64(a.seconds) else {
        return Err(dvs::Error::early(dvs::Code::BADVALUE));
    };
    let (dc, server) = (DcId(a.dc), Endpoint::from_raw(a.server));
    let process = dvs::attach("kv-client")?;
    let port = process.bind(dc, Endpoint::NONE)?;
    port.system().wait_bind(dc, server, Timeout::After(length))?;
    let client = Client::new(port, server);
    let (mut load, start) = (Load::default(), Instant::now());
    while start.elapsed() < length {
        let Err(e) = load.step(&client, unix_ms) else { continue };
        if a.json {
            let now = unix_ms();
            println!("{}", serde_json::json!({ "error": e.to_string(), "unix_ms": now }));
        } else {
            println!("{e}");
        }
        if matches!(e, KvError::Call(_)) {
            let left = length.saturating_sub(start.elapsed());
            // Nobody there until the end: the loop ends, and the errors say why.
            let _ = client.port().system().wait_bind(dc, server, Timeout::After(left));
        }
    }
    Ok(load.summary(start.elapsed().as_secs_f64()))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

fn print(a: &Arguments, s: &Summary) {
    if a.json {
        // Numbers and strings only, so there is nothing that could fail.
        println!("{}", serde_json::to_string(s).unwrap_or_default());
        return;
    }
    let us = |ns: u64| ns as f64 / 1000.0;
    println!(
        "{} requests, {:.0}/s; round trip p50 {:.1} us, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, longest {:.1}",
        s.count,
        s.per_second,
        us(s.p50_ns),
        us(s.p90_ns),
        us(s.p99_ns),
        us(s.p999_ns),
        us(s.max_ns)
    );
    for e in &s.errors {
        println!("{} times: {}", e.count, e.text);
    }
}
