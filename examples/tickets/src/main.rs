//! `tickets serve FOLDER 0,1,2` on each of these nodes; `tickets take` on any node of the container.
#![forbid(unsafe_code)]

use dvs::{DcId, Endpoint, NodeId};
use dvs_replica::Client;
use dvs_tickets::{SERVICE, replica};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let process = dvs::attach("tickets")?;
    let dc = DcId(std::env::var("DVS_DC").ok().and_then(|n| n.parse().ok()).unwrap_or(0));
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", folder, nodes] => {
            let nodes: Result<Vec<u16>, _> = nodes.split(',').map(str::parse).collect();
            let nodes: Vec<NodeId> = nodes?.into_iter().map(NodeId).collect();
            replica(&process, dc, &nodes, Path::new(folder))?.serve()?;
        }
        ["take"] => {
            let client = Client::new(process.bind(dc, Endpoint::NONE)?, SERVICE);
            let number = client.call(b"")?;
            println!("{}", u64::from_le_bytes(number.try_into().map_err(|_| "no number")?));
        }
        _ => eprintln!("usage: tickets serve FOLDER NODES | tickets take"),
    }
    Ok(())
}
