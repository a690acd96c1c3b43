//! Which node is meant, and the way to its daemon.

use crate::fail::{Done, Fail};
use dvs::{Code, DcInfo, Endpoint};
use dvs_ipc::control::{Answer, NodeInfo, Request};
use dvs_linux::paths;
use dvsd::admin::{AdminAnswer, AdminRequest, Status};
use dvsd::client::AdminClient;
use std::path::PathBuf;

/// What `dvs run` tells a program of its container.
pub const DC_VARIABLE: &str = "DVS_DC";

/// The node a command talks to.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    dir: PathBuf,
    /// Nobody named it.
    guessed: bool,
}

impl Node {
    /// The node in this folder (`--runtime-dir`), or of this name (`--node`, `$DVS_NODE`), or the only one
    /// that runs here, or `node0`.
    pub fn find(name: Option<&str>, dir: Option<PathBuf>) -> Node {
        let guessed = name.is_none() && dir.is_none();
        let name = match (name, &dir) {
            (Some(name), _) => name.to_string(),
            (None, Some(_)) => "node0".to_string(),
            (None, None) => only_one(),
        };
        let dir = dir.unwrap_or_else(|| paths::runtime_dir(&name));
        Node { name, dir, guessed }
    }

    /// The node whose daemon has started this program, if one has.
    pub fn of_run() -> Option<Node> {
        std::env::var_os(DC_VARIABLE)?;
        let socket = PathBuf::from(std::env::var_os(paths::SOCKET_VARIABLE)?);
        let dir = socket.parent()?.to_owned();
        let name = std::env::var(dvs::NODE_VARIABLE).unwrap_or_else(|_| "node0".to_owned());
        Some(Node { name, dir, guessed: false })
    }

    /// The node a configuration describes.
    pub fn of_config(config: &dvsd::Config) -> Node {
        let dir = config.runtime_dir.clone().unwrap_or_else(|| paths::runtime_dir(&config.node));
        Node { name: config.node.clone(), dir, guessed: false }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder with sockets and log.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// The socket programs of this node attach to.
    pub fn session_socket(&self) -> PathBuf {
        paths::session_socket(&self.dir)
    }

    /// A connection to its daemon.
    pub fn connect(&self) -> Done<AdminClient> {
        AdminClient::connect(&paths::admin_socket(&self.dir)).map_err(|e| match e.code {
            Code::DVSINIT if self.guessed && local_names().len() > 1 => {
                Fail::usage(format!("several nodes run here: {}", local_names().join(", ")))
                    .next(format!("say which is meant, for example: dvs --node {} ...", local_names()[0]))
            }
            Code::DVSINIT => {
                Fail::gone(format!("no daemon runs for node {} ({})", self.name, self.dir.display()))
                    .next(format!("start it with: dvs up --node {}", self.name))
            }
            Code::PERM => Fail::from(e)
                .of(format!("the daemon in {} belongs to another user", self.dir.display()))
                .next("use the same user, or sudo"),
            _ => Fail::from(e),
        })
    }

    /// Asks and collects every part of the answer.
    pub fn ask(&self, request: &AdminRequest) -> Done<Vec<AdminAnswer>> {
        Ok(self.connect()?.all(request)?)
    }

    /// Makes a call of the system in the daemon's own name.
    pub fn call(&self, request: Request) -> Done<Answer> {
        let parts = self.ask(&AdminRequest::Call(request))?;
        parts
            .into_iter()
            .find_map(|p| match p {
                AdminAnswer::Call(a) => Some(a),
                _ => None,
            })
            .ok_or_else(|| Fail::new("the daemon gave no answer"))
    }

    /// How the node is.
    pub fn status(&self) -> Done<Status> {
        let parts = self.ask(&AdminRequest::Status)?;
        parts
            .into_iter()
            .find_map(|p| match p {
                AdminAnswer::Status(s) => Some(s),
                _ => None,
            })
            .ok_or_else(|| Fail::new("the daemon gave no status"))
    }

    /// Every container this node knows.
    pub fn containers(&self) -> Done<Vec<DcInfo>> {
        let parts = self.ask(&AdminRequest::Containers)?;
        Ok(parts
            .into_iter()
            .flat_map(|p| match p {
                AdminAnswer::Containers(c) => c,
                _ => Vec::new(),
            })
            .collect())
    }

    /// The container with this name or number.
    pub fn container(&self, wanted: &str) -> Done<DcInfo> {
        let all = self.containers()?;
        let number = wanted.strip_prefix("dc").unwrap_or(wanted).parse::<u16>().ok();
        all.into_iter()
            .find(|c| c.name == wanted || Some(c.dc) == number)
            .ok_or_else(|| Fail::missing(format!("no container {wanted:?}")).next("see them with: dvs dc ls"))
    }

    /// The node with this name or number.
    pub fn node_id(&self, wanted: &str) -> Done<u16> {
        let status = self.status()?;
        named(&status.nodes, wanted)
            .map(|n| n.node)
            .ok_or_else(|| Fail::missing(format!("no node {wanted:?}")).next("see them with: dvs status"))
    }
}

/// A node a program is to run on, or whose log is wanted: it may be on another machine.
#[derive(Clone, Debug)]
pub struct Target {
    /// The daemon of this machine that is asked.
    pub door: Node,
    /// The node's number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// It is the node of that daemon.
    pub here: bool,
}

impl Target {
    fn new(door: Node, status: &Status, wanted: Option<&str>) -> Option<Target> {
        let node = named(&status.nodes, wanted.unwrap_or(&status.name))?;
        Some(Target { door, id: node.node, name: node.name.clone(), here: node.node == status.node })
    }

    /// The node that was named: that of the daemon `door` leads to, or one it knows. Without a daemon there
    /// (and unless `door` was named by its folder) any daemon of this machine that knows the node will do.
    pub fn find(door: &Node, wanted: Option<&str>, by_folder: bool) -> Done<Target> {
        let asked = door.status();
        let failed = match asked {
            Ok(status) => {
                let missing = || {
                    let what = format!("node {} knows no node {:?}", status.name, wanted.unwrap_or(""));
                    Fail::missing(what).next("see them with: dvs status")
                };
                return Target::new(door.clone(), &status, wanted).ok_or_else(missing);
            }
            Err(f) => f,
        };
        let Some(wanted) = wanted.filter(|_| !by_folder) else { return Err(failed) };
        let mut found: Option<(Target, String)> = None;
        for name in local_names() {
            let door = Node { dir: paths::runtime_dir(&name), name, guessed: false };
            let Ok(status) = door.status() else { continue };
            let Some(target) = Target::new(door, &status, Some(wanted)) else { continue };
            let address = named(&status.nodes, wanted).map_or(String::new(), |n| n.address.clone());
            if found.as_ref().is_some_and(|(_, other)| *other != address) {
                let what = format!("several systems here have a node {wanted}");
                return Err(Fail::usage(what).next("say whose is meant with: --runtime-dir DIR"));
            }
            found.get_or_insert((target, address));
        }
        found.map(|(target, _)| target).ok_or(failed)
    }
}

/// The node with this name or number.
fn named<'a>(nodes: &'a [NodeInfo], wanted: &str) -> Option<&'a NodeInfo> {
    let number = wanted.strip_prefix('n').unwrap_or(wanted).parse::<u16>().ok();
    let by_name = nodes.iter().find(|n| n.name == wanted);
    by_name.or_else(|| nodes.iter().find(|n| Some(n.node) == number))
}

/// The nodes that run on this machine for this user, or seem to.
fn local_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(paths::base_dir())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().join("admin").exists())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Of several nodes none is meant without a name; then the error names `node0`.
fn only_one() -> String {
    let names = local_names();
    match names.as_slice() {
        [only] => only.clone(),
        _ => "node0".to_string(),
    }
}

/// An endpoint as people write it: `3`, `-2`, `29.g14` (generation 14) or the raw number of a later
/// generation.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    let bad =
        || format!("{text:?} is no endpoint; write a slot like 3 or -2, or with its generation like 29.g14");
    match text.split_once(".g") {
        Some((slot, generation)) => {
            let slot = slot.parse().map_err(|_| bad())?;
            Ok(Endpoint::new(generation.parse().map_err(|_| bad())?, slot))
        }
        None => text.parse().map(Endpoint::from_raw).map_err(|_| bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;
    use dvs::Endpoint;

    #[test]
    fn endpoints_are_read_as_they_are_shown() {
        for e in [Endpoint::new(0, 3), Endpoint::new(0, -2), Endpoint::new(14, 29)] {
            assert_eq!(endpoint(&e.to_string()), Ok(e));
        }
        assert!(endpoint("three").is_err() && endpoint("3.gx").is_err());
    }
}
