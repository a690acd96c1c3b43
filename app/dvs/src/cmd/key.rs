//! `dvs key`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::say;
use dvsd::Config;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  dvs key --config node1.toml

The fingerprint goes into the node lists of the other nodes.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Key {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Key {
    /// Makes the key if there is none, and shows its fingerprint.
    pub fn run(&self, context: &Context) -> Done {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(Fail::usage)?,
            None => Config::single(context.node.name()),
        };
        say(&dvsd::fingerprint(&config).map_err(Fail::new)?);
        Ok(ExitCode::SUCCESS)
    }
}
