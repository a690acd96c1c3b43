//! `dvs dc …`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::{DcInfo, Endpoint, limits};
use dvs_ipc::control::Request;
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long nodes that are being started may take to be there.
const MEET: Duration = Duration::from_secs(2);

#[derive(clap::Subcommand, Debug)]
pub enum Dc {
    /// Make a container
    #[command(after_help = "Example:\n  dvs dc create shop --nodes n0,n1,n2")]
    Create(Create),
    /// List containers
    Ls,
    /// Show one container
    Show(Name),
    /// End a container and everything in it
    #[command(after_help = "Example:\n  dvs dc rm shop --yes")]
    Rm(Rm),
    /// Let a container run on a node
    AddNode(NodeOf),
    /// Withdraw a container from a node; its endpoints there end
    DelNode(NodeOf),
}

#[derive(clap::Args, Debug)]
pub struct Create {
    /// Its name, at most 15 bytes
    name: String,
    /// Its number (default: the lowest free one)
    #[arg(long, value_name = "N")]
    id: Option<u16>,
    /// The nodes it may run on, by name or number (default: this one)
    #[arg(long, value_delimiter = ',', value_name = "NODE,…")]
    nodes: Vec<String>,
    /// Slots from zero up
    #[arg(long, default_value_t = limits::PROCS_DEFAULT, value_name = "N")]
    procs: i32,
    /// Slots of tasks and servers
    #[arg(long, default_value_t = limits::SYSPROCS_DEFAULT, value_name = "N")]
    system: i32,
}

#[derive(clap::Args, Debug)]
pub struct Name {
    /// Name or number of the container
    dc: String,
}

#[derive(clap::Args, Debug)]
pub struct Rm {
    /// Name or number of the container
    dc: String,
    /// Do not ask for its name
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args, Debug)]
pub struct NodeOf {
    /// Name or number of the container
    dc: String,
    /// Name or number of the node
    target: String,
}

impl Dc {
    /// Does what was asked.
    pub fn run(&self, context: &Context) -> Done {
        match self {
            Dc::Create(c) => c.run(context)?,
            Dc::Ls => list(context)?,
            Dc::Show(n) => show(context, &n.dc)?,
            Dc::Rm(r) => r.run(context)?,
            Dc::AddNode(n) => n.run(context, true)?,
            Dc::DelNode(n) => n.run(context, false)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    fn run(&self, context: &Context) -> Done<()> {
        if self.name.is_empty() || self.name.len() > limits::NAME_BYTES {
            return Err(Fail::usage(format!(
                "{:?}: a name has 1 to {} bytes",
                self.name,
                limits::NAME_BYTES
            )));
        }
        let taken = context.node.containers()?;
        if taken.iter().any(|c| c.name == self.name) {
            return Err(Fail::from(dvs::Error::early(dvs::Code::RSCBUSY))
                .of(format!("container {:?} exists", self.name))
                .next(format!("see it with: dvs dc show {}", self.name)));
        }
        let free = |n: &u16| taken.iter().all(|c| c.dc != *n);
        let dc = match self.id {
            Some(n) => n,
            None => (0..limits::DCS_MAX as u16)
                .find(free)
                .ok_or_else(|| Fail::new(format!("there are {} containers, the most", limits::DCS_MAX)))?,
        };
        let nodes = self.nodes.iter().map(|n| context.node.node_id(n)).collect::<Done<Vec<u16>>>()?;
        let others = nodes.clone();
        context.node.call(Request::DcInit {
            dc,
            name: self.name.clone(),
            procs: self.procs,
            tasks: limits::TASKS_MAX,
            sysprocs: self.system,
            warn: Endpoint::NONE.raw(),
            warn_type: 0,
            nodes,
        })?;
        heard(context, &others)?;
        match context.output {
            Format::Json => output::json(&context.node.container(&self.name)?),
            Format::Table => {
                say(&format!("container {} is dc{dc}", self.name));
                Ok(())
            }
        }
    }
}

/// Waits a moment until the nodes have heard of what was just done, also those that are just starting; says
/// which have not. Records to a node keep their order, so a sign of life asked for afterwards is the proof.
fn heard(context: &Context, nodes: &[u16]) -> Done<()> {
    let end = Instant::now() + MEET;
    for &node in nodes {
        let asked = AdminRequest::Ping { node };
        while !context.node.ask(&asked)?.iter().any(|a| matches!(a, AdminAnswer::Pong { .. })) {
            if Instant::now() > end {
                eprintln!("dvs: n{node} is not connected; the container is known there once it is");
                break;
            }
            // tidy: the daemon is asked now and then; nobody tells the command line of a connection
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

impl Rm {
    fn run(&self, context: &Context) -> Done<()> {
        let info = context.node.container(&self.dc)?;
        if !self.yes && !confirmed(&info.name) {
            return Err(Fail::usage(format!("{} was not removed: the name was not given", info.name))
                .next(format!("without a question: dvs dc rm {} --yes", info.name)));
        }
        context.node.call(Request::DcEnd { dc: info.dc })?;
        output::done(context.output, &format!("container {} is gone", info.name))
    }
}

fn confirmed(name: &str) -> bool {
    use std::io::{BufRead, Write};
    eprint!("This ends every program in container {name}. Type its name to go on: ");
    // A prompt that cannot be shown is answered by nothing, which is no.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == name
}

impl NodeOf {
    fn run(&self, context: &Context, add: bool) -> Done<()> {
        let info = context.node.container(&self.dc)?;
        let node = context.node.node_id(&self.target)?;
        let (request, word) = match add {
            true => (Request::AddNode { dc: info.dc, node }, "may run on"),
            false => (Request::DelNode { dc: info.dc, node }, "is withdrawn from"),
        };
        context.node.call(request)?;
        output::done(context.output, &format!("container {} {word} {}", info.name, self.target))
    }
}

fn row(c: &DcInfo) -> Vec<String> {
    let nodes: Vec<String> =
        (0..32).filter(|n| c.nodes & 1 << n != 0).map(|n: u32| format!("n{n}")).collect();
    let state = if c.flags == 0 { "running" } else { "free" };
    vec![
        format!("dc{}", c.dc),
        c.name.clone(),
        state.to_string(),
        nodes.join(","),
        c.procs.to_string(),
        c.sysprocs.to_string(),
    ]
}

const HEADINGS: [&str; 6] = ["dc", "name", "state", "nodes", "procs", "system"];

fn list(context: &Context) -> Done<()> {
    let all = context.node.containers()?;
    match context.output {
        Format::Json => output::json(&all),
        Format::Table => {
            output::table(&HEADINGS, all.iter().map(row).collect());
            Ok(())
        }
    }
}

fn show(context: &Context, dc: &str) -> Done<()> {
    let info = context.node.container(dc)?;
    match context.output {
        Format::Json => output::json(&info),
        Format::Table => {
            output::table(&HEADINGS, vec![row(&info)]);
            Ok(())
        }
    }
}
