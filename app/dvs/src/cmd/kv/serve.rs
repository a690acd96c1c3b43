//! `dvs kv serve`: a replica, in the foreground.

use super::Place;
use crate::cmd::Context;
use crate::cmd::service::RuleWord;
use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::output::say;
use dvs::limits::REPLICA_SEATS_MAX;
use dvs::{Code, DcId, NodeId};
use dvs_kv::{SERVICE, Store};
use dvs_replica::replica::{Stopper, known_list};
use dvs_replica::{Active, Plan, Replica, ReplicaError, Seats};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(clap::Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    place: Place,
    /// The nodes with a replica, the same list in the same order everywhere (default: that of the last
    /// time, else the container's nodes)
    #[arg(long, value_delimiter = ',', value_name = "NODE,…")]
    members: Vec<String>,
    /// What a replica does that is cut off from most of the nodes. Nothing is acknowledged there in any case:
    /// it waits (continue), is not called (stop), or answers from what it has (reads). The first to serve
    /// says it for all
    #[arg(long, value_enum, default_value_t = RuleWord::Continue, value_name = "RULE")]
    rule: RuleWord,
    /// The folder this replica keeps its log in; {node} in it stands for the node's name (default: one below
    /// the node's data folder)
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// A single server without replicas: in memory, declared as a service, movable with dvs migrate
    #[arg(long, conflicts_with_all = ["members", "data"])]
    alone: bool,
    /// After it has moved away, stand by for its return
    #[arg(long, requires = "alone")]
    stay: bool,
}

impl Serve {
    pub fn run(&self, context: &Context) -> Done<()> {
        if self.alone {
            return super::alone::run(context, &self.place, self.stay);
        }
        // A daemon that starts it says where; what it was started with elsewhere does not count.
        let here =
            Context { node: Node::of_run().unwrap_or_else(|| context.node.clone()), ..context.clone() };
        let context = &here;
        let dc = self.place.dc(context)?;
        let status = context.node.status()?;
        let folder = self.folder(&status.name, &dc.name);
        let store = folder.join("kv.log");
        let me = NodeId(status.node);
        // Before there are threads: they inherit it.
        let signals = dvs_linux::signal::termination().map_err(Fail::new)?;
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-kv-server")?;
        let known = known_list(&process, (DcId(dc.dc), self.place.endpoint), &store);
        let known = known.map_err(|e| self.failed(&e))?;
        let first = known.as_ref().is_none_or(|list| list.version() == 0);
        let nodes = match &known {
            // One that is to go stays until it is out.
            Some(list) if !first || self.members.is_empty() => list.sitters().map(|(_, s)| s.node).collect(),
            _ => self.nodes(context, dc.nodes, &folder)?,
        };
        let seats = Seats::new(DcId(dc.dc), self.place.endpoint, &nodes).map_err(|e| {
            Fail::usage(e).next(format!("name 1 to {REPLICA_SEATS_MAX} nodes with: --members n0,n1,n2"))
        })?;
        if !nodes.contains(&me) {
            let what = format!("node {} is not in the list {}", status.name, shown(&nodes));
            return Err(match known {
                Some(_) => Fail::refused(Code::BUSY as i32, what)
                    .next(format!("have it in the list with: dvs kv members add {}", status.name)),
                None => Fail::usage(what).next("run it on one of these, or change --members"),
            });
        }
        let name =
            if self.place.endpoint == SERVICE { "kv".into() } else { format!("kv{}", self.place.endpoint) };
        let plan = Plan { name, rule: self.rule.rule(), known: known.clone(), ..Plan::new(seats, store) };
        let start = || Replica::start(&process, &plan, Active::new(Store::default()));
        let mut replica = start().map_err(|e| self.failed(&e))?;
        if first {
            remember(&folder, &nodes)?;
        }
        let place = self.place.endpoint;
        say(&format!(
            "replica of {} at endpoint {place} of {}, log in {}",
            shown(&nodes),
            dc.name,
            plan.store.display()
        ));
        let stopper = Arc::new(Mutex::new(replica.stopper()));
        end_on(signals, stopper.clone())?;
        loop {
            match replica.serve() {
                Err(ReplicaError::Endpoint { error, .. }) if error.code == Code::NOTBIND => {
                    say("this node was taken for lost; the replica starts again");
                    // Before: its store is free then.
                    drop(replica);
                    replica = start().map_err(|e| self.failed(&e))?;
                    *stopper.lock().unwrap_or_else(PoisonError::into_inner) = replica.stopper();
                }
                Err(ReplicaError::Out { .. }) => {
                    say("the replica is out of the list, and has ended");
                    return Ok(());
                }
                ended => return ended.map_err(|e| self.failed(&e)),
            }
        }
    }

    fn folder(&self, node: &str, dc: &str) -> PathBuf {
        match &self.data {
            Some(data) => PathBuf::from(data.replace("{node}", node)),
            None => dvsd::paths::data_dir(node).join("kv").join(format!("{dc}-{}", self.place.endpoint)),
        }
    }

    /// The list that was named, or that of the last time, or the container's nodes.
    fn nodes(&self, context: &Context, of_dc: u32, folder: &Path) -> Done<Vec<NodeId>> {
        let named =
            self.members.iter().map(|n| context.node.node_id(n).map(NodeId)).collect::<Done<Vec<_>>>()?;
        let known = known(folder)?;
        match (named.is_empty(), known) {
            (true, Some(known)) => Ok(known),
            (false, Some(known)) if known != named => {
                let what = format!("the replica in {} is one of {}", folder.display(), shown(&known));
                Err(Fail::usage(what).next("leave --members out, or name another folder with --data"))
            }
            (false, _) => Ok(named),
            (true, None) => Ok((0..u32::BITS as u16).filter(|n| of_dc & 1 << n != 0).map(NodeId).collect()),
        }
    }

    fn failed(&self, error: &ReplicaError) -> Fail {
        match error {
            ReplicaError::Endpoint { error: e, .. } if e.code == Code::SLOTUSED => Fail::from(e.clone())
                .of(error)
                .next("a replica runs here already; see it with: dvs kv status"),
            ReplicaError::Endpoint { error: e, .. } => Fail::from(e.clone()).of("the replica has ended"),
            _ => Fail::new(error).of("the replica has ended; the others go on"),
        }
    }
}

/// Has whatever replica runs then end in order when this program is asked to end.
fn end_on(signals: OwnedFd, stopper: Arc<Mutex<Stopper>>) -> Done<()> {
    let wait = move || {
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        while poll(&mut fds, None).is_err() {}
        stopper.lock().unwrap_or_else(PoisonError::into_inner).stop();
    };
    std::thread::Builder::new().name("kv-signals".into()).spawn(wait).map(drop).map_err(Fail::new)
}

fn shown(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

fn list_file(folder: &Path) -> PathBuf {
    folder.join("members")
}

/// The list of the last time.
fn known(folder: &Path) -> Done<Option<Vec<NodeId>>> {
    let file = list_file(folder);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fail::new(e).of(file.display())),
    };
    let nodes: Result<Vec<u16>, _> = text.split_whitespace().map(str::parse).collect();
    match nodes {
        Ok(nodes) if !nodes.is_empty() => Ok(Some(nodes.into_iter().map(NodeId).collect())),
        _ => Err(Fail::new(format!("{}: not a list of node numbers", file.display()))
            .next("write them into it, separated by blanks, as at the first start")),
    }
}

/// Keeps the list for the next time.
fn remember(folder: &Path, nodes: &[NodeId]) -> Done<()> {
    let text: Vec<String> = nodes.iter().map(|n| n.0.to_string()).collect();
    let file = list_file(folder);
    if known(folder)?.is_some() {
        return Ok(());
    }
    std::fs::write(&file, text.join(" ") + "\n").map_err(|e| Fail::new(e).of(file.display()))
}
