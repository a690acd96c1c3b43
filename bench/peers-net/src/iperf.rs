//! iperf3's single stream: what the kernel's TCP carries between two processes.

use anyhow::{Context, Result};
use dvs_bench_common::{Ask, Child, Side, net_address};
use serde_json::Value;

/// iperf3 counts in whole seconds.
const SECONDS: &str = "1";
/// Its time to open the window does not count, as with the other streams.
const WARM_SECONDS: &str = "1";

/// GB/s (10^9 bytes) received.
pub fn one_stream(_: &Ask) -> Result<f64> {
    let ip = net_address();
    let port = free_port()?.to_string();
    let words = ["-s", "-1", "-p", &port, "--forceflush"].map(String::from);
    let mut server = Child::foreign(Side::B, "iperf3", &words).context("iperf3")?;
    // It says nothing more useful than this line when it listens.
    while !server.line()?.contains("listening") {}
    let words = ["-c", &ip, "-p", &port, "-t", SECONDS, "-O", WARM_SECONDS, "-J"].map(String::from);
    let report: Value = serde_json::from_str(&Child::foreign(Side::A, "iperf3", &words)?.rest()?)?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("iperf3 reported no rate")? / 8e9)
}

/// A port that nobody uses on this machine now; a namespace made for the bench uses none.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
