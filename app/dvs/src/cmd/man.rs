//! `dvs man`

mod pages;

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
    /// Write the pages of docs/reference/commands instead
    #[arg(long, hide = true)]
    markdown: bool,
}

impl Man {
    /// Writes one page a sub-command.
    pub fn run(&self) -> Done {
        let fail = |e: std::io::Error| Fail::new(e).of(self.folder.display());
        std::fs::create_dir_all(&self.folder).map_err(fail)?;
        if self.markdown {
            for (name, text) in pages::pages(Cli::command()) {
                std::fs::write(self.folder.join(name), text).map_err(fail)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        clap_mangen::generate_to(Cli::command(), &self.folder).map_err(fail)?;
        Ok(ExitCode::SUCCESS)
    }
}
