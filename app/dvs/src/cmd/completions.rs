//! `dvs completions`

use crate::cli::Cli;
use crate::fail::Done;
use clap::CommandFactory;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  dvs completions bash > /etc/bash_completion.d/dvs")]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Writes them to standard output.
    pub fn run(&self) -> Done {
        clap_complete::generate(self.shell, &mut Cli::command(), "dvs", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}
