//! What goes wrong. An error of a log says whether the command was done; one of a store names the file.

use dvs_abi::Effect;
use std::path::PathBuf;
use thiserror::Error;

/// Why a group could not do what it was asked.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
pub enum LogError {
    /// Nobody who leads was found in the time given.
    #[error("no member of the group leads; not done")]
    NoLeader,
    /// The leader does not hear from a majority.
    #[error("the leader does not reach a majority of the voters; not done")]
    NoQuorum,
    /// The command was handed on and what became of it was not heard in time.
    #[error("whether the command was done is not known")]
    Unknown,
    /// A command or an answer is larger than a log carries.
    #[error("{what} has {bytes} bytes; at most {max} are carried")]
    TooLarge {
        /// Command or answer.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
        /// An answer is too large only after its command was done.
        effect: Effect,
    },
    /// Too many commands wait at this member.
    #[error("too many commands wait at this member; not done")]
    Full,
    /// A change of the members that cannot be, or times that do not fit each other.
    #[error("{0}")]
    Refused(String),
    /// This member has stopped.
    #[error("this member of the group has stopped; {}", effect_text(.0))]
    Stopped(Effect),
    /// This member has stopped because its store failed.
    #[error("{error}; {}", effect_text(.effect))]
    Store {
        /// What is wrong with it.
        error: StoreError,
        /// Whether the command was done.
        effect: Effect,
    },
}

fn effect_text(effect: &Effect) -> &'static str {
    match effect {
        Effect::No => "not done",
        Effect::Yes => "done",
        Effect::Unknown => "effect unknown",
    }
}

impl LogError {
    /// Whether the command was done. Only after [`Effect::No`] may it be proposed again without risk.
    pub fn effect(&self) -> Effect {
        match self {
            LogError::NoLeader | LogError::NoQuorum | LogError::Full | LogError::Refused(_) => Effect::No,
            LogError::Unknown => Effect::Unknown,
            LogError::TooLarge { effect, .. } | LogError::Store { effect, .. } => *effect,
            LogError::Stopped(effect) => *effect,
        }
    }
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        LogError::Store { error, effect: Effect::No }
    }
}

/// Why a store cannot be used. A store that failed once stays failed until it is opened anew.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is none, where one was expected.
    #[error("{}: there is no such store", .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("{}: there is a store already", .0.display())]
    Exists(PathBuf),
    /// Another process has it open.
    #[error("{}: in use by another process", .0.display())]
    Busy(PathBuf),
    /// It belongs to another group or node.
    #[error("{}: belongs to {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        what: String,
    },
    /// A newer version of this program has written it.
    #[error("{}: written by a newer version ({what}); use that version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is new in it.
        what: String,
    },
    /// It does not hold what was written.
    #[error("{}: damaged ({what}); remove this member from its group and let it join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        what: String,
    },
    /// The disk is full.
    #[error("{}: the disk is full; make room and start this member again", .0.display())]
    DiskFull(PathBuf),
    /// Reading or writing failed.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
}
