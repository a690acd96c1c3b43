//! `dvs daemon`: what `dvs up` starts.

use super::Context;
use crate::fail::{Done, Fail};
use dvsd::Config;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub struct Daemon {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Daemon {
    /// Runs until it is told to end.
    pub fn run(&self, context: &Context) -> Done {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(Fail::usage)?,
            None => Config {
                runtime_dir: Some(context.node.dir().clone()),
                ..Config::single(context.node.name())
            },
        };
        dvsd::serve(config).map_err(Fail::new)?;
        Ok(ExitCode::SUCCESS)
    }
}
