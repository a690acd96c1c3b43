//! Paths, for clients without a kernel that walks them.

use crate::client::{Client, Result};
use dvs_api::Errno;
use dvs_api::fs::{Attr, FileKind, Ino};
use dvs_ipc::wait::Wait;

/// Symbolic links on the way.
const LINKS_MAX: u32 = 40;

impl<W: Wait> Client<W> {
    /// The file of a path from the root; a symbolic link at its end is followed if asked for.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`, `LOOP`, `NAMETOOLONG`.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Attr> {
        let mut links = 0;
        self.walk(self.attr(Ino::ROOT)?, path, follow, &mut links)
    }

    /// The directory in which the last name of a path is, and that name.
    ///
    /// # Errors
    /// As [`Client::find`]; `INVAL`: the path has no last name.
    pub fn find_parent<'p>(&self, path: &'p [u8]) -> Result<(Ino, &'p [u8])> {
        let end = path.iter().rposition(|b| *b != b'/').ok_or(Errno::INVAL)? + 1;
        let path = &path[..end];
        let begin = path.iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
        if matches!(&path[begin..], b"." | b"..") {
            return Err(Errno::INVAL);
        }
        let dir = self.find(&path[..begin], true)?;
        if dir.kind != FileKind::Dir {
            return Err(Errno::NOTDIR);
        }
        Ok((dir.ino, &path[begin..]))
    }

    fn walk(&self, from: Attr, path: &[u8], follow: bool, links: &mut u32) -> Result<Attr> {
        let mut at = from;
        let mut names = path.split(|b| *b == b'/').filter(|n| !n.is_empty()).peekable();
        while let Some(name) = names.next() {
            let found = self.lookup(at.ino, name)?;
            if found.kind != FileKind::Symlink || names.peek().is_none() && !follow {
                at = found;
                continue;
            }
            *links += 1;
            if *links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            let target = self.read_link(found.ino)?;
            let from = if target.starts_with(b"/") { self.attr(Ino::ROOT)? } else { at };
            at = self.walk(from, &target, true, links)?;
        }
        Ok(at)
    }
}
