//! `dvs up`

use super::Context;
use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::output::{self, Format, say};
use crate::settings::Settings;
use std::fs::OpenOptions;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a daemon that answers may take to hear of a majority of the nodes.
const MEET: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  dvs up                            a system of one node; or this node again
  dvs up --listen 192.0.2.1:7400    where other nodes are to reach it
  dvs up --config node1.toml        see docs/reference/configuration.md

More machines: dvs token here, dvs join there.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    #[command(flatten)]
    settings: Settings,
    /// Stay in the foreground
    #[arg(long)]
    foreground: bool,
}

impl Up {
    /// Starts a node that has joined.
    pub fn joined(settings: &Settings) -> Up {
        Up { settings: settings.clone(), foreground: false }
    }

    /// Starts the daemon and waits until it answers.
    pub fn run(&self, context: &Context) -> Done {
        let (node, _) = self.settings.resolve(&context.node)?;
        if node.status().is_ok() {
            let runs = format!("node {} runs already", node.name());
            return Err(Fail::new(runs).next("see it with: dvs status"));
        }
        let mut command = Command::new(std::env::current_exe().map_err(Fail::new)?);
        command.arg("daemon");
        self.settings.pass(&node, &mut command);
        if self.foreground {
            return Err(Fail::new(command.exec()));
        }
        let log = self.log_file(&node)?;
        let mut child = self.detach(command, &log)?;
        let status = wait(&node, &mut child, &log)?;
        if context.output == Format::Json {
            output::json(&status)?;
            return Ok(ExitCode::SUCCESS);
        }
        say(&format!("node {} (n{}) runs, pid {}", status.name, status.node, status.pid));
        if !status.cluster.begun {
            say("  it waits for the other nodes: no majority of them was reached yet; see: dvs nodes");
        }
        say(&format!("  log {}", log.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn log_file(&self, node: &Node) -> Done<PathBuf> {
        let folder = node.dir().parent().unwrap_or(node.dir()).to_path_buf();
        let fail = |e: std::io::Error| Fail::new(e).of(folder.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fail)?;
        Ok(folder.join(format!("{}.log", node.name())))
    }

    fn detach(&self, mut command: Command, log: &PathBuf) -> Done<Child> {
        let fail = |e: std::io::Error| Fail::new(e).of(log.display());
        let file = OpenOptions::new().create(true).append(true).open(log).map_err(fail)?;
        let errors = file.try_clone().map_err(fail)?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        // Its own group: the terminal's Ctrl-C is not meant for it.
        command.process_group(0);
        command.spawn().map_err(|e| Fail::new(e).of("cannot start the daemon"))
    }
}

fn wait(node: &Node, child: &mut Child, log: &std::path::Path) -> Done<dvsd::admin::Status> {
    let start = Instant::now();
    loop {
        if let Ok(status) = node.status()
            && (status.cluster.begun || start.elapsed() > MEET)
        {
            return Ok(status);
        }
        let tail = || {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            text.lines().last().unwrap_or("it said nothing").trim_start_matches("dvs: ").to_string()
        };
        if child.try_wait().map_err(Fail::new)?.is_some() {
            return Err(
                Fail::new(format!("the daemon ended: {}", tail())).next(format!("see {}", log.display()))
            );
        }
        if start.elapsed() > PATIENCE {
            return Err(Fail::new(format!("the daemon does not answer: {}", tail())));
        }
        // tidy: the daemon makes its socket at an unknown moment; there is no event to wait for
        std::thread::sleep(Duration::from_millis(10));
    }
}
