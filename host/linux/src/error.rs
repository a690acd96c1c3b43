//! Error numbers of the system as the codes programs see.

use dvs_abi::Code;
use rustix::io::Errno;

/// The code for an error number; what has no code of its own is `IO`.
///
/// ```
/// use dvs_abi::Code;
/// assert_eq!(dvs_linux::error::code(rustix::io::Errno::SRCH), Code::SRCH);
/// ```
pub const fn code(errno: Errno) -> Code {
    match errno {
        Errno::PERM | Errno::ACCESS => Code::PERM,
        Errno::NOENT => Code::NOENT,
        Errno::SRCH => Code::SRCH,
        Errno::INTR => Code::INTR,
        Errno::AGAIN => Code::AGAIN,
        Errno::NOMEM => Code::NOMEM,
        Errno::FAULT => Code::FAULT,
        Errno::INVAL => Code::INVAL,
        Errno::EXIST | Errno::ADDRINUSE => Code::EXIST,
        Errno::MFILE | Errno::NFILE | Errno::NOSPC => Code::NOSPC,
        Errno::MSGSIZE | Errno::TOOBIG => Code::TOOBIG,
        Errno::TIMEDOUT => Code::TIMEDOUT,
        Errno::NOSYS => Code::NOSYS,
        Errno::CONNREFUSED => Code::DVSINIT,
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Code::NOTCONN,
        _ => Code::IO,
    }
}

/// The code for a standard error.
pub fn code_of(error: &std::io::Error) -> Code {
    Errno::from_io_error(error).map_or(Code::IO, code)
}
