//! One program this daemon has started: its process, its two pipes, and how much may be read of them.

use crate::admin::RunOrder;
use dvs_abi::Code;
use dvs_abi::limits::{
    PROGRAM_CHUNK_BYTES, PROGRAM_LINE_BYTES_MAX, PROGRAM_ORDER_BYTES_MAX, PROGRAM_REST_BYTES,
    PROGRAM_WINDOW_BYTES, RECORD_COST,
};
use dvs_linux::pidfd::PidFd;
use dvs_linux::signal::{ends_with_parent, unblocked};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Variables of the daemon's environment that its programs are given; the rest is the daemon's own business.
const VARIABLES: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"];
/// Where programs are looked for when the daemon's environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who asked for a program and is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    pub node: u16,
    /// The question there.
    pub id: u64,
}

/// Where a program is to run.
pub(crate) struct Place<'a> {
    pub node: &'a str,
    pub socket: &'a Path,
}

/// A started program.
pub(crate) struct Program {
    pub child: Child,
    pub pidfd: PidFd,
    pub pipes: [Option<Pipe>; 2],
    pub name: String,
    /// What it was started with.
    pub order: RunOrder,
    pub dc: u16,
    pub from: u16,
    pub detached: bool,
    /// `None` when nobody is told: detached, or the asker is gone.
    pub asker: Option<Asker>,
    /// How much more may be on the way to the asker.
    pub window: usize,
    /// Its exit code, when it has ended.
    pub ended: Option<i32>,
    /// How much more is read after its end.
    pub rest: usize,
    /// When it is to be looked at again, ns: killed, or read to the end.
    pub look_at: Option<u64>,
    pub started: u64,
}

/// The reading end of a pipe, and the line that is not complete.
pub(crate) struct Pipe {
    pub fd: OwnedFd,
    pub listens: bool,
    line: Vec<u8>,
}

/// What an order must be to be carried out.
pub(crate) fn check(order: &RunOrder) -> Result<(), (Code, String)> {
    let texts = || order.program.iter().chain(&order.folder);
    let bytes: usize = texts().map(|t| t.len() + 1).sum();
    if order.program.first().is_none_or(String::is_empty) {
        return Err((Code::INVAL, "there is no program".into()));
    }
    if bytes > PROGRAM_ORDER_BYTES_MAX {
        let text = format!("program and arguments have {bytes} bytes, {PROGRAM_ORDER_BYTES_MAX} is the most");
        return Err((Code::TOOBIG, text));
    }
    if texts().any(|t| t.contains('\0')) {
        return Err((Code::INVAL, "an argument contains a zero byte".into()));
    }
    Ok(())
}

/// What a program is called: the last part of its path.
pub(crate) fn name(program: &str) -> String {
    Path::new(program).file_name().map_or(program.into(), |n| n.to_string_lossy().into_owned())
}

/// Starts it in a process group of its own, with a small environment and nothing to read.
pub(crate) fn start(order: &RunOrder, place: &Place<'_>) -> io::Result<(Child, PidFd, [Option<Pipe>; 2])> {
    let mut command = Command::new(&order.program[0]);
    command.args(&order.program[1..]).env_clear().env("PATH", PATH);
    command.envs(VARIABLES.iter().filter_map(|v| Some((v, std::env::var_os(v)?))));
    command
        .env("DVS_SOCKET", std::path::absolute(place.socket)?)
        .env("DVS_NODE", place.node)
        .env("DVS_DC", order.dc.to_string())
        .env("DVS_ENDPOINT", order.endpoint.to_string());
    if let Some(folder) = &order.folder {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = ends_with_parent(unblocked(&mut command)).spawn()?;
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let held = PidFd::open(child.id()).and_then(|pidfd| {
        for pipe in pipes.iter().flatten() {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(pidfd)
    });
    match held {
        Ok(pidfd) => Ok((child, pidfd, pipes.map(|p| p.map(Pipe::new)))),
        Err(e) => {
            // It is not held, so it must not run: killed and gone before anybody was told of it.
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

/// What was read of a pipe.
pub(crate) enum Read {
    Bytes(Vec<u8>),
    /// Nothing is there now.
    Nothing,
    /// Nothing will come.
    End,
}

impl Pipe {
    fn new(fd: OwnedFd) -> Self {
        Pipe { fd, listens: false, line: Vec::new() }
    }

    /// Hands every line that `bytes` completes to `each`; what is longer than the bound is cut into lines.
    pub(crate) fn lines(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            for piece in part.chunks(PROGRAM_LINE_BYTES_MAX) {
                if self.line.len() + piece.len() > PROGRAM_LINE_BYTES_MAX {
                    each(&std::mem::take(&mut self.line));
                }
                self.line.extend_from_slice(piece);
            }
            if part.ends_with(b"\n") {
                each(&std::mem::take(&mut self.line));
            }
        }
    }

    /// The line that was not completed.
    pub(crate) fn last_line(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.line)).filter(|l| !l.is_empty())
    }
}

impl Program {
    /// A program that was started for somebody.
    pub(crate) fn new(
        order: &RunOrder,
        asker: Asker,
        started: u64,
        (child, pidfd, pipes): (Child, PidFd, [Option<Pipe>; 2]),
    ) -> Self {
        Program {
            child,
            pidfd,
            pipes,
            name: name(&order.program[0]),
            order: order.clone(),
            dc: order.dc,
            from: asker.node,
            detached: order.detach,
            asker: (!order.detach).then_some(asker),
            window: PROGRAM_WINDOW_BYTES,
            ended: None,
            rest: PROGRAM_REST_BYTES,
            look_at: None,
            started,
        }
    }

    /// Whether it may be read: nobody is told, or there is room on the way.
    pub(crate) fn may_read(&self) -> bool {
        self.asker.is_none() || self.window > RECORD_COST
    }

    /// Reads a piece of one of its pipes.
    pub(crate) fn read(&mut self, pipe: usize) -> Read {
        let Some(p) = &self.pipes[pipe] else { return Read::End };
        let mut room = PROGRAM_CHUNK_BYTES;
        if self.asker.is_some() {
            room = room.min(self.window.saturating_sub(RECORD_COST));
        }
        if self.ended.is_some() {
            room = room.min(self.rest);
        }
        if room == 0 {
            return Read::Nothing;
        }
        let mut bytes = vec![0; room];
        match rustix::io::read(&p.fd, &mut bytes) {
            Ok(0) => Read::End,
            Ok(n) => {
                bytes.truncate(n);
                if self.asker.is_some() {
                    self.window -= n + RECORD_COST;
                }
                if self.ended.is_some() {
                    self.rest -= n;
                }
                Read::Bytes(bytes)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Read::Nothing,
            Err(_) => Read::End,
        }
    }

    /// Looks whether it has ended; its exit code, or 128 + N after signal N.
    pub(crate) fn reap(&mut self) -> Option<i32> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        self.ended
    }

    /// Signals it and what it started; false when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        // While it is not reaped, its number is nobody else's.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        self.reap().is_none() && group.is_some_and(|g| kill_process_group(g, signal).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pipe, check};
    use crate::admin::RunOrder;
    use dvs_abi::Code;
    use dvs_abi::limits::{PROGRAM_LINE_BYTES_MAX, PROGRAM_ORDER_BYTES_MAX};

    fn order(program: &[&str]) -> RunOrder {
        let program = program.iter().map(|s| s.to_string()).collect();
        RunOrder { dc: 0, endpoint: 0, program, folder: None, detach: false }
    }

    #[test]
    fn an_order_is_checked_before_it_is_carried_out() {
        assert_eq!(check(&order(&["true", ""])), Ok(()));
        let code = |o: &RunOrder| check(o).unwrap_err().0;
        assert_eq!(code(&order(&[])), Code::INVAL);
        assert_eq!(code(&order(&[""])), Code::INVAL);
        assert_eq!(code(&order(&["a", "b\0"])), Code::INVAL);
        assert_eq!(code(&order(&["a", &"b".repeat(PROGRAM_ORDER_BYTES_MAX)])), Code::TOOBIG);
        let folder = Some("a\0b".to_string());
        assert_eq!(code(&RunOrder { folder, ..order(&["a"]) }), Code::INVAL);
    }

    #[test]
    fn output_becomes_lines_however_it_arrives() {
        let (fd, _writer) = rustix::pipe::pipe().unwrap();
        let mut pipe = Pipe::new(fd);
        let mut lines = Vec::new();
        for bytes in [&b"on"[..], b"e\ntwo\n\nth", b"ree"] {
            pipe.lines(bytes, |l| lines.push(String::from_utf8_lossy(l).into_owned()));
        }
        assert_eq!(lines, ["one\n", "two\n", "\n"]);
        assert_eq!(pipe.last_line().as_deref(), Some(&b"three"[..]));
        assert_eq!(pipe.last_line(), None);
        let mut lengths = Vec::new();
        pipe.lines(&[b'x'; 3 * PROGRAM_LINE_BYTES_MAX + 1], |l| lengths.push(l.len()));
        assert_eq!(lengths, [PROGRAM_LINE_BYTES_MAX; 3]);
        assert_eq!(pipe.last_line().map(|l| l.len()), Some(1));
    }
}
