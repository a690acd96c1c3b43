//! `dvs daemon`: what `dvs up` starts.

use crate::fail::{Done, Fail};
use dvsd::Config;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub struct Daemon {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's name when there is no file
    #[arg(long, value_name = "NAME", default_value = "node0")]
    name: String,
}

impl Daemon {
    /// Runs until it is told to end.
    pub fn run(&self) -> Done {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(Fail::usage)?,
            None => Config::single(&self.name),
        };
        dvsd::serve(config).map_err(Fail::new)?;
        Ok(ExitCode::SUCCESS)
    }
}
