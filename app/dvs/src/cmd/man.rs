//! `dvs man`

use crate::cli::Cli;
use crate::fail::{Done, Fail};
use clap::CommandFactory;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  dvs man /usr/local/share/man/man1 && man dvs-ps")]
pub struct Man {
    /// The folder to write dvs.1, dvs-up.1, … to
    folder: PathBuf,
}

impl Man {
    /// Writes one page a sub-command.
    pub fn run(&self) -> Done {
        let fail = |e: std::io::Error| Fail::new(e).of(self.folder.display());
        std::fs::create_dir_all(&self.folder).map_err(fail)?;
        clap_mangen::generate_to(Cli::command(), &self.folder).map_err(fail)?;
        Ok(ExitCode::SUCCESS)
    }
}
