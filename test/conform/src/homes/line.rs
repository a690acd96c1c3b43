//! An actor that is a process of its own and speaks lines over its standard input and output.

use crate::act::Act;
use crate::seen::Seen;
use crate::world::Remote;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

type Waiting = Arc<Mutex<VecDeque<Sender<Seen>>>>;

/// The near end of a process.
pub struct Line {
    child: Child,
    input: Option<ChildStdin>,
    waiting: Waiting,
}

impl Line {
    /// Starts `program SOCKET NAME`. It ignores SIGTERM, so that a script sees what the call says and not the
    /// end of the process.
    ///
    /// # Panics
    /// When it cannot be started: the suite is not built.
    pub fn start(program: &Path, socket: &Path, name: &str) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "trap '' TERM; exec \"$0\" \"$@\""])
            .arg(program)
            .arg(socket)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let input = child.stdin.take();
        let waiting = Waiting::default();
        if let Some(output) = child.stdout.take() {
            let waiting = waiting.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let seen = line.parse().unwrap_or_else(|e| panic!("an actor says: {e}"));
                    let next = lock(&waiting).pop_front();
                    if let Some(to) = next {
                        // The script may have failed meanwhile.
                        let _ = to.send(seen);
                    }
                }
                lock(&waiting).clear();
            });
        }
        Line { child, input, waiting }
    }

    fn write(&mut self, line: &str) {
        if let Some(input) = &mut self.input
            && writeln!(input, "{line}").and_then(|()| input.flush()).is_err()
        {
            // It is gone; whoever waits learns it from the end of its output.
            self.input = None;
            lock(&self.waiting).clear();
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, VecDeque<Sender<Seen>>> {
    waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Remote for Line {
    fn submit(&mut self, act: &Act) -> Receiver<Seen> {
        let (answer, seen) = channel();
        lock(&self.waiting).push_back(answer);
        self.write(&act.to_string());
        seen
    }

    fn cancel(&mut self) {
        self.write("!cancel");
    }

    fn kill(&mut self) {
        // An error says that it is gone, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.kill();
    }
}
