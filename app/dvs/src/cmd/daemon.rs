//! `dvs daemon`: what `dvs up` starts.

use super::Context;
use crate::fail::{Done, Fail};
use crate::settings::Settings;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub struct Daemon {
    #[command(flatten)]
    settings: Settings,
}

impl Daemon {
    /// Runs until it is told to end.
    pub fn run(&self, context: &Context) -> Done {
        let (_, config) = self.settings.resolve(&context.node)?;
        dvsd::serve(config).map_err(Fail::new)?;
        Ok(ExitCode::SUCCESS)
    }
}
