//! A helper process.

use dvs_linux::clock;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// A running helper; killed when dropped. It ends by itself when its standard input ends.
pub struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// When it was started, on the node's clock.
    pub started: u64,
}

impl Actor {
    /// Starts `program ROLE SOCKET ARGUMENTS`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(program: &str, role: &str, socket: &Path, arguments: &[String]) -> Actor {
        let started = clock::now();
        let mut command = Command::new(program);
        command.arg(role).arg(socket).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the helper's program");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Actor { child, input, output, started }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it says; `None` when it ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_string()),
        }
    }

    /// Waits until it says this line.
    ///
    /// # Panics
    /// When it ends before.
    pub fn expect(&mut self, wanted: &str) {
        loop {
            match self.line() {
                Some(line) if line == wanted => return,
                Some(_) => {}
                None => panic!("the helper ended before it said {wanted:?}"),
            }
        }
    }

    /// Tells it a line.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it was not asked to end");
        writeln!(input, "{line}").expect("the helper listens");
    }

    /// Kills it with -9 and waits for its end; when that was, on the node's clock.
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn kill(&mut self) -> u64 {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
        clock::now()
    }

    /// Asks it to end.
    pub fn release(&mut self) {
        self.input = None;
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for")
    }

    /// Asks it to end and waits until it does, saying the rest of what it says.
    ///
    /// # Panics
    /// When it does not end in the watchdog's time.
    pub fn finish(&mut self) -> (ExitStatus, Vec<String>) {
        self.release();
        let end = clock::now() + crate::WATCHDOG_NS;
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(clock::now() < end, "a helper hangs: pid {}", self.pid());
            std::thread::yield_now();
        };
        let rest = std::iter::from_fn(|| self.line()).collect();
        (status, rest)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
