//! `dvs mount`: the files of a container as a directory of this machine, in the foreground.

use super::Context;
use super::fs::{SERVICE, failed};
use crate::fail::{Done, Fail};
use crate::node;
use crate::output::say;
use dvs::{DcId, Endpoint};
use dvs_fuse::{Mount as Mounted, MountError, Options};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  dvs mount shop /mnt/shop            until Ctrl-C
  dvs mount shop /mnt/shop --private  for this user alone

Programs see an ordinary directory. What a program of one node has written and closed, one of another \
node sees when it opens the file, a second later at most.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Mount {
    /// Name or number of the container
    dc: String,
    /// An empty directory
    dir: PathBuf,
    /// The endpoint of the file server
    #[arg(long, value_parser = node::endpoint, default_value_t = SERVICE, allow_hyphen_values = true)]
    endpoint: Endpoint,
    /// Other users of this machine may not use it
    #[arg(long)]
    private: bool,
    /// Keep what is written until a file is closed or synced: faster, but this machine does not see what
    /// others write to files it has used
    #[arg(long)]
    writeback: bool,
    /// How long this machine may believe what it knows of names and files, ms
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    ttl: u64,
}

impl Mount {
    /// Serves until it is ended.
    pub fn run(&self, context: &Context) -> Done {
        let dc = context.node.container(&self.dc)?;
        // Before there are threads: they inherit it.
        let signals = dvs_linux::signal::termination().map_err(Fail::new)?;
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-mount")?;
        let options = Options {
            name: dc.name.clone(),
            others: !self.private,
            writeback: self.writeback,
            ttl: Duration::from_millis(self.ttl),
            ..Options::default()
        };
        let at = (DcId(dc.dc), self.endpoint);
        let mount = Mounted::new(&process, at, &self.dir, &options).map_err(|e| match e {
            MountError::Bind(e) => Fail::from(e),
            MountError::Server(e) => failed(e, "the file server"),
            e @ MountError::Host(..) => Fail::new(e).next("it needs an empty directory, and root"),
        })?;
        say(&format!("{} is at {}", dc.name, self.dir.display()));
        let _ = dvs_linux::signal::next(&signals);
        mount.unmount().map_err(|e| Fail::new(e).of(self.dir.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
