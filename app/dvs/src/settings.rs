//! What a daemon is told when it starts: by a file, or by arguments.

use crate::fail::{Done, Fail};
use crate::node::Node;
use dvsd::Config;
use std::path::PathBuf;
use std::process::Command;

/// Arguments of the commands that start a node.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Settings {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the node keeps its key and its part of the system's state
    #[arg(long, env = "DVS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to listen for the other nodes
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where the other nodes find this one, if not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
}

impl Settings {
    /// The configuration of the node; `node` = the one that is meant, unless the file names one.
    pub fn resolve(&self, node: &Node) -> Done<(Node, Config)> {
        let (node, mut config) = match &self.config {
            Some(file) => {
                let config = Config::load(file).map_err(Fail::usage)?;
                (Node::of_config(&config), config)
            }
            None => {
                let runtime_dir = Some(node.dir().clone());
                (node.clone(), Config { runtime_dir, ..Config::single(node.name()) })
            }
        };
        for (place, given) in [(&mut config.listen, &self.listen), (&mut config.address, &self.address)] {
            if let Some(given) = given {
                if given.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                    let text =
                        format!("{given:?} is no address; write host:port, for example 192.0.2.1:7400");
                    return Err(Fail::usage(text));
                }
                *place = Some(given.clone());
            }
        }
        if self.data_dir.is_some() {
            config.data_dir.clone_from(&self.data_dir);
        }
        Ok((node, config))
    }

    /// The same for the daemon.
    pub fn pass(&self, node: &Node, command: &mut Command) {
        match &self.config {
            Some(file) => command.arg("--config").arg(file),
            None => command.args(["--node", node.name(), "--runtime-dir"]).arg(node.dir()),
        };
        let paths = self.data_dir.iter().map(|d| ("--data-dir", d.as_os_str()));
        let listen = self.listen.iter().map(|l| ("--listen", l.as_ref()));
        let address = self.address.iter().map(|a| ("--address", a.as_ref()));
        for (name, value) in paths.chain(listen).chain(address) {
            command.arg(name).arg(value);
        }
    }
}
