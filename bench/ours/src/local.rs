//! One server process and its clients, attached to the daemon of one node.

use anyhow::Result;
use dvs::{Endpoint, Message, Timeout};
use dvs_bench_common::{Op, ready};

use crate::node::{DC, SERVER, attach, start};

/// Starts the node in a folder named by `address` and serves.
pub fn serve(address: &str) -> Result<()> {
    let folder = address.to_string();
    let _daemon = start(&folder)?;
    let port = attach(&folder, "bench-server")?.bind(DC, SERVER)?;
    ready(&folder)?;
    let mut message = Message::default();
    loop {
        port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
        // A client that was ended meanwhile is not the server's problem.
        let _ = port.reply(message.source(), &mut message, Timeout::Forever);
    }
}

/// A client.
pub fn connect(folder: &str) -> Result<Op> {
    let port = attach(folder, "bench-client")?.bind(DC, Endpoint::NONE)?;
    let mut message = Message::new(1);
    Ok(Box::new(move || Ok(port.sendrec(SERVER, &mut message, Timeout::Forever)?)))
}
