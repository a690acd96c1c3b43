//! A program of this machine in the foreground: a child of this command, with its terminal, folder and
//! environment. The node's daemon is given its lines for the log.

use crate::fail::{Done, Fail};
use crate::node::Node;
use dvs::{Endpoint, limits};
use dvs_linux::paths;
use dvsd::admin::AdminRequest;
use dvsd::client::AdminClient;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What is to run, and as what.
pub struct Job<'a> {
    pub dc: u16,
    pub endpoint: Endpoint,
    pub program: &'a str,
    pub arguments: &'a [String],
    pub folder: Option<&'a Path>,
}

/// Runs it to its end.
pub fn run(node: &Node, job: &Job<'_>) -> Done {
    let program = job.program;
    let mut command = Command::new(program);
    command
        .args(job.arguments)
        .env("DVS_SOCKET", node.session_socket())
        .env("DVS_NODE", node.name())
        .env("DVS_DC", job.dc.to_string())
        .env("DVS_ENDPOINT", job.endpoint.raw().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(folder) = job.folder {
        command.current_dir(folder);
    }
    let mut child = command.spawn().map_err(|e| {
        let place = job.folder.map_or(String::new(), |f| format!(" in {}", f.display()));
        Fail::new(e).of(format!("cannot run {program}{place}"))
    })?;
    let name = Path::new(program).file_name().map_or(program.into(), |n| n.to_string_lossy().into_owned());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|s| {
        s.spawn(|| out.map(|o| copy(o, &mut std::io::stdout(), node.dir(), &name)));
        s.spawn(|| err.map(|e| copy(e, &mut std::io::stderr(), node.dir(), &name)));
    });
    let ended = child.wait().map_err(Fail::new)?;
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    Ok(ExitCode::from(code as u8))
}

/// Copies lines to where the program would have written them, and to the node's log.
fn copy(from: impl Read, to: &mut impl Write, dir: &Path, name: &str) {
    let mut log = AdminClient::connect(&paths::admin_socket(dir)).ok();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // A terminal that is gone does not stop the program.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.truncate(limits::PROGRAM_LINE_BYTES_MAX);
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        let request = AdminRequest::Log { subject: name.into(), lines: vec![text] };
        if log.as_mut().is_some_and(|l| l.all(&request).is_err()) {
            log = None;
        }
        line.clear();
    }
}
