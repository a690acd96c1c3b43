//! Erlang's distribution: a message between processes of two nodes, with the system's own `erl`.
//!
//! One scheduler thread a node, which is its fastest setting for a ping-pong on few cores.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use dvs_bench_common::{Ask, Child, Side, net_address};

const SOURCE: &str = include_str!("pingpong.erl");

/// Microseconds of a round trip between two processes on two nodes.
pub fn pingpong(ask: &Ask) -> Result<f64> {
    let folder = std::env::var("DVS_BENCH_DIR").unwrap_or_else(|_| "/tmp".into());
    compile(&folder)?;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port().to_string();
    let server_node = format!("server@{}", net_address());
    let client_address = std::env::var("DVS_BENCH_ADDR_A").unwrap_or_else(|_| "127.0.0.1".into());
    let common = |node: &str, listen: &str| -> Vec<String> {
        let flags = format!(
            "-noinput -pa {folder} -name {node} -setcookie dvs-bench +S 1:1 -start_epmd false \
             -erl_epmd_port {port} -dist_listen {listen} -kernel net_ticktime 60"
        );
        flags.split_whitespace().map(String::from).collect()
    };
    let mut words = common(&server_node, "true");
    words.extend(["-s", "pingpong", "serve"].map(String::from));
    let mut server = Child::foreign(Side::B, "erl", &words).context("erl")?;
    if server.line()? != "READY" {
        bail!("the Erlang server did not start");
    }
    let mut words = common(&format!("client@{client_address}"), "false");
    let ms = ask.window.as_millis().to_string();
    words.extend(["-s", "pingpong", "measure", "-extra", &server_node, &ms].map(String::from));
    let number = Child::foreign(Side::A, "erl", &words)?.line()?;
    number.parse().with_context(|| format!("{number:?} is not a number"))
}

fn compile(folder: &str) -> Result<()> {
    let source = format!("{folder}/pingpong.erl");
    std::fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("erlc");
    let end = compiler.args(["-o", folder, &source]).env("HOME", folder).stdout(Stdio::null()).status();
    if !end.context("erlc (Debian package erlang-base)")?.success() {
        bail!("erlc failed");
    }
    Ok(())
}
