//! Programs started by this daemon for `dvs run`, typed here or at another node.
//!
//! ```text
//!  terminal ─ admin socket ─► daemon of that node ── CONTROL: Ask Run ──► this daemon ─ fork ─► program
//!           ◄──── parts ────                      ◄── Started, Output, Ended ──         ◄ pipes ┘
//!                                                 ── Credit, Withdraw ──►
//! ```
//! The program is a child of this daemon, so the daemon learns its true exit code. Its output is kept in the
//! log and, unless it is detached, carried to the terminal; not more than a window of it is on the way, then
//! its pipes are not read and it waits, as it would on a slow terminal.
//!
//! A program that is not detached ends with whoever waits for it: the terminal goes away (`Withdraw`), or its
//! node is declared dead. It is asked (SIGTERM), and killed [`PROGRAM_END_NS`] later. All programs end with
//! their daemon.

mod program;

pub(crate) use program::Asker;

use crate::admin::{AdminAnswer, ProgramRow, ProgramSignal, RunOrder};
use crate::daemon::Daemon;
use crate::desk::NodeRecord;
use crate::paths;
use dvs_abi::limits::{PROGRAM_END_NS, PROGRAM_WINDOW_BYTES, PROGRAMS_MAX};
use dvs_abi::{Code, Deadline};
use dvs_linux::clock;
use dvs_linux::epoll::Interest;
use program::{Place, Program, Read};
use rustix::process::Signal;
use std::collections::BTreeMap;

/// Kinds of descriptors in the poller: the process, and its two pipes.
pub(crate) const PROCESS: u64 = 9 << 32;
/// Standard output; standard error is the next kind.
pub(crate) const OUTPUT: u64 = 10 << 32;
/// See [`OUTPUT`].
pub(crate) const ERRORS: u64 = 11 << 32;
/// Pieces read of one pipe before others have their turn.
const PIECES_A_TURN: usize = 4;

/// All of them, by number.
#[derive(Default)]
pub(crate) struct Programs {
    table: BTreeMap<u32, Program>,
    last: u32,
}

impl Programs {
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.table.values().filter_map(|p| p.look_at).min()
    }

    /// Whether a process is one of them; also when it has just ended.
    pub(crate) fn has_pid(&self, pid: u32) -> bool {
        self.table.values().any(|p| p.child.id() == pid)
    }

    /// How a process ended that is one of them.
    pub(crate) fn code_of(&mut self, pid: u32) -> Option<i32> {
        self.table.values_mut().find(|p| p.child.id() == pid)?.reap()
    }

    /// What a process was started with, if it is one of them.
    pub(crate) fn order_of(&self, pid: u32) -> Option<&RunOrder> {
        self.table.values().find(|p| p.child.id() == pid).map(|p| &p.order)
    }

    fn number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if !self.table.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl Daemon {
    /// Whether a node may start, signal and read programs here.
    pub(crate) fn may_run(&self, from: u16) -> Result<(), (Code, String)> {
        if from == self.node.me().0 || self.config.remote_programs {
            return Ok(());
        }
        let text = format!(
            "node {} does not run programs for other nodes; to allow it, write remote_programs = true \
             into its configuration and start it again",
            self.config.node
        );
        Err((Code::PERM, text))
    }

    /// Starts a program for somebody, and tells the asker of it.
    pub(crate) fn run_asked(&mut self, asker: Asker, order: &RunOrder) {
        match self.run_program(asker, order) {
            Ok((program, pid)) => {
                self.tell_asker(asker, AdminAnswer::Started { program, pid });
                if order.detach {
                    self.tell_asker(asker, AdminAnswer::End);
                }
            }
            Err((code, why)) => {
                self.tell_asker(asker, AdminAnswer::Refused { code: code as i32, why });
                self.tell_asker(asker, AdminAnswer::End);
            }
        }
    }

    pub(crate) fn run_program(
        &mut self,
        asker: Asker,
        order: &RunOrder,
    ) -> Result<(u32, u32), (Code, String)> {
        self.may_run(asker.node)?;
        program::check(order)?;
        let node = self.config.node.clone();
        let container = self.node.dc_info(order.dc).ok().filter(|i| i.flags == 0);
        let container = container.ok_or_else(|| {
            (Code::DCNOTRUN, format!("container dc{} does not run on node {node}", order.dc))
        })?;
        if container.nodes & 1 << self.node.me().0 == 0 {
            let text = format!("container {} does not run on node {node}", container.name);
            return Err((Code::NODCNODE, text));
        }
        if self.programs.table.len() >= PROGRAMS_MAX {
            let text = format!("node {node} runs {PROGRAMS_MAX} programs already, the most");
            return Err((Code::NOSPC, text));
        }
        let socket = paths::session_socket(self.dir());
        let started = program::start(order, &Place { node: &node, socket: &socket }).map_err(|e| {
            let code = match e.kind() {
                std::io::ErrorKind::NotFound => Code::NOENT,
                std::io::ErrorKind::PermissionDenied => Code::PERM,
                _ => Code::IO,
            };
            let place = order.folder.as_ref().map_or(String::new(), |f| format!(" in {f}"));
            (code, format!("cannot run {}{place} on node {node}: {e}", order.program[0]))
        })?;
        let mut program = Program::new(order, asker, clock::now(), started);
        let (number, pid) = (self.programs.number(), program.child.id());
        if let Err(e) = self.poller.add(&program.pidfd, PROCESS | u64::from(number), Interest::Read) {
            // Its end would not be seen, so it must not run.
            program.signal(Signal::KILL);
            let _ = program.child.wait();
            return Err((Code::NOMEM, format!("node {node} cannot watch another program: {e}")));
        }
        let me = self.node.me().0;
        self.log.add("program", format!("n{me}.{number} {}: pid {pid}, for n{}", program.name, asker.node));
        self.programs.table.insert(number, program);
        self.listen_to_program(number);
        Ok((number, pid))
    }

    /// Tells whoever asked; he may be here.
    pub(crate) fn tell_asker(&mut self, asker: Asker, answer: AdminAnswer) {
        let record = NodeRecord::Told { id: asker.id, answer: Box::new(answer) };
        if asker.node == self.node.me().0 {
            self.on_node_record(asker.node, record);
        } else {
            self.send_node(asker.node, &record);
        }
    }

    /// Waits for output as far as there is room for it.
    fn listen_to_program(&mut self, number: u32) {
        let Some(p) = self.programs.table.get_mut(&number) else { return };
        let may = p.may_read();
        for (pipe, kind) in p.pipes.iter_mut().zip([OUTPUT, ERRORS]) {
            let Some(pipe) = pipe else { continue };
            if may != pipe.listens {
                let done = match may {
                    true => self.poller.add(&pipe.fd, kind | u64::from(number), Interest::Read),
                    false => self.poller.remove(&pipe.fd),
                };
                pipe.listens = if done.is_ok() { may } else { pipe.listens };
            }
        }
    }

    /// Something can be read of a pipe.
    pub(crate) fn program_output(&mut self, number: u32, pipe: usize) {
        for _ in 0..PIECES_A_TURN {
            if !matches!(self.read_program(number, pipe), Read::Bytes(_)) {
                break;
            }
        }
        self.listen_to_program(number);
    }

    fn read_program(&mut self, number: u32, pipe: usize) -> Read {
        let Some(p) = self.programs.table.get_mut(&number) else { return Read::End };
        let read = p.read(pipe);
        match &read {
            Read::Bytes(bytes) => {
                if let Some(pipe) = &mut p.pipes[pipe] {
                    pipe.lines(bytes, |line| self.log.add_output(&p.name, line));
                }
                if let Some(asker) = p.asker {
                    let answer = AdminAnswer::Output { error: pipe == 1, bytes: bytes.clone() };
                    self.tell_asker(asker, answer);
                }
            }
            Read::End => self.close_pipe(number, pipe),
            Read::Nothing => {}
        }
        read
    }

    fn close_pipe(&mut self, number: u32, pipe: usize) {
        let Some(p) = self.programs.table.get_mut(&number) else { return };
        let Some(mut closed) = p.pipes[pipe].take() else { return };
        if closed.listens {
            let _ = self.poller.remove(&closed.fd);
        }
        if let Some(line) = closed.last_line() {
            self.log.add_output(&p.name, &line);
        }
    }

    /// The process has ended, or it is time to look at it.
    pub(crate) fn program_news(&mut self, number: u32) {
        let Some(p) = self.programs.table.get_mut(&number) else { return };
        p.look_at = None;
        let Some(code) = p.reap() else {
            p.signal(Signal::KILL);
            p.look_at = Some(clock::now() + PROGRAM_END_NS);
            return;
        };
        // Its sessions are about to be found dead: they ended like this.
        let pid = p.child.id();
        for conn in self.conns.values_mut().filter(|c| c.peer.pid == pid) {
            conn.ended = Some(code);
        }
        let _ = self.poller.remove(&p.pidfd);
        for pipe in 0..2 {
            while matches!(self.read_program(number, pipe), Read::Bytes(_)) {}
        }
        let Some(p) = self.programs.table.get(&number) else { return };
        if !p.may_read() && p.rest > 0 {
            // The rest of its output waits for the terminal; what is read of it then brings us here again.
            return self.listen_to_program(number);
        }
        (0..2).for_each(|pipe| self.close_pipe(number, pipe));
        let Some(p) = self.programs.table.remove(&number) else { return };
        let me = self.node.me().0;
        self.log.add("program", format!("n{me}.{number} {} ended with {code}", p.name));
        self.move_program_over(number, code);
        if let Some(asker) = p.asker {
            self.tell_asker(asker, AdminAnswer::Ended { code });
            self.tell_asker(asker, AdminAnswer::End);
        }
        self.hear_again();
    }

    /// Some of a program's output has reached whoever asked for it.
    pub(crate) fn program_credit(&mut self, asker: Asker, bytes: u32) {
        let found = self.programs.table.iter_mut().find(|(_, p)| p.asker == Some(asker));
        let Some((&number, p)) = found else { return };
        p.window = p.window.saturating_add(bytes as usize).min(PROGRAM_WINDOW_BYTES);
        if p.ended.is_some() {
            p.look_at = Some(0);
        } else {
            self.listen_to_program(number);
        }
    }

    /// Whoever asked does not wait any more.
    pub(crate) fn program_withdrawn(&mut self, asker: Asker) {
        let found = self.programs.table.iter_mut().find(|(_, p)| p.asker == Some(asker));
        let Some((&number, p)) = found else { return };
        p.asker = None;
        self.end_program(number);
        self.listen_to_program(number);
    }

    /// Asks a program to end; it is made to, if it does not.
    pub(crate) fn end_program(&mut self, number: u32) {
        let Some(p) = self.programs.table.get_mut(&number) else { return };
        p.signal(Signal::TERM);
        let patience = if p.ended.is_some() { 0 } else { PROGRAM_END_NS };
        p.look_at = Some(clock::now() + patience);
    }

    /// A node was declared dead: what was typed there ends.
    pub(crate) fn programs_node_down(&mut self, node: u16) {
        let askers = self.programs.table.values().filter_map(|p| p.asker).filter(|a| a.node == node);
        for asker in askers.collect::<Vec<_>>() {
            self.program_withdrawn(asker);
        }
    }

    /// Looks at those whose time has come.
    pub(crate) fn programs_expire(&mut self) {
        let now = clock::now();
        let due = self.programs.table.iter().filter(|(_, p)| p.look_at.is_some_and(|at| at <= now));
        for number in due.map(|(n, _)| *n).collect::<Vec<_>>() {
            self.program_news(number);
        }
    }

    /// Signals a program.
    pub(crate) fn program_signal(
        &mut self,
        from: u16,
        number: u32,
        signal: ProgramSignal,
    ) -> Result<(), (Code, String)> {
        self.may_run(from)?;
        let signal = match signal {
            ProgramSignal::Interrupt => Signal::INT,
            ProgramSignal::HangUp => Signal::HUP,
            ProgramSignal::Terminate => Signal::TERM,
            ProgramSignal::Kill => Signal::KILL,
        };
        match self.programs.table.get_mut(&number).is_some_and(|p| p.signal(signal)) {
            true => Ok(()),
            false => Err((Code::SRCH, format!("node {} runs no program {number}", self.config.node))),
        }
    }

    /// What runs.
    pub(crate) fn program_rows(&self) -> Vec<ProgramRow> {
        let (node, now) = (self.node.me().0, clock::now());
        let row = |(&program, p): (&u32, &Program)| ProgramRow {
            node,
            program,
            dc: p.dc,
            pid: p.child.id(),
            name: p.name.clone(),
            from: p.from,
            detached: p.detached,
            running_ms: now.saturating_sub(p.started) / 1_000_000,
        };
        self.programs.table.iter().filter(|(_, p)| p.ended.is_none()).map(row).collect()
    }

    /// Ends all, and waits for them.
    pub(crate) fn programs_close(&mut self) {
        let until = Deadline::from_ns(clock::now() + PROGRAM_END_NS);
        for p in self.programs.table.values_mut() {
            p.signal(Signal::TERM);
        }
        for p in self.programs.table.values_mut() {
            if !p.pidfd.wait(until).is_ok_and(|ended| ended) {
                p.signal(Signal::KILL);
            }
            // Killed or ended, so it does not last; and nothing of it is left as a zombie.
            let _ = p.child.wait();
        }
        for number in self.programs.table.keys().copied().collect::<Vec<_>>() {
            self.program_news(number);
            self.programs.table.remove(&number);
        }
    }
}
