//! What happened: the last events in memory for `dvs logs`, and lines on standard error.

use dvs_abi::limits::LOG_EVENTS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// One event.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LogEvent {
    /// Rises by one with each event.
    pub number: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// What it is about: `daemon`, `session`, `dc`, `node`, or the name of a program whose output this is.
    pub subject: String,
    /// One line.
    pub text: String,
}

/// The last [`LOG_EVENTS_MAX`] events.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<LogEvent>,
    next: u64,
    echo: bool,
}

impl Log {
    /// An empty log; `echo` = also write to standard error.
    pub fn new(echo: bool) -> Self {
        Log { echo, ..Log::default() }
    }

    /// Adds an event.
    pub fn add(&mut self, subject: &str, text: impl Into<String>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (unix_ms, text) = (now.as_millis() as u64, text.into());
        if self.echo {
            // Nobody may be reading; the event is kept in memory all the same.
            let _ = writeln!(std::io::stderr(), "dvsd: {subject}: {text}");
        }
        if self.events.len() == LOG_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(LogEvent { number: self.next, unix_ms, subject: subject.into(), text });
        self.next += 1;
    }

    /// The number the next event will have.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Events from `number` on.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &LogEvent> {
        self.events.iter().filter(move |e| e.number >= number)
    }
}
