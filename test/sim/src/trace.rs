//! What happened, in words: the last lines of it, and one number over all of it.
//!
//! Two runs that did the same have the same number; that equal seeds do the same is a test.

use std::collections::VecDeque;
use std::fmt;

/// Lines that are kept, the last ones.
pub const TRACE_LINES_MAX: usize = 200;

/// Gets each line as it is written.
pub type Sink = Box<dyn FnMut(&str)>;

/// What happened.
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    count: u64,
    sink: Option<Sink>,
    silent: bool,
}

fn written(now: u64, what: fmt::Arguments<'_>) -> String {
    format!("{:>6}.{:09} {what}", now / 1_000_000_000, now % 1_000_000_000)
}

impl Trace {
    pub(crate) fn new() -> Self {
        Trace { lines: VecDeque::new(), hash: 0xCBF2_9CE4_8422_2325, count: 0, sink: None, silent: false }
    }

    /// Each line goes here as well, from now on.
    pub fn tell(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    pub(crate) fn line(&mut self, now: u64, what: fmt::Arguments<'_>) {
        let line = written(now, what);
        self.bytes(line.as_bytes());
        self.count += 1;
        self.keep(line);
    }

    /// The same for what is known by its bytes: it is put in words only if somebody wants to read it.
    pub(crate) fn known(&mut self, now: u64, what: &[u64], bytes: &[u8], words: impl Fn() -> String) {
        self.bytes(&now.to_le_bytes());
        what.iter().for_each(|n| self.bytes(&n.to_le_bytes()));
        self.bytes(bytes);
        self.count += 1;
        if !self.silent {
            self.keep(written(now, format_args!("{}", words())));
        }
    }

    fn keep(&mut self, line: String) {
        if self.silent {
            return;
        }
        if let Some(sink) = &mut self.sink {
            sink(&line);
        }
        if self.lines.len() == TRACE_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Nobody is going to read the lines: none is kept, which is quicker. Their number and the hash are the
    /// same.
    pub fn silence(&mut self) {
        self.silent = true;
    }

    /// What is too long for a line, but must be the same too.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.hash = (self.hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3);
        }
    }

    /// One number over everything that happened.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, at most [`TRACE_LINES_MAX`].
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
