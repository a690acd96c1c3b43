//! `dvs files`: the file service of a node, in the foreground.

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use crate::output::say;
use dvs::{Code, DcId, Endpoint, Port, Process};
use dvs_files::{Server, Tree};
use std::path::PathBuf;
use std::process::ExitCode;

/// What its process is called; `dvs cp` looks for this name.
pub const NAME: &str = "dvs-files";
/// Slots it takes when none are given: the well-known one, then the last of the system slots.
const SLOTS: [i32; 11] = [14, 28, 27, 26, 25, 24, 23, 13, 12, 11, 10];

const EXAMPLES: &str = "\
Examples:
  dvs files shop --root /srv/data         serve a folder to container shop
  dvs files shop --root / --read-only     only to be copied from
  dvs files shop --root /srv/data --endpoint 14,28

Everybody in the container may read (and, without --read-only, write) what is below the folder, with \
the rights of the user who started this. No path and no link leads out of it. Ends with Ctrl-C.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Files {
    /// Name or number of the container
    dc: String,
    /// The folder to serve
    #[arg(long, value_name = "FOLDER")]
    root: PathBuf,
    /// Only let it be read
    #[arg(long)]
    read_only: bool,
    /// The endpoints to serve at, one request at a time each (default: the first free of the system slots)
    #[arg(long, value_parser = node::endpoint, value_delimiter = ',', allow_hyphen_values = true)]
    endpoint: Vec<Endpoint>,
    /// How many endpoints to take when none are named
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8), value_name = "N")]
    workers: u8,
}

impl Files {
    /// Serves until it is ended.
    pub fn run(&self, context: &Context) -> Done {
        // Before anything is bound: a folder that is not there.
        self.tree()?;
        let dc = DcId(context.node.container(&self.dc)?.dc);
        let process = dvs::attach_to(&context.node.session_socket(), NAME)?;
        loop {
            let (threads, bound) = self.start(&process, dc)?;
            let list: Vec<String> = bound.iter().map(Endpoint::to_string).collect();
            say(&format!("serving {} at endpoints {} of {}", self.root.display(), list.join(", "), self.dc));
            let mut over = true;
            for t in threads {
                let Ok(e) = t.join() else { return Err(Fail::new("a worker of the file service panicked")) };
                match e.code {
                    Code::SHUTDOWN => {}
                    // The node was taken for lost, and all endpoints here with it.
                    Code::NOTBIND => over = false,
                    _ => return Err(Fail::from(e)),
                }
            }
            if over {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    fn tree(&self) -> Done<Tree> {
        let opened = Tree::open(&self.root, self.read_only);
        opened.map_err(|e| Fail::usage(e).of(self.root.display()).next("name a folder with --root"))
    }

    fn start(&self, process: &Process, dc: DcId) -> Done<(Vec<Worker>, Vec<Endpoint>)> {
        let (mut threads, mut bound) = (Vec::new(), Vec::new());
        let named = !self.endpoint.is_empty();
        let wanted = if named { self.endpoint.len() } else { usize::from(self.workers) };
        let candidates =
            if named { self.endpoint.clone() } else { SLOTS.map(|s| Endpoint::new(0, s)).to_vec() };
        for at in candidates {
            if bound.len() == wanted {
                break;
            }
            match process.bind(dc, at) {
                Ok(port) => {
                    bound.push(at);
                    threads.push(serve(port, self.tree()?));
                }
                Err(e) if e.code == Code::SLOTUSED && !named => {}
                Err(e) => return Err(Fail::from(e).of(format!("cannot serve at endpoint {at}"))),
            }
        }
        if bound.is_empty() {
            return Err(Fail::new("no system slot is free").next("name one with --endpoint; see dvs ps"));
        }
        Ok((threads, bound))
    }
}

type Worker = std::thread::JoinHandle<dvs::Error>;

fn serve(port: Port, tree: Tree) -> Worker {
    std::thread::spawn(move || Server::new(tree).serve(&port))
}
