//! A replicated server in 40 lines: hands out numbers, none of them twice, whatever dies.
#![forbid(unsafe_code)]

use dvs::{DcId, Endpoint, NodeId, Process};
use dvs_replica::active::Server;
use dvs_replica::call::Caller;
use dvs_replica::{Active, Plan, Replica, Seats};
use std::path::Path;

/// Where the service is called; its replicas have the slots behind it.
pub const SERVICE: Endpoint = Endpoint::new(0, 21);

/// The number handed out last.
#[derive(Default)]
pub struct Tickets {
    last: u64,
}

impl Server for Tickets {
    fn request(&mut self, _: &Caller, _: &[u8]) -> Vec<u8> {
        self.last += 1;
        self.last.to_le_bytes().to_vec()
    }

    fn query(&self, request: &[u8]) -> Option<Vec<u8>> {
        (request == b"last").then(|| self.snapshot())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.last.to_le_bytes().to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.last = u64::from_le_bytes(snapshot.try_into().map_err(|_| "eight bytes are a number")?);
        Ok(())
    }
}

/// The replica of this process' node, of those on `nodes`; runs from now on, serves in `serve`.
///
/// # Errors
/// As [`Replica::start`]; the list of nodes is empty, too long, or has one twice.
pub fn replica(
    process: &Process,
    dc: DcId,
    nodes: &[NodeId],
    folder: &Path,
) -> Result<Replica<Active<Tickets>>, Box<dyn std::error::Error>> {
    let seats = Seats::new(dc, SERVICE, nodes)?;
    let plan = Plan::new(seats, folder.join("tickets.log"));
    Ok(Replica::start(process, &plan, Active::new(Tickets::default()))?)
}
