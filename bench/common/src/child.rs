//! Processes of a run. They die with their parent, and with the value that holds them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

/// The longest line a child may say: a number or an address.
const LINE_BYTES_MAX: u64 = 4096;

/// The machine a process stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This one, where the parent runs.
    Here,
    /// The clients' machine.
    A,
    /// The server's machine.
    B,
}

impl Side {
    /// The words before a command that start it on this side: `ip netns exec NAME`, where the caller has
    /// named a network namespace in `DVS_BENCH_NS_A` or `DVS_BENCH_NS_B`; else none.
    fn prefix(self) -> Vec<String> {
        let variable = match self {
            Side::Here => return Vec::new(),
            Side::A => "DVS_BENCH_NS_A",
            Side::B => "DVS_BENCH_NS_B",
        };
        match std::env::var(variable) {
            Ok(name) if !name.is_empty() => ["ip", "netns", "exec", &name].map(String::from).to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The address of the server's machine: `DVS_BENCH_ADDR_B`, or the loopback address.
pub fn net_address() -> String {
    std::env::var("DVS_BENCH_ADDR_B").unwrap_or_else(|_| "127.0.0.1".into())
}

/// A running process with both its pipes; ended and waited for when dropped.
pub struct Child {
    inner: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this very program again, on a side, with other words.
    ///
    /// # Errors
    /// It could not be started.
    pub fn again(side: Side, words: &[String]) -> Result<Self> {
        let program = std::env::current_exe()?.into_os_string().into_string();
        let Ok(program) = program else { bail!("the path of this program is not UTF-8") };
        Self::start(side, &program, words)
    }

    /// Starts a foreign program, on a side. It is killed when its parent ends (`setpriv --pdeathsig`).
    ///
    /// # Errors
    /// It could not be started.
    pub fn foreign(side: Side, program: &str, words: &[String]) -> Result<Self> {
        let mut all = ["--pdeathsig", "KILL", "--", program].map(String::from).to_vec();
        all.extend_from_slice(words);
        Self::start(side, "setpriv", &all)
    }

    fn start(side: Side, program: &str, words: &[String]) -> Result<Self> {
        let mut all = side.prefix();
        all.push(program.into());
        all.extend_from_slice(words);
        let mut inner = Command::new(&all[0])
            .args(&all[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", all.join(" ")))?;
        let input = inner.stdin.take();
        let output = inner.stdout.take().context("a child without output")?;
        Ok(Child { inner, input, output: BufReader::new(output) })
    }

    /// Process id, for looking at its account.
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Of the system.
    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.inner.try_wait()?.is_none())
    }

    /// The next line it says, without the line end.
    ///
    /// # Errors
    /// It ended instead.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        if !line.ends_with('\n') {
            let end = self.inner.wait()?;
            bail!("a process of the run ended early ({end})");
        }
        Ok(line.trim_end().to_string())
    }

    /// Everything it says until it ends.
    ///
    /// # Errors
    /// It ended with a failure.
    pub fn rest(&mut self) -> Result<String> {
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        let end = self.inner.wait()?;
        if !end.success() {
            bail!("a process of the run failed ({end})");
        }
        Ok(text)
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// It no longer listens.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for already.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

/// Called first in every process of ours: it is killed when its parent ends.
pub(crate) fn die_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
