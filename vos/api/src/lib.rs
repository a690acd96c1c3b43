//! What the servers of a container are asked and what they answer, as it stands in a message. Pure.
//!
//! | module | server |
//! |---|---|
//! | [`fs`] | files: `dvs-fs` |
//! | [`disk`] | block devices: `dvs-disk` |
//! | [`codec`] | how a request stands in a message; the same for all |
//!
//! A request is made by number, never by pointer, and everything in it is checked where it is read: whoever
//! may call a server may send it any bytes.
#![forbid(unsafe_code)]

pub mod codec;
pub mod disk;
pub mod errno;
pub mod fs;

pub use errno::Errno;
