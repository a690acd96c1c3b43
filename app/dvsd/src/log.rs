//! What happened: the last events in memory for `dvs logs`, and lines on standard error.

use dvs_abi::limits::{LOG_EVENTS_MAX, LOG_OUTPUT_BYTES_MAX, PROGRAM_LINE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Letters of a program's name that are kept.
const SUBJECT_CHARS: usize = 64;
/// Events carried in one record: well below what one holds.
const BATCH_BYTES: usize = 48 << 10;

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

/// The last [`LOG_EVENTS_MAX`] events, and the last [`LOG_OUTPUT_BYTES_MAX`] of what programs wrote: a
/// program that writes much pushes out lines of programs, not what happened to the node.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<LogEvent>,
    output: VecDeque<LogEvent>,
    output_bytes: usize,
    next: u64,
    echo: bool,
}

impl Log {
    /// An empty log; `echo` = also write events (not what programs wrote) to standard error.
    pub fn new(echo: bool) -> Self {
        Log { echo, ..Log::default() }
    }

    /// Adds an event.
    pub fn add(&mut self, subject: &str, text: impl Into<String>) {
        let event = self.event(subject.into(), text.into());
        if self.echo {
            // Nobody may be reading; the event is kept in memory all the same.
            let _ = writeln!(std::io::stderr(), "dvsd {} {}: {}", event.time(), event.subject, event.text);
        }
        if self.events.len() == LOG_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Adds a line of a program. Hostile: cut to its bound, and nothing in it moves a terminal's cursor.
    pub fn add_output(&mut self, program: &str, line: &[u8]) {
        let line = &line[..line.len().min(PROGRAM_LINE_BYTES_MAX)];
        let tame = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        let text: String = String::from_utf8_lossy(line).trim_end().chars().map(tame).collect();
        let subject = program.chars().filter(|c| !c.is_control()).take(SUBJECT_CHARS).collect();
        let event = self.event(subject, text);
        self.output_bytes += event.bytes();
        self.output.push_back(event);
        while self.output_bytes > LOG_OUTPUT_BYTES_MAX
            && let Some(oldest) = self.output.pop_front()
        {
            self.output_bytes -= oldest.bytes();
        }
    }

    fn event(&mut self, subject: String, text: String) -> LogEvent {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = LogEvent { number: self.next, unix_ms: now.as_millis() as u64, subject, text };
        self.next += 1;
        event
    }

    /// The number the next event will have.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Events and lines from `number` on, in order, in batches that fit a record.
    pub fn batches(&self, number: u64) -> Vec<Vec<LogEvent>> {
        let both = self.events.iter().chain(&self.output);
        let mut all: Vec<&LogEvent> = both.filter(|e| e.number >= number).collect();
        all.sort_by_key(|e| e.number);
        let (mut batches, mut room) = (Vec::new(), 0);
        for event in all {
            if batches.is_empty() || room < event.bytes() {
                batches.push(Vec::new());
                room = BATCH_BYTES;
            }
            room = room.saturating_sub(event.bytes());
            // There is one: see above.
            if let Some(batch) = batches.last_mut() {
                batch.push(event.clone());
            }
        }
        batches
    }
}

impl LogEvent {
    /// The time of day it happened at, UTC.
    fn time(&self) -> String {
        let (ms, seconds) = (self.unix_ms % 1000, self.unix_ms / 1000 % 86_400);
        format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// What it costs to keep and to carry.
    fn bytes(&self) -> usize {
        size_of::<LogEvent>() + self.subject.len() + self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES, Log, LogEvent};
    use dvs_abi::limits::{CONTROL_BYTES_MAX, LOG_EVENTS_MAX, LOG_OUTPUT_BYTES_MAX};

    #[test]
    fn a_chatty_program_pushes_out_its_own_lines_only() {
        let mut log = Log::new(false);
        log.add("daemon", "starts");
        for i in 0..10_000 {
            log.add_output("yes", format!("{i} {}", "y".repeat(1000)).as_bytes());
        }
        let all: Vec<LogEvent> = log.batches(0).concat();
        assert_eq!((all[0].subject.as_str(), all[0].number), ("daemon", 0));
        assert!(all[1].number > 1 && all.last().unwrap().text.starts_with("9999 "));
        assert!(all.iter().map(LogEvent::bytes).sum::<usize>() <= LOG_OUTPUT_BYTES_MAX + 1000);
        assert!(all.is_sorted_by_key(|e| e.number));
        (0..2 * LOG_EVENTS_MAX).for_each(|_| log.add("node", "x"));
        assert!(log.batches(0).concat().iter().any(|e| e.subject == "yes"));
    }

    #[test]
    fn lines_say_when() {
        let event = |unix_ms| LogEvent { number: 0, unix_ms, subject: String::new(), text: String::new() };
        assert_eq!(event(86_400_000 * 3 + 3_600_000 * 23 + 59 * 61_000 + 7).time(), "23:59:59.007");
    }

    #[test]
    fn batches_fit_a_record_and_lines_are_tame() {
        let mut log = Log::default();
        for _ in 0..40 {
            log.add_output("a\x1b[2Jb", &[b'x'; 100_000]);
        }
        log.add_output("p", b"\x1b[31mred\tand\r\n");
        let batches = log.batches(3);
        assert!(batches.len() > 1 && BATCH_BYTES < CONTROL_BYTES_MAX);
        for batch in &batches {
            assert!(dvs_ipc::control::encode(&crate::admin::AdminAnswer::Events(batch.clone())).is_ok());
        }
        let all = batches.concat();
        assert_eq!((all.len(), all[0].number, all[0].subject.as_str()), (38, 3, "a[2Jb"));
        assert_eq!(all.last().unwrap().text, "\u{fffd}[31mred\tand");
    }
}
