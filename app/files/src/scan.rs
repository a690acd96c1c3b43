//! What is on both sides, before anything is decided.

use crate::copy::FAILURES_KEPT;
use crate::entry::{FileKind, Meta};
use crate::error::{Cause, FilesError, Refusal};
use crate::path::{PART_SUFFIX, RelPath, part_name};
use crate::plan::{Item, Present, part_key};
use crate::side::Side;
use dvs::limits::FILES_TREE_ENTRIES_MAX;
use std::collections::BTreeSet;

pub(crate) fn is_folder(meta: Option<&Meta>) -> bool {
    meta.is_some_and(|m| m.kind == FileKind::Folder)
}

pub(crate) fn stat(side: &dyn Side, path: &RelPath) -> Result<Option<Meta>, FilesError> {
    side.stat(path).map_err(|c| FilesError::new(side.name(), path.bytes(), "look at", c))
}

fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// Calls `found` for every name of a folder.
fn each(side: &dyn Side, path: &RelPath, mut found: impl FnMut(&[u8], Meta)) -> Result<(), Cause> {
    let mut after = Vec::new();
    loop {
        let (page, more) = side.list(path, &after)?;
        for e in &page {
            found(&e.name, e.meta);
        }
        match page.last() {
            Some(e) if more => after.clone_from(&e.name),
            _ => return Ok(()),
        }
    }
}

/// All below `from`, each folder before what is in it; folders that cannot be read are failures.
pub(crate) fn scan_source(
    side: &dyn Side,
    from: &RelPath,
) -> Result<(Vec<Item>, Vec<FilesError>), FilesError> {
    let err = |path: &RelPath, cause: Cause| FilesError::new(side.name(), path.bytes(), "read", cause);
    let meta = stat(side, from)?
        .ok_or_else(|| err(from, Refusal::Os(rustix::io::Errno::NOENT.raw_os_error()).into()))?;
    let mut items = vec![Item { path: Vec::new(), meta }];
    let mut failures = Vec::new();
    let mut next = 0;
    while next < items.len() {
        let (path, kind) = (items[next].path.clone(), items[next].meta.kind);
        next += 1;
        if kind != FileKind::Folder {
            continue;
        }
        let here = from.join(&path).map_err(|r| err(from, r.into()))?;
        match each(side, &here, |name, meta| items.push(Item { path: below(&path, name), meta })) {
            Ok(()) => {}
            Err(c) if c.concerns_all() => return Err(err(&here, c)),
            Err(c) => failures.push(err(&here, c)),
        }
        if items.len() > FILES_TREE_ENTRIES_MAX {
            return Err(err(from, Refusal::TooMany.into()));
        }
    }
    failures.truncate(FAILURES_KEPT);
    Ok((items, failures))
}

/// What the target has where something shall be copied.
pub(crate) fn scan_target(side: &dyn Side, to: &RelPath, items: &[Item]) -> Result<Present, FilesError> {
    let mut present = Present::new();
    if let Some(meta) = stat(side, to)? {
        present.insert(Vec::new(), meta);
    }
    if let Some((folder, name)) = to.split() {
        let part = folder.join(&part_name(name));
        if let Some(meta) = part.ok().and_then(|p| stat(side, &p).transpose()).transpose()? {
            present.insert(part_key(b""), meta);
        }
    }
    let wanted: BTreeSet<&[u8]> = items.iter().map(|i| i.path.as_slice()).collect();
    for folder in items.iter().filter(|i| i.meta.kind == FileKind::Folder) {
        if !is_folder(present.get(&folder.path)) {
            continue;
        }
        let here = to.join(&folder.path);
        let here = here.map_err(|r| FilesError::new(side.name(), to.bytes(), "list", r))?;
        each(side, &here, |name, meta| {
            let path = below(&folder.path, name);
            if wanted.contains(path.as_slice()) || name.ends_with(PART_SUFFIX) {
                present.insert(path, meta);
            }
        })
        .map_err(|c| FilesError::new(side.name(), here.bytes(), "list", c))?;
    }
    Ok(present)
}
