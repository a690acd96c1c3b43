//! The peer: three etcd (Debian packages `etcd-server` and `etcd-client`) with their defaults.

use crate::{VOTERS, first_done};
use dvs_cluster::lab::{Lab, Programs, until};
use dvs_linux::clock;
use dvs_linux::testing::own_address;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// Three etcd on machines like ours.
pub(crate) struct Etcd {
    lab: Lab,
    folder: tempfile::TempDir,
    members: Vec<Child>,
}

impl Etcd {
    pub(crate) fn start(programs: Programs) -> Option<Etcd> {
        let folder = tempfile::tempdir().ok()?;
        let mut etcd = Etcd { lab: Lab::bare(programs, VOTERS)?, folder, members: Vec::new() };
        for n in 0..VOTERS {
            match etcd.command(n).spawn() {
                Ok(member) => etcd.members.push(member),
                Err(e) => {
                    println!("etcd could not run: {e}");
                    return None;
                }
            }
        }
        until("etcd has a leader", || etcd.leader().is_some());
        Some(etcd)
    }

    fn command(&self, n: usize) -> Command {
        let at = |n: usize, port: u16| format!("http://10.99.0.{}:{port}", n + 1);
        let all: Vec<String> = (0..VOTERS).map(|m| format!("e{m}={}", at(m, 2380))).collect();
        let mut c = self.lab.command(n, "etcd");
        c.args(["--name", &format!("e{n}"), "--initial-cluster", &all.join(",")]);
        c.args(["--listen-peer-urls", &at(n, 2380), "--initial-advertise-peer-urls", &at(n, 2380)]);
        c.args(["--listen-client-urls", &at(n, 2379), "--advertise-client-urls", &at(n, 2379)]);
        c.arg("--data-dir").arg(self.folder.path().join(format!("e{n}")));
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        c
    }

    /// Who leads, by its own word.
    fn leader(&self) -> Option<usize> {
        (0..VOTERS).find(|n| {
            let mut c = self.lab.command(*n, "etcdctl");
            c.env("ETCDCTL_API", "3").args(["--endpoints", &format!("10.99.0.{}:2379", n + 1)]);
            let said = c.args(["endpoint", "status"]).stderr(Stdio::null()).output();
            // Address, number, version, size, whether it leads, …
            said.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).split(", ").nth(4) == Some("true"))
        })
    }

    /// Kills its leader; how long until a put is done on another machine.
    pub(crate) fn killed(&mut self) -> Option<u64> {
        until("etcd has a leader", || self.leader().is_some());
        let leader = self.leader()?;
        let asked = (leader + 1) % VOTERS;
        let me = std::env::current_exe().ok()?;
        let mut c = self.lab.command(asked, &me.display().to_string());
        c.args(["probe", &format!("10.99.0.{}:2379", asked + 1)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut probe = c.spawn().ok()?;
        let mut output = BufReader::new(probe.stdout.take()?);
        let mut line = String::new();
        output.read_line(&mut line).ok()?;
        let begun = clock::now();
        self.members[leader].kill().ok()?;
        writeln!(probe.stdin.take()?, "go").ok()?;
        line.clear();
        output.read_line(&mut line).ok()?;
        let done: u64 = line.trim().parse().ok()?;
        let _ = (probe.wait(), self.members[leader].wait());
        self.members[leader] = self.command(leader).spawn().ok()?;
        let all = |e: &Etcd| (0..VOTERS).all(|n| put(&format!("10.99.0.{}:2379", n + 1), e, n));
        until("etcd is whole", || all(self));
        Some(done.saturating_sub(begun))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// Whether a put at this machine is done.
fn put(address: &str, etcd: &Etcd, n: usize) -> bool {
    let mut c = etcd.lab.command(n, "etcdctl");
    c.env("ETCDCTL_API", "3").args(["--endpoints", address, "--command-timeout", "1s", "put", "a", "b"]);
    c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

pub(crate) fn probe(address: &str) {
    println!("ready");
    let mut line = String::new();
    // An end of the input: nobody wants to know.
    if !std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {
        return;
    }
    let address = address.to_owned();
    println!("{}", first_done(move || post(&address).unwrap_or(false)));
}

/// One put over etcd's own HTTP gateway.
fn post(address: &str) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let body = r#"{"key":"YQ==","value":"Yg=="}"#;
    let length = body.len();
    write!(
        socket,
        "POST /v3/kv/put HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: \
         close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// Three etcd that share the loopback.
pub(crate) struct Neighbours {
    members: Vec<Child>,
    clients: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Neighbours {
    /// Starts them; nothing when there is no etcd here.
    pub(crate) fn start() -> Option<Neighbours> {
        let folder = tempfile::tempdir().ok()?;
        let addresses = || (0..VOTERS).map(|_| own_address()).collect::<Vec<SocketAddr>>();
        let (peers, clients) = (addresses(), addresses());
        let all: Vec<String> = peers.iter().enumerate().map(|(n, at)| format!("e{n}=http://{at}")).collect();
        let mut here = Neighbours { members: Vec::new(), clients, _folder: folder };
        for (n, peer) in peers.iter().enumerate() {
            let (peer, client) = (format!("http://{peer}"), format!("http://{}", here.clients[n]));
            let mut c = Command::new("etcd");
            c.args(["--name", &format!("e{n}"), "--initial-cluster", &all.join(",")]);
            c.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            c.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            c.arg("--data-dir").arg(here._folder.path().join(format!("e{n}")));
            c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            here.members.push(c.spawn().map_err(|e| println!("etcd could not run: {e}")).ok()?);
        }
        let puts = |at: &SocketAddr| post(&at.to_string()).unwrap_or(false);
        until("etcd takes puts", || here.clients.iter().all(puts));
        Some(here)
    }

    /// Where clients connect, as the load's program wants it.
    pub(crate) fn list(&self) -> String {
        self.clients.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
