//! What can go wrong, said once: a [`Refusal`] travels from the server, a [`Cause`] adds what can happen on
//! the way, and a
//! [`FilesError`] names the side, the file and the act.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a side did not do what it was asked; travels in the answer.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The server speaks another version (this one) of the protocol.
    Version(u8),
    /// The request makes no sense to it.
    BadRequest,
    /// The path is too long, has an empty name or a zero byte in it.
    BadPath,
    /// The path leads out of the served folder.
    Escape,
    /// The folder is served for reading only.
    ReadOnly,
    /// The lent buffer is missing or too small.
    NoBuffer,
    /// The memory that was lent could not be copied: the code of the copy.
    Copy(i32),
    /// The file is not the one that was listed: it changed meanwhile.
    Changed,
    /// The bytes that arrived are not those that were sent.
    Corrupt,
    /// It is not a regular file.
    NotAFile,
    /// It is not a folder.
    NotAFolder,
    /// A folder with more names, or a tree with more entries, than is handled.
    TooMany,
    /// The partial file has another length than the file should have.
    Incomplete,
    /// The operating system said so: the number of its error.
    Os(i32),
}

impl Refusal {
    /// Whether every other file would fail in the same way (a full disk, a read-only side), so that to go on
    /// is useless.
    pub fn concerns_all(self) -> bool {
        use rustix::io::Errno;
        match self {
            Refusal::Version(_) | Refusal::ReadOnly | Refusal::NoBuffer | Refusal::Copy(_) => true,
            Refusal::Os(n) => {
                [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO, Errno::MFILE, Errno::NFILE]
                    .contains(&Errno::from_raw_os_error(n))
            }
            _ => false,
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(e: rustix::io::Errno) -> Self {
        match e {
            // What the kernel says when a path resolved beneath a folder would leave it.
            rustix::io::Errno::XDEV => Refusal::Escape,
            e => Refusal::Os(e.raw_os_error()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Version(v) => return write!(f, "the server speaks version {v} of the file service"),
            Refusal::Os(n) => return write!(f, "{}", std::io::Error::from_raw_os_error(*n)),
            Refusal::Copy(n) => {
                let code = dvs::Code::from_i32(*n);
                let text = code.map_or("unknown code", dvs::Code::text);
                return write!(f, "the lent memory could not be copied: {text} ({n})");
            }
            Refusal::BadRequest => "the request was not understood",
            Refusal::BadPath => "not a usable path",
            Refusal::Escape => "the path leads out of the served folder",
            Refusal::ReadOnly => "the folder is served for reading only",
            Refusal::NoBuffer => "the lent buffer is missing or too small",
            Refusal::Changed => "the file changed while it was copied",
            Refusal::Corrupt => "the data was damaged on its way",
            Refusal::NotAFile => "not a regular file",
            Refusal::NotAFolder => "not a folder",
            Refusal::TooMany => "too many entries; copy its parts one by one",
            Refusal::Incomplete => "the partial file is not complete",
        })
    }
}

/// Why a request to a side failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The side refused.
    Refused(Refusal),
    /// The call to it failed.
    Call(dvs::Error),
    /// It answered nonsense.
    BadAnswer,
}

impl Cause {
    /// Whether every other file would fail in the same way.
    pub fn concerns_all(&self) -> bool {
        match self {
            Cause::Refused(r) => r.concerns_all(),
            Cause::Call(_) | Cause::BadAnswer => true,
        }
    }
}

impl From<Refusal> for Cause {
    fn from(r: Refusal) -> Self {
        Cause::Refused(r)
    }
}

impl From<dvs::Error> for Cause {
    fn from(e: dvs::Error) -> Self {
        Cause::Call(e)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused(r) => r.fmt(f),
            Cause::Call(e) => e.fmt(f),
            Cause::BadAnswer => f.write_str("the server's answer was not understood"),
        }
    }
}

/// What failed, where, and with which file.
///
/// ```
/// use dvs_files::{FilesError, Refusal};
/// let e = FilesError::new("n3", b"lib/a.so", "write", Refusal::Os(28));
/// assert!(e.to_string().starts_with("n3: cannot write lib/a.so: No space left on device"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilesError {
    /// The side, as its user named it.
    pub side: String,
    /// The path on that side.
    pub path: Vec<u8>,
    /// The act, as a verb.
    pub act: &'static str,
    /// Why.
    pub cause: Cause,
}

impl FilesError {
    /// An error of `side` when it was to `act` on `path`.
    pub fn new(side: &str, path: &[u8], act: &'static str, cause: impl Into<Cause>) -> Self {
        FilesError { side: side.to_string(), path: path.to_vec(), act, cause: cause.into() }
    }
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.is_empty() {
            true => "the served folder".into(),
            false => String::from_utf8_lossy(&self.path).escape_debug().to_string(),
        };
        write!(f, "{}: cannot {} {path}: {}", self.side, self.act, self.cause)
    }
}

impl std::error::Error for FilesError {}
