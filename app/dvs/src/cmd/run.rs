//! `dvs run`: starts a program that finds this node, may bind it first, and copies its lines to the log.

use crate::cli::{Cli, Run};
use crate::connect;
use anyhow::{Context, Result};
use dvs_ipc::control::{BindKind, Request};
use dvsd::admin::AdminRequest;
use dvsd::client::AdminClient;
use dvsd::paths;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Longest line that is kept whole in the log.
const LINE_BYTES: usize = 4096;

/// Runs the program to its end; its exit code is ours (128 + signal when it was killed).
pub fn run(cli: &Cli, run: &Run) -> Result<ExitCode> {
    let container = connect::container(cli, &run.dc)?;
    let endpoint = run.endpoint.as_deref().map(connect::endpoint).transpose()?;
    let dir = connect::dir(cli);
    let (program, args) = run.program.split_first().context("name a program after `--`")?;
    let name = Path::new(program).file_name().map_or(program.clone(), |n| n.to_string_lossy().into_owned());
    let mut child = Command::new(program)
        .args(args)
        .env(paths::SOCKET_VARIABLE, paths::session_socket(&dir))
        .env("DVS_DC", container.dc.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    if let Some(endpoint) = endpoint {
        let (kind, pid, board) = (BindKind::Local, child.id(), u32::MAX);
        let (dc, endpoint, node) = (container.dc, endpoint.raw(), 0);
        let bind = Request::Bind { kind, dc, endpoint, pid, node, name: name.clone(), board };
        if let Err(e) = connect::call(cli, bind) {
            // It must not run on without what it was promised.
            let _ = child.kill();
            let _ = child.wait();
            return Err(e.context(format!("{program} could not be bound, so it was stopped")));
        }
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|s| {
        s.spawn(|| out.map(|o| copy(o, &mut std::io::stdout(), &dir, &name)));
        s.spawn(|| err.map(|e| copy(e, &mut std::io::stderr(), &dir, &name)));
    });
    let status = child.wait()?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Copies lines to where the program would have written them, and to the log.
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
