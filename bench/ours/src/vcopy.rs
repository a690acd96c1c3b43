//! Copies out of the memory a client of another process lends for its call.

use anyhow::{Context, Result, bail, ensure};
use dvs::{Endpoint, Lend, Message, Timeout};
use dvs_bench_common::{Ask, Child, Side, time_batch};

use crate::node::{DC, SERVER, attach, folder, start};

/// What the lender's memory is filled with.
const FILL: u8 = 2;

/// GB/s (10^9 bytes) of copies of `--bytes`, as the server makes them while one call lasts.
pub fn copy(ask: &Ask) -> Result<f64> {
    if ask.of == "shared" {
        bail!("not available: the facade does not lend link memory, so a copy is never without copying");
    }
    let folder = folder();
    let _daemon = start(&folder)?;
    let port = attach(&folder, "bench-server")?.bind(DC, SERVER)?;
    let words = ["lender", "--of", &folder, "--bytes", &ask.bytes.to_string()].map(String::from);
    let mut lender = Child::again(Side::Here, &words)?;
    let mut message = Message::default();
    port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
    let client = message.source();
    let grants = port.grants_of(client);
    let grant = grants.first().context("the client lent nothing")?;
    let mut buffer = vec![0_u8; ask.bytes];
    ask.place.take(true)?;
    let mean = time_batch(&mut || Ok(port.copy_in(client, grant.address, &mut buffer)?), ask.window)?;
    ensure!(buffer.iter().all(|&byte| byte == FILL), "wrong bytes were copied");
    port.reply(client, &mut message, Timeout::Forever)?;
    lender.rest()?;
    Ok(ask.bytes as f64 / mean / 1e3)
}

/// The client of [`copy`]: lends its memory for one call.
pub fn lender(ask: &Ask) -> Result<f64> {
    let port = attach(&ask.of, "bench-lender")?.bind(DC, Endpoint::NONE)?;
    let buffer = vec![FILL; ask.bytes];
    port.sendrec_with(SERVER, &mut Message::new(1), &mut [Lend::Read(&buffer)], Timeout::Forever)?;
    Ok(0.0)
}
