//! NATS request and reply: the system's `nats-server` and the responder on side B, the clients on side A.
//!
//! ```text
//!   client (A) ── request ──> nats-server (B) ──> responder (B)
//!              <── reply ────                <──
//! ```
#![forbid(unsafe_code)]

mod broker;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dvs_bench_common::{Op, PAYLOAD_BYTES, Peer, Reach, ready};
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};

const PEERS: &[Peer] = &[Peer { name: "nats", reach: Reach::Net, serve, connect }];
const SUBJECT: &str = "bench";

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Starts the broker and answers through it.
fn serve(ip: &str) -> Result<()> {
    let broker = broker::start(ip)?;
    runtime()?.block_on(async {
        let client = async_nats::connect(&broker.address).await?;
        let mut requests = client.subscribe(SUBJECT).await?;
        client.flush().await?;
        ready(&broker.address)?;
        while let Some(request) = requests.next().await {
            let reply = request.reply.context("a message that wants no reply")?;
            client.publish(reply, request.payload).await?;
        }
        Ok(())
    })
}

fn connect(address: &str) -> Result<Op> {
    let runtime = runtime()?;
    let client = runtime.block_on(async_nats::connect(address))?;
    Ok(Box::new(move || {
        let answer = runtime.block_on(client.request(SUBJECT, vec![1_u8; PAYLOAD_BYTES].into()))?;
        ensure!(answer.payload.len() == PAYLOAD_BYTES, "the server answered another size");
        Ok(())
    }))
}

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, &[])
}
