//! `dvs key`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::say;
use crate::settings::Settings;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  dvs key

By its fingerprint the other nodes know this one; dvs nodes --output json shows those of all.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Key {
    #[command(flatten)]
    settings: Settings,
}

impl Key {
    /// Makes the key if there is none, and shows its fingerprint.
    pub fn run(&self, context: &Context) -> Done {
        let (_, config) = self.settings.resolve(&context.node)?;
        say(&dvsd::fingerprint(&config).map_err(Fail::new)?);
        Ok(ExitCode::SUCCESS)
    }
}
