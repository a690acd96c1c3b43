//! The configuration file: which nodes there are and how this one listens.
//!
//! A one-node system needs no file. Anything unknown, doubtful or contradictory is an error that names the
//! file, the line, the value and the remedy: a node that runs with half a configuration is worse than none.
//!
//! ```toml
//! node = "alpha"              # this node's name in the list
//! security = "tls"            # or "plain": no encryption, for a network that is trusted as a whole
//! remote_programs = false     # true: other nodes may start programs here, see SECURITY.md
//!
//! [[nodes]]
//! id = 0
//! name = "alpha"
//! address = "192.0.2.1:7400"
//! fingerprint = "3f…"         # of the node's key; `dvs status` prints it
//! ```

use dvs_abi::NodeId;
use dvs_abi::limits::{NAME_BYTES, NODES_MAX};
use dvs_kern::node::config::{NodeConfig, NodeEntry};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// How node-to-node connections are protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Security {
    /// Mutual TLS by node keys.
    #[default]
    Tls,
    /// Nothing: only for a network that is trusted as a whole.
    Plain,
}

/// One node of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeLine {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Where it listens, `host:port`; empty in a one-node system.
    pub address: String,
    /// Of its key; empty with plain connections.
    pub fingerprint: String,
}

/// When a silent peer is suspected and given up.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Between two signs of life, ms.
    pub heartbeat_ms: u64,
    /// Silence after which the connection is made anew, ms.
    pub broken_ms: u64,
    /// Time without a connection after which the node is declared dead, ms.
    pub dead_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { heartbeat_ms: 100, broken_ms: 1000, dead_ms: 5000 }
    }
}

impl Timeouts {
    /// [`Timeouts::dead_ms`] as a duration.
    pub fn dead(&self) -> Duration {
        Duration::from_millis(self.dead_ms)
    }
}

/// A configuration that makes sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Where sockets and the lock are; `None` = see [`crate::paths::runtime_dir`].
    pub runtime_dir: Option<PathBuf>,
    /// Where keys are kept; `None` = below the user's data folder.
    pub data_dir: Option<PathBuf>,
    /// Where to listen; `None` = this node's address in the list.
    pub listen: Option<String>,
    /// Protection of connections.
    pub security: Security,
    /// Other nodes may start programs here, as the user of the daemon.
    pub remote_programs: bool,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Every node, in the same order everywhere.
    pub nodes: Vec<NodeLine>,
}

/// What is wrong, where, and what to do.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("{file}{}: {what}\n  {remedy}", if *line == 0 { String::new() } else { format!(":{line}") })]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the file could not be read.
    pub line: usize,
    /// The problem with the value.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    node: Option<Spanned<String>>,
    runtime_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    listen: Option<Spanned<String>>,
    security: Option<Spanned<String>>,
    remote_programs: Option<Spanned<bool>>,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    nodes: Vec<Spanned<RawNode>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: Spanned<i64>,
    name: Spanned<String>,
    #[serde(default)]
    address: Option<Spanned<String>>,
    #[serde(default)]
    fingerprint: Option<Spanned<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Config::single("node0")
    }
}

impl Config {
    /// A system of one node.
    pub fn single(name: &str) -> Self {
        let line = NodeLine { id: 0, name: name.into(), address: String::new(), fingerprint: String::new() };
        Config {
            node: name.into(),
            runtime_dir: None,
            data_dir: None,
            listen: None,
            security: Security::default(),
            remote_programs: false,
            timeouts: Timeouts::default(),
            nodes: vec![line],
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            file: path.display().to_string(),
            line: 0,
            what: format!("cannot be read: {e}"),
            remedy: "name a file that can be read with --config, or leave it out for a system of one node"
                .into(),
        })?;
        Config::parse(&path.display().to_string(), &text)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    ///
    /// ```
    /// use dvsd::Config;
    /// let e = Config::parse("dvs.toml", "node = \"a\"\nsecurity = \"none\"\n").unwrap_err();
    /// assert!(e.to_string().starts_with("dvs.toml:2: security = \"none\""), "{e}");
    /// ```
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
        let check = Check { file, text };
        let raw: Raw = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            let remedy = "see docs/reference/configuration.md for the fields there are";
            check.error(at, e.message().to_string(), remedy)
        })?;
        let security = check.security(raw.security.as_ref())?;
        let mut nodes = Vec::new();
        for node in &raw.nodes {
            let line = check.node(node.get_ref(), raw.nodes.len() > 1, security)?;
            check.unique(node.get_ref(), &line, &nodes)?;
            nodes.push(line);
        }
        if nodes.len() > NODES_MAX {
            let what = format!("{} nodes are listed", nodes.len());
            return Err(check.error(0, what, &format!("a system has at most {NODES_MAX}")));
        }
        let name = raw.node.as_ref().map_or("node0", |n| n.get_ref());
        if nodes.is_empty() {
            nodes = Config::single(name).nodes;
        }
        let at = raw.node.as_ref().map_or(0, |n| n.span().start);
        check.name(at, "node", name)?;
        if !nodes.iter().any(|n| n.name == name) {
            let known: Vec<&str> = nodes.iter().map(|n| n.name.as_str()).collect();
            let remedy = format!("use one of the listed names: {}", known.join(", "));
            return Err(check.error(at, format!("node = \"{name}\" is not in the list of nodes"), &remedy));
        }
        if let Some(listen) = &raw.listen {
            check.address(listen.span().start, "listen", listen.get_ref())?;
        }
        check.timeouts(&raw.timeouts)?;
        let remote_programs = check.remote_programs(raw.remote_programs.as_ref(), security)?;
        Ok(Config {
            node: name.into(),
            runtime_dir: raw.runtime_dir,
            data_dir: raw.data_dir,
            listen: raw.listen.map(Spanned::into_inner),
            security,
            remote_programs,
            timeouts: raw.timeouts,
            nodes,
        })
    }

    /// This node's line.
    pub fn me(&self) -> &NodeLine {
        // `parse` and `single` hold it; a hand-made value without it is treated as the first node.
        self.nodes.iter().find(|n| n.name == self.node).unwrap_or(&self.nodes[0])
    }

    /// What the state machine is told.
    pub fn node_config(&self, pid: u32, first_generation: u32) -> NodeConfig {
        let entry =
            |n: &NodeLine| NodeEntry { id: NodeId(n.id), name: n.name.clone(), address: n.address.clone() };
        let nodes = self.nodes.iter().map(entry).collect();
        NodeConfig { me: NodeId(self.me().id), pid, nodes, first_generation }
    }
}

/// Where errors are made: knows the text, so that it can say the line.
struct Check<'a> {
    file: &'a str,
    text: &'a str,
}

impl Check<'_> {
    fn error(&self, at: usize, what: String, remedy: &str) -> ConfigError {
        let line = self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        ConfigError { file: self.file.into(), line, what, remedy: remedy.into() }
    }

    fn name(&self, at: usize, field: &str, name: &str) -> Result<(), ConfigError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(good) {
            let remedy = format!("use 1 to {NAME_BYTES} letters, digits, '-' or '_'");
            return Err(self.error(at, format!("{field} = \"{name}\" is no name"), &remedy));
        }
        Ok(())
    }

    fn address(&self, at: usize, field: &str, address: &str) -> Result<(), ConfigError> {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, p)| p.parse::<u16>().is_err()) {
            let what = format!("{field} = \"{address}\" is no address");
            return Err(self.error(at, what, "write host:port, for example \"192.0.2.1:7400\""));
        }
        Ok(())
    }

    fn security(&self, value: Option<&Spanned<String>>) -> Result<Security, ConfigError> {
        match value.map(|v| (v.get_ref().as_str(), v.span().start)) {
            None | Some(("tls", _)) => Ok(Security::Tls),
            Some(("plain", _)) => Ok(Security::Plain),
            Some((other, at)) => {
                let remedy = "use \"tls\", or \"plain\" on a network that is trusted as a whole";
                Err(self.error(at, format!("security = \"{other}\" is unknown"), remedy))
            }
        }
    }

    fn remote_programs(
        &self,
        value: Option<&Spanned<bool>>,
        security: Security,
    ) -> Result<bool, ConfigError> {
        let Some((true, at)) = value.map(|v| (*v.get_ref(), v.span().start)) else { return Ok(false) };
        if security == Security::Plain {
            let what =
                "remote_programs = true without encryption lets whoever reaches the port start programs";
            let remedy = "set security = \"tls\", or remote_programs = false";
            return Err(self.error(at, what.into(), remedy));
        }
        Ok(true)
    }

    fn node(&self, raw: &RawNode, many: bool, security: Security) -> Result<NodeLine, ConfigError> {
        let (at, id) = (raw.id.span().start, *raw.id.get_ref());
        let Some(id) = u16::try_from(id).ok().filter(|n| (*n as usize) < NODES_MAX) else {
            let remedy = format!("node numbers are 0 to {}", NODES_MAX - 1);
            return Err(self.error(at, format!("id = {id} is no node number"), &remedy));
        };
        self.name(raw.name.span().start, "name", raw.name.get_ref())?;
        let text = |v: &Option<Spanned<String>>| v.as_ref().map(|v| (v.get_ref().clone(), v.span().start));
        let address = match text(&raw.address) {
            Some((address, at)) => {
                self.address(at, "address", &address)?;
                address
            }
            None if many => {
                let remedy = "add address = \"host:port\", where the other nodes reach it";
                return Err(self.error(at, format!("node {id} has no address"), remedy));
            }
            None => String::new(),
        };
        let fingerprint = match text(&raw.fingerprint) {
            Some((value, at)) => {
                if value.len() != 64 || !value.chars().all(|c| c.is_ascii_hexdigit()) {
                    let what = format!("fingerprint = \"{value}\" is none");
                    return Err(self.error(
                        at,
                        what,
                        "copy what `dvs key --config FILE` prints on that node; 64 zeros until then",
                    ));
                }
                value.to_ascii_lowercase()
            }
            None if many && security == Security::Tls => {
                let remedy = "write 64 zeros for now, then what `dvs key --config FILE` prints there, \
                              or set security = \"plain\" on a trusted network";
                return Err(self.error(at, format!("node {id} has no fingerprint"), remedy));
            }
            None => String::new(),
        };
        Ok(NodeLine { id, name: raw.name.get_ref().clone(), address, fingerprint })
    }

    fn unique(&self, raw: &RawNode, line: &NodeLine, nodes: &[NodeLine]) -> Result<(), ConfigError> {
        let ids: BTreeSet<u16> = nodes.iter().map(|n| n.id).collect();
        if ids.contains(&line.id) {
            let what = format!("id = {} is used twice", line.id);
            return Err(self.error(raw.id.span().start, what, "give every node its own number"));
        }
        if let Some(at) = raw.address.as_ref().filter(|_| nodes.iter().any(|n| n.address == line.address)) {
            let what = format!("address = \"{}\" is used twice", line.address);
            return Err(self.error(at.span().start, what, "give every node its own host or port"));
        }
        if nodes.iter().any(|n| n.name == line.name) {
            let what = format!("name = \"{}\" is used twice", line.name);
            return Err(self.error(raw.name.span().start, what, "give every node its own name"));
        }
        Ok(())
    }

    fn timeouts(&self, t: &Timeouts) -> Result<(), ConfigError> {
        if t.heartbeat_ms == 0 || t.broken_ms <= t.heartbeat_ms || t.dead_ms < t.broken_ms {
            let at = self.text.find("[timeouts]").unwrap_or(0);
            let what = format!(
                "heartbeat_ms = {}, broken_ms = {}, dead_ms = {} contradict each other",
                t.heartbeat_ms, t.broken_ms, t.dead_ms
            );
            return Err(self.error(at, what, "keep 0 < heartbeat_ms < broken_ms <= dead_ms"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Security};

    #[test]
    fn an_empty_file_is_one_node() {
        assert_eq!(Config::parse("f", "").unwrap(), Config::default());
        assert_eq!(Config::parse("f", "node = \"x\"").unwrap(), Config::single("x"));
    }

    #[test]
    fn errors_name_line_value_and_remedy() {
        let same = "security = \"plain\"\nnode = \"a\"\n[[nodes]]\nid = 0\nname = \"a\"\naddress = \"h:1\"\n\
                    [[nodes]]\nid = 1\nname = \"b\"\naddress = \"h:1\"\n";
        let two = "security = \"plain\"\nnode = \"a\"\n[[nodes]]\nid = 0\nname = \"a\"\naddress = \"h:1\"\n\
                   [[nodes]]\nid = 0\nname = \"b\"\naddress = \"h:2\"\n";
        for (text, line, word) in [
            ("noode = 1", 1, "noode"),
            ("\nnode = \"a b\"", 2, "a b"),
            (two, 8, "id = 0 is used twice"),
            (same, 10, "address = \"h:1\" is used twice"),
            ("[timeouts]\nbroken_ms = 50", 1, "broken_ms = 50"),
            ("[[nodes]]\nid = 99\nname = \"a\"", 2, "99"),
            ("listen = \"nowhere\"", 1, "nowhere"),
            ("security = \"plain\"\nremote_programs = true", 2, "remote_programs = true"),
            ("[[nodes]]\nid = 0\nname = \"a\"", 1, "node0"),
        ] {
            let e = Config::parse("dvs.toml", text).unwrap_err();
            assert_eq!(e.line, line, "{e}");
            assert!(e.what.contains(word) && !e.remedy.is_empty(), "{e}");
        }
    }

    #[test]
    fn two_nodes() {
        let text = "node = \"b\"\nsecurity = \"plain\"\n[[nodes]]\nid = 0\nname = \"a\"\naddress = \"h:1\"\n\
                    [[nodes]]\nid = 4\nname = \"b\"\naddress = \"h:2\"\n";
        let c = Config::parse("f", text).unwrap();
        assert_eq!((c.me().id, c.security, c.nodes.len()), (4, Security::Plain, 2));
        assert!(Config::parse("f", &text.replace("plain", "tls")).is_err(), "no fingerprint");
    }
}
