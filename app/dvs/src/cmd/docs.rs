//! `dvs completions` and `dvs man`: made from the same description as the help.

use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;

/// Prints completions.
pub fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    clap_complete::generate(shell, &mut Cli::command(), "dvs", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for `dvs` and one for each command.
pub fn man(dir: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(|| format!("writing to {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
