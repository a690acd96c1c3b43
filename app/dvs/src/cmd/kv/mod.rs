//! `dvs kv …`: the replicated key/value service.

mod alone;
mod bench;
mod members;
mod pairs;
mod serve;
mod status;

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use dvs::{DcId, Effect, Endpoint, Process, ThreadWait, Timeout};
use dvs_kv::{Client, KvError, SERVICE};
use dvs_replica::CallError;
use std::process::ExitCode;
use std::time::Duration;

const SERVE: &str = "\
Examples:
  dvs kv serve --dc shop                       this node's replica
  dvs kv serve --dc shop --members n0,n1,n2    a replica on each of these nodes
  dvs kv serve --dc shop --data /srv/kv
  dvs kv serve --dc shop --alone               in memory, on one node; movable

Run it on every node of the list, with the same list: the replicas find each other, in any order. \
Once dvs kv members has changed the list, the replicas know it, and --members is not asked any more. \
Nothing is acknowledged before it is on the disks of a majority. A replica that is started again goes on \
with what it has; one that lost its disk gets all from the others. Ends with Ctrl-C.

With --alone there are no replicas and nothing is on a disk: what it has ends with it. dvs migrate moves \
it to another node while it serves. Started where the service runs elsewhere, it stands by for that.";

const GET: &str = "Example:\n  dvs kv get colour";
const PUT: &str = "\
Examples:
  dvs kv put colour blue
  dvs kv put colour green --when 1    only if it has version 1 (0: none)
  dvs kv put photo --file photo.jpg   a file, or - for what comes in

A key has at most 1 KiB, a value 1 MiB. Prints the new version of the key.";
const DEL: &str = "Example:\n  dvs kv del colour --when 7";
const LIST: &str = "\
Examples:
  dvs kv list
  dvs kv list user/ --limit 20
  dvs kv list user/ --after user/42       the next page";
const BENCH: &str = "\
Example:
  dvs kv bench --clients 64 --seconds 5

Each client puts one key after the other below bench/, a thousand of them, and removes nothing.";

#[derive(clap::Subcommand, Debug)]
pub enum Kv {
    /// Run a replica of the service on this node
    #[command(after_help = SERVE)]
    Serve(serve::Serve),
    /// Print the value of a key
    #[command(after_help = GET)]
    Get(pairs::Get),
    /// Set a key
    #[command(after_help = PUT)]
    Put(pairs::Put),
    /// Remove a key
    #[command(after_help = DEL)]
    Del(pairs::Del),
    /// List keys in order
    #[command(after_help = LIST)]
    List(pairs::List),
    /// How the replicas are, and how much is in the store
    Status(status::Status),
    /// Time puts
    #[command(after_help = BENCH)]
    Bench(bench::Bench),
    /// Who has a replica: list, add, remove, while all serve
    #[command(subcommand)]
    Members(members::Members),
}

impl Kv {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match self {
            Kv::Serve(c) => c.run(context),
            Kv::Get(c) => c.run(context),
            Kv::Put(c) => c.run(context),
            Kv::Del(c) => c.run(context),
            Kv::List(c) => c.run(context),
            Kv::Status(c) => c.run(context),
            Kv::Bench(c) => c.run(context),
            Kv::Members(c) => c.run(context),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Where the service is.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// Name or number of the container (default: the only one)
    #[arg(long, value_name = "NAME")]
    dc: Option<String>,
    /// The endpoint of the service; its replicas have the five behind it
    #[arg(long, value_parser = node::endpoint, default_value_t = SERVICE, allow_hyphen_values = true)]
    endpoint: Endpoint,
}

impl Place {
    /// The container, by number and name.
    fn dc(&self, context: &Context) -> Done<dvs::DcInfo> {
        context.container(self.dc.as_deref())
    }
}

/// How a call of the service is made.
#[derive(clap::Args, Debug)]
pub struct Way {
    #[command(flatten)]
    place: Place,
    /// How long to try, replicas that die meanwhile included, ms
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    timeout: u64,
}

impl Way {
    fn process(&self, context: &Context) -> Done<(Process, DcId)> {
        let dc = DcId(self.place.dc(context)?.dc);
        Ok((dvs::attach_to(&context.node.session_socket(), "dvs-kv")?, dc))
    }

    fn client_of(&self, process: &Process, dc: DcId) -> Done<Client<ThreadWait>> {
        let client = Client::new(process.bind(dc, Endpoint::NONE)?, self.place.endpoint);
        Ok(client.with_timeout(Timeout::After(Duration::from_millis(self.timeout))))
    }

    fn client(&self, context: &Context) -> Done<Client<ThreadWait>> {
        let (process, dc) = self.process(context)?;
        self.client_of(&process, dc)
    }

    /// What is said of an error, and what to do.
    fn failed(&self, error: &KvError) -> Fail {
        let dc = self.place.dc.as_deref().map_or(String::new(), |dc| format!(" --dc {dc}"));
        match error {
            KvError::Conflict(_) => {
                Fail::refused(dvs::Code::BUSY as i32, error).next("look at it with: dvs kv get")
            }
            KvError::Full => Fail::new(error).next("remove keys with: dvs kv del"),
            KvError::Call(CallError::Nobody(_)) => {
                Fail::missing(error).next(format!("start a replica with: dvs kv serve{dc}"))
            }
            KvError::Call(
                CallError::NoLeader | CallError::NoQuorum | CallError::Full | CallError::ReadOnly,
            ) => Fail::refused(dvs::Code::TIMEDOUT as i32, error)
                .next(format!("see who is missing with: dvs kv status{dc}")),
            KvError::Call(CallError::Call(e)) => Fail::from(e.clone()),
            _ if error.effect() == Effect::Unknown => Fail::refused(dvs::Code::TIMEDOUT as i32, error)
                .next("look whether it was done with: dvs kv get"),
            _ => Fail::usage(error),
        }
    }
}
