//! The configuration file: how this node listens and where it keeps what is its own.
//!
//! No node needs a file: `dvs up` and `dvs join` do without. Which nodes there are stands in the replicated
//! state, see `dvs nodes`. Anything unknown, doubtful or contradictory is an error that names the file, the
//! line, the value and the remedy: a node that runs with half a configuration is worse than none.
//!
//! ```toml
//! node = "alpha"              # this node's name
//! listen = "0.0.0.0:7400"     # where other nodes reach it
//! security = "tls"            # or "plain": no encryption, for a network that is trusted as a whole
//! remote_programs = false     # true: other nodes may start programs here, see SECURITY.md
//!
//! [reach]                     # nodes that are found at another address from here
//! beta = "10.8.0.2:7400"
//! ```

use dvs_abi::limits::{NAME_BYTES, NODE_LEASE_NS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// How node-to-node connections are protected.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Mutual TLS by node keys.
    #[default]
    Tls,
    /// Nothing: only for a network that is trusted as a whole.
    Plain,
}

impl Security {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Security::Tls => "tls",
            Security::Plain => "plain",
        }
    }
}

/// When a silent peer is suspected and given up.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Between two signs of life of a connection, ms.
    pub heartbeat_ms: u64,
    /// Silence after which the connection is made anew, ms.
    pub broken_ms: u64,
    /// How long a node that is not heard of may serve, and the others wait for it, ms. Of the node that
    /// founds a system; it then holds for all of it.
    pub lease_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { heartbeat_ms: 100, broken_ms: 1000, lease_ms: NODE_LEASE_NS / 1_000_000 }
    }
}

/// A configuration that makes sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Where sockets and the lock are; `None` = see [`crate::paths::runtime_dir`].
    pub runtime_dir: Option<PathBuf>,
    /// Where the node's key and its part of the replicated state are kept; `None` = see
    /// [`crate::paths::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// Where to listen; `None` = nowhere, until `dvs token` or `dvs join` says where.
    pub listen: Option<String>,
    /// Where the other nodes find this one, if that differs from where it listens.
    pub address: Option<String>,
    /// A token: if this node belongs to no system yet, it joins this one.
    pub join: Option<String>,
    /// Of a node that joins: it only has a vote, and runs nothing.
    pub witness: bool,
    /// Protection of connections, of a system founded here.
    pub security: Security,
    /// Other nodes may start programs here, as the user of the daemon.
    pub remote_programs: bool,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Nodes, by name, that are found elsewhere from here.
    pub reach: BTreeMap<String, String>,
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
    address: Option<Spanned<String>>,
    join: Option<String>,
    #[serde(default)]
    witness: bool,
    security: Option<Spanned<String>>,
    remote_programs: Option<Spanned<bool>>,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    reach: BTreeMap<String, Spanned<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Config::single("node0")
    }
}

impl Config {
    /// A node of this name, all else as usual.
    pub fn single(name: &str) -> Self {
        Config {
            node: name.into(),
            runtime_dir: None,
            data_dir: None,
            listen: None,
            address: None,
            join: None,
            witness: false,
            security: Security::default(),
            remote_programs: false,
            timeouts: Timeouts::default(),
            reach: BTreeMap::new(),
        }
    }

    /// Where the node keeps what outlives its runs.
    pub fn data(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| crate::paths::data_dir(&self.node))
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
        let name = raw.node.as_ref().map_or("node0", |n| n.get_ref());
        let at = raw.node.as_ref().map_or(0, |n| n.span().start);
        check.name(at, "node", name)?;
        for (field, value) in [("listen", &raw.listen), ("address", &raw.address)] {
            if let Some(value) = value {
                check.address(value.span().start, field, value.get_ref())?;
            }
        }
        for (node, address) in &raw.reach {
            check.address(address.span().start, node, address.get_ref())?;
        }
        check.timeouts(&raw.timeouts)?;
        let remote_programs = check.remote_programs(raw.remote_programs.as_ref(), security)?;
        Ok(Config {
            node: name.into(),
            runtime_dir: raw.runtime_dir,
            data_dir: raw.data_dir,
            listen: raw.listen.map(Spanned::into_inner),
            address: raw.address.map(Spanned::into_inner),
            join: raw.join,
            witness: raw.witness,
            security,
            remote_programs,
            timeouts: raw.timeouts,
            reach: raw.reach.into_iter().map(|(n, a)| (n, a.into_inner())).collect(),
        })
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

    fn timeouts(&self, t: &Timeouts) -> Result<(), ConfigError> {
        if t.heartbeat_ms == 0 || t.broken_ms <= t.heartbeat_ms || t.lease_ms <= 3 * t.heartbeat_ms {
            let at = self.text.find("[timeouts]").unwrap_or(0);
            let what = format!(
                "heartbeat_ms = {}, broken_ms = {}, lease_ms = {} contradict each other",
                t.heartbeat_ms, t.broken_ms, t.lease_ms
            );
            let remedy = "keep 0 < heartbeat_ms < broken_ms and 3 * heartbeat_ms < lease_ms";
            return Err(self.error(at, what, remedy));
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
        for (text, line, word) in [
            ("noode = 1", 1, "noode"),
            ("\nnode = \"a b\"", 2, "a b"),
            ("[timeouts]\nbroken_ms = 50", 1, "broken_ms = 50"),
            ("[[nodes]]\nid = 9", 1, "nodes"),
            ("[reach]\nbeta = \"b\"", 2, "beta = \"b\""),
            ("listen = \"nowhere\"", 1, "nowhere"),
            ("security = \"plain\"\nremote_programs = true", 2, "remote_programs = true"),
        ] {
            let e = Config::parse("dvs.toml", text).unwrap_err();
            assert_eq!(e.line, line, "{e}");
            assert!(e.what.contains(word) && !e.remedy.is_empty(), "{e}");
        }
    }

    #[test]
    fn all_fields() {
        let text = "node = \"b\"\nsecurity = \"plain\"\nlisten = \"0.0.0.0:1\"\naddress = \"h:2\"\n\
                    [reach]\na = \"g:3\"";
        let c = Config::parse("f", text).unwrap();
        assert_eq!((c.node.as_str(), c.security), ("b", Security::Plain));
        assert_eq!((c.listen.as_deref(), c.address.as_deref()), (Some("0.0.0.0:1"), Some("h:2")));
        assert_eq!(c.reach["a"], "g:3");
    }
}
