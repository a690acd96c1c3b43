//! What went wrong, what to type next, and the exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed; the message says what and what to do |
//! | 2 | wrong arguments or configuration; nothing was done |
//! | 3 | no daemon runs (or answers) there |
//! | 4 | not found: no such container, endpoint or node |
//! | 5 | refused: not permitted, or something is in the way |
//! | 6 | time ran out |

use dvs::{Code, Error};
use std::fmt::Display;
use std::process::ExitCode;

/// A failure of a sub-command.
#[derive(Debug)]
pub struct Fail {
    code: u8,
    what: String,
    next: Option<String>,
}

impl Fail {
    /// It failed.
    pub fn new(what: impl Display) -> Self {
        Fail { code: 1, what: what.to_string(), next: None }
    }

    /// Wrong arguments or configuration.
    pub fn usage(what: impl Display) -> Self {
        Fail { code: 2, what: what.to_string(), next: None }
    }

    /// Not found.
    pub fn missing(what: impl Display) -> Self {
        Fail { code: 4, what: what.to_string(), next: None }
    }

    /// No daemon answers there.
    pub fn gone(what: impl Display) -> Self {
        Fail { code: 3, what: what.to_string(), next: None }
    }

    /// A daemon refused, with the number of an error and its reason.
    pub fn refused(code: i32, why: impl Display) -> Self {
        let code = Code::from_i32(code).map_or(1, |c| Fail::from(Error::early(c)).code);
        Fail { code, what: why.to_string(), next: None }
    }

    /// What to type next.
    pub fn next(mut self, next: impl Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// The same failure, said of something.
    pub fn of(mut self, subject: impl Display) -> Self {
        self.what = format!("{subject}: {}", self.what);
        self
    }

    /// What went wrong, in words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The exit code alone, of a failure that was shown in another way.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Prints it and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("dvs: {}", self.what);
        if let Some(next) = &self.next {
            eprintln!("  {next}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Fail {
    fn from(e: Error) -> Self {
        let code = match e.code {
            Code::DVSINIT => 3,
            Code::NOENT
            | Code::BADDCID
            | Code::DCNOTRUN
            | Code::NOTBIND
            | Code::BADNODEID
            | Code::BADPROC => 4,
            Code::PERM
            | Code::PRIVILEGES
            | Code::RSCBUSY
            | Code::SLOTUSED
            | Code::DCNODE
            | Code::BUSY
            | Code::NODEBUSY => 5,
            Code::TIMEDOUT => 6,
            _ => 1,
        };
        let next = match e.code {
            Code::BADDCID | Code::DCNOTRUN => Some("see the containers with: dvs dc ls".to_string()),
            Code::BADNODEID | Code::NODCNODE => Some("see the nodes with: dvs status".to_string()),
            Code::NOTBIND | Code::BADPROC | Code::DSTDIED => {
                Some("see the endpoints with: dvs ps".to_string())
            }
            _ => None,
        };
        Fail { code, what: e.to_string(), next }
    }
}

/// A result of a sub-command.
pub type Done<T = ExitCode> = Result<T, Fail>;
