//! Reaching the daemon, finding containers and nodes by name, and errors that say what to type next.

use crate::cli::Cli;
use anyhow::{Context, Result, anyhow, bail};
use dvs_abi::limits::{GENERATION_SIZE, TASKS_MAX};
use dvs_abi::{Code, Endpoint, Error};
use dvs_ipc::control::{Answer, DcInfo, Request};
use dvsd::admin::{AdminAnswer, AdminRequest, Status};
use dvsd::client::AdminClient;
use dvsd::paths;
use std::path::PathBuf;

/// The folder of the node that is meant.
pub fn dir(cli: &Cli) -> PathBuf {
    cli.runtime_dir.clone().unwrap_or_else(|| paths::runtime_dir(&cli.node))
}

/// A connection to its daemon.
pub fn client(cli: &Cli) -> Result<AdminClient> {
    let dir = dir(cli);
    AdminClient::connect(&paths::admin_socket(&dir)).map_err(|e| {
        let node = &cli.node;
        let text = format!("no daemon of node {node} in {}; start it with `dvs up`", dir.display());
        if e.code == Code::DVSINIT { anyhow!(e).context(text) } else { anyhow!(e) }
    })
}

/// The exit code for an error.
pub fn exit_code(e: &anyhow::Error) -> u8 {
    let code = e.downcast_ref::<Error>().map(|e| e.code);
    if code == Some(Code::DVSINIT) { 3 } else { 1 }
}

/// Asks, and gives back the parts of the answer.
pub fn ask(cli: &Cli, request: &AdminRequest) -> Result<Vec<AdminAnswer>> {
    Ok(client(cli)?.all(request)?)
}

/// A request as a session makes it.
pub fn call(cli: &Cli, request: Request) -> Result<Answer> {
    match ask(cli, &AdminRequest::Call(request))?.pop() {
        Some(AdminAnswer::Call(answer)) => Ok(answer),
        _ => bail!("the daemon gave no answer; is it of another version? see `dvs status`"),
    }
}

/// How the node is.
pub fn status(cli: &Cli) -> Result<Status> {
    match ask(cli, &AdminRequest::Status)?.pop() {
        Some(AdminAnswer::Status(status)) => Ok(status),
        _ => bail!("the daemon gave no answer; is it of another version? see `dvs --version`"),
    }
}

/// The containers.
pub fn containers(cli: &Cli) -> Result<Vec<DcInfo>> {
    let parts = ask(cli, &AdminRequest::Containers)?;
    Ok(parts.into_iter().flat_map(|p| if let AdminAnswer::Containers(c) = p { c } else { vec![] }).collect())
}

/// A container by number or name.
pub fn container(cli: &Cli, wanted: &str) -> Result<DcInfo> {
    let all = containers(cli)?;
    let number = wanted.strip_prefix("dc").unwrap_or(wanted).parse::<u16>().ok();
    let found = all.iter().find(|c| c.name == wanted).or_else(|| all.iter().find(|c| Some(c.dc) == number));
    found.cloned().with_context(|| {
        let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
        match names.as_slice() {
            [] => format!("no container {wanted}; make it with `dvs dc create {wanted}`"),
            names => format!("no container {wanted}; there are: {}", names.join(", ")),
        }
    })
}

/// The number of an optional container.
pub fn number(cli: &Cli, wanted: Option<&String>) -> Result<Option<u16>> {
    wanted.map(|w| Ok(container(cli, w)?.dc)).transpose()
}

/// A node by number or name.
pub fn node(cli: &Cli, wanted: &str) -> Result<u16> {
    let status = status(cli)?;
    let number = wanted.parse::<u16>().ok();
    let found = status.nodes.iter().find(|n| n.name == wanted || Some(n.node) == number);
    found.map(|n| n.node).with_context(|| {
        let names: Vec<String> = status.nodes.iter().map(|n| format!("{} ({})", n.node, n.name)).collect();
        format!("no node {wanted}; there are: {}", names.join(", "))
    })
}

/// An endpoint as `dvs ps` prints it: `SLOT` or `SLOT.gGENERATION`.
pub fn endpoint(text: &str) -> Result<Endpoint> {
    let (slot, generation) = text.split_once(".g").unwrap_or((text, "0"));
    let (slot, generation) = (slot.parse::<i32>().ok(), generation.parse::<u32>().ok());
    let good = |s: &i32| *s >= -TASKS_MAX && *s < dvs_abi::limits::PROCS_MAX;
    let fits = |g: &u32| *g < i32::MAX as u32 / GENERATION_SIZE as u32;
    match (slot.filter(good), generation.filter(fits)) {
        (Some(slot), Some(generation)) => Ok(Endpoint::new(generation, slot)),
        _ => bail!("{text} is no endpoint; write SLOT or SLOT.gGENERATION, as `dvs ps` prints them"),
    }
}
