//! The command line of a measured program: `PROGRAM NAME [pingpong|many] [options]` prints one number.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::child::die_with_parent;
use crate::{Ask, Side, net_address, pair};

/// One call of a client: request out, answer in.
pub type Op = Box<dyn FnMut() -> Result<()>>;

/// Exit code of a program that cannot run here; the reason is the last line on its standard error.
const CANNOT_RUN: u8 = 3;

/// How server and clients of a peer reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By a name in the scratch folder, on one machine.
    Local,
    /// By an IP address, from one machine to another.
    Net,
}

impl Reach {
    pub(crate) fn server(self) -> Side {
        match self {
            Reach::Local => Side::Here,
            Reach::Net => Side::B,
        }
    }
}

/// A peer with a server and clients.
pub struct Peer {
    /// The word of the command line.
    pub name: &'static str,
    /// How they reach each other.
    pub reach: Reach,
    /// Serves at an address for ever; says [`crate::ready`] once it accepts.
    pub serve: fn(&str) -> Result<()>,
    /// Connects a client.
    pub connect: fn(&str) -> Result<Op>,
}

impl Peer {
    /// A path nobody else uses, or the server's IP address.
    pub(crate) fn listen_at(&self) -> String {
        let folder = std::env::var("DVS_BENCH_DIR").unwrap_or_else(|_| "/tmp".into());
        match self.reach {
            Reach::Local => format!("{folder}/{}-{}.sock", self.name, std::process::id()),
            Reach::Net => net_address(),
        }
    }
}

/// A measurement that arranges its processes itself.
pub struct Solo {
    /// The word of the command line.
    pub name: &'static str,
    /// Measures; the number is printed.
    pub run: fn(&Ask) -> Result<f64>,
}

/// The whole of a measured program.
pub fn main(peers: &[Peer], solos: &[Solo]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match die_with_parent().and_then(|()| dispatch(peers, solos, &words)) {
        Ok(Some(number)) => {
            println!("{number}");
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

fn dispatch(peers: &[Peer], solos: &[Solo], words: &[String]) -> Result<Option<f64>> {
    let Some((name, rest)) = words.split_first() else { bail!("which one? {}", names(peers, solos)) };
    if let Some(solo) = solos.iter().find(|s| s.name == name) {
        return (solo.run)(&Ask::parse(rest)?).map(Some);
    }
    let Some(peer) = peers.iter().find(|p| p.name == name) else {
        bail!("unknown: {name}; there are {}", names(peers, solos))
    };
    let Some((role, rest)) = rest.split_first() else { bail!("{name} what? pingpong or many") };
    match (role.as_str(), rest) {
        ("pingpong", rest) => pair::pingpong(peer, &Ask::parse(rest)?).map(Some),
        ("many", rest) => pair::many(peer, &Ask::parse(rest)?).map(Some),
        ("serve", [address, rest @ ..]) => {
            Ask::parse(rest)?.place.take(true)?;
            (peer.serve)(address).map(|()| None)
        }
        ("client-pingpong", [address, rest @ ..]) => {
            let ask = Ask::parse(rest)?;
            ask.place.take(false)?;
            pair::client_pingpong(peer, address, &ask).map(|()| None)
        }
        ("client-many", [address, rest @ ..]) => {
            Ask::parse(rest)?.place.take(false)?;
            pair::client_many(peer, address).map(|()| None)
        }
        _ => bail!("{name} {role}: pingpong or many"),
    }
}

fn names(peers: &[Peer], solos: &[Solo]) -> String {
    let all: Vec<&str> = peers.iter().map(|p| p.name).chain(solos.iter().map(|s| s.name)).collect();
    all.join(", ")
}
