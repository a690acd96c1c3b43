//! `dvs run`

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use dvs::Endpoint;
use dvs_linux::paths;
use dvsd::admin::AdminRequest;
use dvsd::client::AdminClient;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Longest line that is kept whole in the log.
const LINE_BYTES: usize = 4096;

const EXAMPLES: &str = "\
Examples:
  dvs run shop -- ./client
  dvs run shop --endpoint 3 -- ./server --verbose
  dvs run shop --node n1 -- ./client

The program is told where it is by DVS_SOCKET, DVS_DC and DVS_ENDPOINT: dvs::port_of_run()
binds it there. Its lines also go to the node's log (dvs logs NAME). Its exit code is that of
the program (128 + N when signal N ended it).";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Name or number of the container
    dc: String,
    /// The endpoint the program is to be (default: any free user slot)
    #[arg(long, value_parser = node::endpoint, allow_hyphen_values = true, value_name = "E")]
    endpoint: Option<Endpoint>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl Run {
    /// Runs it in the foreground.
    pub fn run(&self, context: &Context) -> Done {
        let dc = context.node.container(&self.dc)?;
        let status = context.node.status()?;
        if dc.nodes & 1 << status.node == 0 {
            return Err(Fail::new(format!("container {} does not run on node {}", dc.name, status.name))
                .next(format!("dvs dc add-node {} {}", dc.name, status.name)));
        }
        let Some((program, arguments)) = self.program.split_first() else {
            return Err(Fail::usage("no program"));
        };
        let endpoint = self.endpoint.unwrap_or(Endpoint::NONE);
        let mut child = Command::new(program)
            .args(arguments)
            .env("DVS_SOCKET", context.node.session_socket())
            .env("DVS_NODE", context.node.name())
            .env("DVS_DC", dc.dc.to_string())
            .env("DVS_ENDPOINT", endpoint.raw().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Fail::new(e).of(format!("cannot run {program}")))?;
        let name =
            Path::new(program).file_name().map_or(program.clone(), |n| n.to_string_lossy().into_owned());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|s| {
            let log = &context.node;
            s.spawn(|| out.map(|o| copy(o, &mut std::io::stdout(), log.dir(), &name)));
            s.spawn(|| err.map(|e| copy(e, &mut std::io::stderr(), log.dir(), &name)));
        });
        let ended = child.wait().map_err(Fail::new)?;
        let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
        Ok(ExitCode::from(code as u8))
    }
}

/// Copies lines to where the program would have written them, and to the node's log.
fn copy(from: impl Read, to: &mut impl Write, dir: &Path, name: &str) {
    let mut log = AdminClient::connect(&paths::admin_socket(dir)).ok();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // A terminal that is gone does not stop the program.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.truncate(LINE_BYTES);
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        let request = AdminRequest::Log { subject: name.into(), lines: vec![text] };
        if log.as_mut().is_some_and(|l| l.all(&request).is_err()) {
            log = None;
        }
        line.clear();
    }
}
