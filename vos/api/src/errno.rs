//! Why a request to a server failed, as programs of Unix know it.
//!
//! The numbers are those of Linux: an answer goes through a mount to programs as it is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of an error, as in `errno.h`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident $number:literal $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno($number);)*

            /// Its name, if it is one of those used here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// In words.
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "another error of the system",
                }
            }
        }
    };
}

errnos! {
    PERM 1 "that is not permitted";
    NOENT 2 "there is no such file or directory";
    INTR 4 "the request was interrupted";
    IO 5 "reading or writing failed";
    NXIO 6 "there is nothing at that position or device";
    BADF 9 "that file is not open";
    AGAIN 11 "somebody else has it; try again";
    NOMEM 12 "there is no memory left";
    ACCES 13 "access is denied";
    BUSY 16 "it is in use";
    EXIST 17 "that name is taken";
    XDEV 18 "that is on another file system";
    NODEV 19 "there is no such device";
    NOTDIR 20 "that is no directory";
    ISDIR 21 "that is a directory";
    INVAL 22 "an argument is wrong";
    NFILE 23 "too many files are open";
    FBIG 27 "the file would become too large";
    NOSPC 28 "no space is left";
    SPIPE 29 "that has no positions";
    ROFS 30 "this can only be read";
    MLINK 31 "there are too many links to it";
    RANGE 34 "the result does not fit";
    DEADLK 35 "that would be a deadlock";
    NAMETOOLONG 36 "the name is too long";
    NOLCK 37 "no more locks are to be had";
    NOSYS 38 "the server does not know that request";
    NOTEMPTY 39 "the directory is not empty";
    LOOP 40 "too many symbolic links on the way";
    NODATA 61 "there is no such attribute";
    PROTO 71 "the request makes no sense";
    OVERFLOW 75 "the number does not fit";
    OPNOTSUPP 95 "this back end cannot do that";
    TIMEDOUT 110 "the time is over";
    STALE 116 "that file is gone, or the server has forgotten it";
    DQUOT 122 "the quota is used up";
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "E{name}"),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?})", self.text())
    }
}

impl std::error::Error for Errno {}

impl From<std::io::Error> for Errno {
    fn from(e: std::io::Error) -> Self {
        Errno(e.raw_os_error().unwrap_or(Errno::IO.0))
    }
}

impl From<Errno> for std::io::Error {
    fn from(e: Errno) -> Self {
        std::io::Error::from_raw_os_error(e.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn an_error_has_the_name_and_number_of_linux() {
        assert_eq!(format!("{:?}", Errno::NOTEMPTY), "ENOTEMPTY");
        assert_eq!(Errno::from(std::io::Error::from_raw_os_error(28)), Errno::NOSPC);
        assert_eq!(Errno(9999).name(), None);
        assert!(format!("{}", Errno::NOENT).contains("no such file"));
    }
}
