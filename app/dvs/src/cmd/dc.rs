//! `dvs dc`: containers.

use crate::cli::{Cli, Dc};
use crate::{connect, show};
use anyhow::{Result, bail};
use dvs_abi::Endpoint;
use dvs_abi::limits::{DCS_MAX, TASKS_MAX};
use dvs_ipc::control::{DcInfo, Request};
use dvsd::admin::{AdminAnswer, AdminRequest};
use std::process::ExitCode;

/// Does one of the sub-commands.
pub fn run(cli: &Cli, command: &Dc) -> Result<ExitCode> {
    match command {
        Dc::Create { .. } => create(cli, command)?,
        Dc::Ls => print(cli, &connect::containers(cli)?),
        Dc::Show { dc } => print(cli, &[connect::container(cli, dc)?]),
        Dc::Rm { dc, force } => rm(cli, dc, *force)?,
        Dc::AddNode { dc, target } => {
            let (dc, node) = (connect::container(cli, dc)?.dc, connect::node(cli, target)?);
            connect::call(cli, Request::AddNode { dc, node })?;
            show::line(&format!("dc{dc} may run on node {node}"));
        }
        Dc::DelNode { dc, target } => {
            let (dc, node) = (connect::container(cli, dc)?.dc, connect::node(cli, target)?);
            connect::call(cli, Request::DelNode { dc, node })?;
            show::line(&format!("dc{dc} does not run on node {node} any more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(cli: &Cli, command: &Dc) -> Result<()> {
    let Dc::Create { name, id, nodes, procs, sysprocs, warn, warn_type } = command else { return Ok(()) };
    let used: Vec<u16> = connect::containers(cli)?.iter().map(|c| c.dc).collect();
    let free = (0..DCS_MAX as u16).find(|n| !used.contains(n));
    let Some(dc) = id.or(free) else { bail!("all {DCS_MAX} containers exist; end one with `dvs dc rm`") };
    connect::call(
        cli,
        Request::DcInit {
            dc,
            name: name.clone(),
            procs: *procs,
            tasks: TASKS_MAX,
            sysprocs: *sysprocs,
            warn: warn.unwrap_or(Endpoint::NONE.raw()),
            warn_type: warn_type.unwrap_or(0),
            nodes: nodes.clone(),
        },
    )?;
    show::line(&format!("dc{dc} ({name}) runs"));
    Ok(())
}

fn rm(cli: &Cli, dc: &str, force: bool) -> Result<()> {
    let DcInfo { dc, name, .. } = connect::container(cli, dc)?;
    let rows = connect::ask(cli, &AdminRequest::Ps { dc: Some(dc) })?;
    let bound: usize = rows.iter().map(|p| if let AdminAnswer::Procs(r) = p { r.len() } else { 0 }).sum();
    if bound > 0 && !force {
        bail!(
            "{bound} endpoints are bound in {name}; their processes end with it: `dvs dc rm {name} --force`"
        );
    }
    connect::call(cli, Request::DcEnd { dc })?;
    show::line(&format!("dc{dc} ({name}) ended"));
    Ok(())
}

fn print(cli: &Cli, all: &[DcInfo]) {
    let row = |c: &DcInfo| {
        let slots = format!("{}+{}", c.tasks, c.procs);
        vec![c.dc.to_string(), c.name.clone(), show::bits(c.nodes), slots, c.sysprocs.to_string()]
    };
    // Serialised by hand: the type is the protocol's.
    let value: Vec<_> = all
        .iter()
        .map(|c| {
            serde_json::json!({"dc": c.dc, "name": c.name, "nodes": show::bits(c.nodes), "procs": c.procs,
                "tasks": c.tasks, "sysprocs": c.sysprocs, "warn": c.warn, "warn_type": c.warn_type})
        })
        .collect();
    let head = ["dc", "name", "nodes", "slots", "system"];
    show::print(cli.output, &head, all.iter().map(row).collect(), &value);
}
