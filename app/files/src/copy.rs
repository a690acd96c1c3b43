//! The copier: joins two sides, with any number of workers.
//!
//! ```text
//!   prepare ──► work (each worker, at the same time) ──► finish ──► [check ──► work ──► report]
//!   scan both sides,    take the next block, read it,     folders get     compare the digests
//!   decide, make        write it; who does a file's       permissions     of all that was copied
//!   folders, links      last block puts it in place       and times
//! ```
//!
//! A worker is a thread or coroutine with a pair of sides of its own; they share only a cursor over the plan.
//! What fails with one file (no permission, it changed) is noted and the rest goes on; what would fail with
//! every file (the disk is full, a server died) stops all workers. In both cases the same copy, started
//! again, goes on where this one ended: finished files are kept, unfinished ones compared block by block.
//!
//! A copy that makes its target folder would, started again, find that folder and copy into it. Therefore a
//! mark stands beside such a folder until all is there: the unfinished copy of its name, which says of what.

use crate::entry::FileKind;
use crate::error::{Cause, FilesError, Refusal};
use crate::path::RelPath;
use crate::plan::{Act, Item, Present, act, blocks};
use crate::progress::Progress;
use crate::scan::{is_folder, scan_source, scan_target, stat};
use crate::side::Side;
use dvs::limits::{FILES_BLOCK_BYTES, FILES_HASHES_MAX, FILES_WORKERS_MAX};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures that are kept one by one; more are only counted.
pub(crate) const FAILURES_KEPT: usize = 100;

/// How to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also copy files that seem to be there (same length and time).
    pub always: bool,
    /// Compare the digests of all files afterwards, read anew on both sides.
    pub check: bool,
    /// Return only when all is on disk.
    pub sync: bool,
}

/// What a copy did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Files copied.
    pub files: u64,
    /// Files that were there.
    pub kept: u64,
    /// Folders made.
    pub folders: u64,
    /// Symbolic links made.
    pub links: u64,
    /// Devices, sockets and pipes left out.
    pub ignored: u64,
    /// Bytes of the copied files.
    pub bytes: u64,
    /// Of these, found in unfinished copies.
    pub resumed: u64,
    /// Files whose digests were compared afterwards.
    pub checked: u64,
    /// What did not work, the first hundred.
    pub failures: Vec<FilesError>,
    /// And how many in all.
    pub failed: u64,
}

struct Step {
    item: Item,
    act: Act,
    /// Requests still to be done.
    left: AtomicU64,
    failed: AtomicBool,
}

/// The next thing to be taken: a step, and its block.
struct Cursor {
    step: usize,
    block: u64,
    checking: bool,
}

struct Job<'a> {
    step: &'a Step,
    block: u64,
    checking: bool,
}

/// One copy.
pub struct Copier {
    from: RelPath,
    to: RelPath,
    steps: Vec<Step>,
    cursor: Mutex<Cursor>,
    report: Mutex<Report>,
    stop: AtomicBool,
    /// The mark beside the target folder is ours.
    marked: bool,
    total: Progress,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    resumed: AtomicU64,
}

/// Called after each request with how far it is.
pub type OnProgress<'a> = &'a (dyn Fn(&Progress) + Sync);

/// The two sides of one worker: source and target.
pub type Sides = (Box<dyn Side>, Box<dyn Side>);

/// Copies with one pair of sides, in the caller's thread or coroutine.
///
/// # Errors
/// What stopped it; failures of single files are in the report.
pub fn copy_once(
    source: &dyn Side,
    from: &[u8],
    target: &dyn Side,
    to: &[u8],
    options: &Options,
) -> Result<Report, FilesError> {
    let copier = Copier::prepare(source, from, target, to, options)?;
    copier.work(source, target, &|_| {})?;
    copier.finish(target, options)?;
    if options.check {
        copier.begin_check();
        copier.work(source, target, &|_| {})?;
    }
    Ok(copier.report())
}

/// What stands beside a folder that is being made of this source.
fn mark(source: &dyn Side, from: &RelPath) -> Vec<u8> {
    [b"an unfinished copy of ", source.name().as_bytes(), b":/", from.bytes(), b"\n"].concat()
}

/// Whether it stands there.
fn is_marked(target: &dyn Side, to: &RelPath, mark: &[u8]) -> Result<bool, FilesError> {
    if to.is_root() {
        return Ok(false);
    }
    match target.hashes(to, true, 0, 1) {
        Ok(hashes) => Ok(hashes == [*blake3::hash(mark).as_bytes()]),
        // There is none, or it is no file: nobody of ours made it.
        Err(Cause::Refused(_)) => Ok(false),
        Err(c) => Err(FilesError::new(target.name(), to.bytes(), "read", c)),
    }
}

impl Copier {
    /// Looks at both sides, decides, and makes folders and links. As `cp -r`: into the target when it is a
    /// folder (unless an earlier try of the same copy made it), else it becomes the target.
    ///
    /// # Errors
    /// The source is not there, the target's folder is not there, a side does not answer, `TooMany` entries.
    pub fn prepare(
        source: &dyn Side,
        from: &[u8],
        target: &dyn Side,
        to: &[u8],
        options: &Options,
    ) -> Result<Self, FilesError> {
        let of = |side: &dyn Side, path: &[u8], act, r: Refusal| FilesError::new(side.name(), path, act, r);
        let from = RelPath::parse(from).map_err(|r| of(source, from, "read", r))?;
        let mut to = RelPath::parse(to).map_err(|r| of(target, to, "write", r))?;
        let (items, failures) = scan_source(source, &from)?;
        let there = stat(target, &to)?;
        let mark = mark(source, &from);
        let mut marked = is_folder(there.as_ref()) && is_marked(target, &to, &mark)?;
        if let (Some((_, name)), true, false) = (from.split(), is_folder(there.as_ref()), marked) {
            to = to.join(name).map_err(|r| of(target, to.bytes(), "write below", r))?;
        }
        let present = scan_target(target, &to, &items)?;
        let makes = |i: &Item| i.path.is_empty() && act(i, &present, options.always) == Act::MakeFolder;
        if items.iter().any(makes) {
            let made = target.write(&to, 0, &mark, blake3::hash(&mark).as_bytes());
            made.map_err(|c| FilesError::new(target.name(), to.bytes(), "make folder", c))?;
            marked = true;
        }
        let mut copier = Copier::plan(from, to, items, &present, options);
        copier.marked = marked;
        copier.report = Mutex::new(Report { failed: failures.len() as u64, failures, ..Report::default() });
        copier.make_folders(target)?;
        copier.make_links(source, target)?;
        Ok(copier)
    }

    fn plan(from: RelPath, to: RelPath, items: Vec<Item>, present: &Present, options: &Options) -> Self {
        let mut total = Progress::default();
        let step = |item: Item| {
            let act = act(&item, present, options.always);
            let left = match act {
                Act::Put => 1,
                Act::Blocks { .. } => blocks(item.meta.size),
                _ => 0,
            };
            total.files += u64::from(left > 0);
            total.bytes += if left > 0 { item.meta.size } else { 0 };
            Step { item, act, left: AtomicU64::new(left), failed: AtomicBool::new(false) }
        };
        Copier {
            from,
            to,
            steps: items.into_iter().map(step).collect(),
            cursor: Mutex::new(Cursor { step: 0, block: 0, checking: false }),
            report: Mutex::default(),
            stop: AtomicBool::new(false),
            marked: false,
            total,
            files_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        }
    }

    fn report_mut(&self) -> MutexGuard<'_, Report> {
        // Only numbers are changed under the lock, so it cannot be found half changed.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done so far.
    pub fn report(&self) -> Report {
        let mut report = self.report_mut().clone();
        report.bytes = self.bytes_done.load(Ordering::Relaxed);
        report.resumed = self.resumed.load(Ordering::Relaxed);
        report
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            files_done: self.files_done.load(Ordering::Relaxed),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            ..self.total
        }
    }

    /// Ends all workers after their present request (the user asked for it).
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn make_folders(&self, target: &dyn Side) -> Result<(), FilesError> {
        for step in &self.steps {
            match step.act {
                Act::MakeFolder => {
                    let to = self.path(target, &self.to, step)?;
                    let made = target.make_folder(&to);
                    made.map_err(|c| FilesError::new(target.name(), to.bytes(), "make folder", c))?;
                    self.report_mut().folders += 1;
                }
                Act::Conflict => {
                    let to = self.path(target, &self.to, step)?;
                    let folder = step.item.meta.kind == FileKind::Folder;
                    let why = if folder { Refusal::NotAFolder } else { Refusal::NotAFile };
                    self.note(FilesError::new(target.name(), to.bytes(), "replace", why))?;
                }
                Act::Ignore => self.report_mut().ignored += 1,
                Act::Keep if step.item.meta.kind == FileKind::File => self.report_mut().kept += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn make_links(&self, source: &dyn Side, target: &dyn Side) -> Result<(), FilesError> {
        for step in self.steps.iter().filter(|s| s.act == Act::Link) {
            let (from, to) = (self.path(source, &self.from, step)?, self.path(target, &self.to, step)?);
            let made = source
                .read_link(&from)
                .map_err(|c| FilesError::new(source.name(), from.bytes(), "read the link", c))
                .and_then(|leads| {
                    let made = target.link(&to, &leads);
                    made.map_err(|c| FilesError::new(target.name(), to.bytes(), "make the link", c))
                });
            match made {
                Ok(()) => self.report_mut().links += 1,
                Err(e) => self.note(e)?,
            }
        }
        Ok(())
    }

    /// Copies (or compares) until nothing is left to be taken; any number of workers at the same time.
    ///
    /// # Errors
    /// What stopped this worker, and so all of them.
    pub fn work(
        &self,
        source: &dyn Side,
        target: &dyn Side,
        on_progress: OnProgress<'_>,
    ) -> Result<(), FilesError> {
        let mut buffer = vec![0; FILES_BLOCK_BYTES];
        while let Some(job) = self.next() {
            let done = match job.checking {
                true => self.compare(source, target, &job),
                false => self.copy(source, target, &job, &mut buffer),
            };
            if let Err(e) = done {
                self.note(e)?;
            }
            on_progress(&self.progress());
        }
        Ok(())
    }

    /// [`Copier::work`] in so many threads (at most `FILES_WORKERS_MAX`), each with the sides `make` gives
    /// it.
    ///
    /// # Errors
    /// The first that stopped it.
    pub fn work_in_threads(
        &self,
        workers: usize,
        make: &(dyn Fn(usize) -> Result<Sides, FilesError> + Sync),
        on_progress: OnProgress<'_>,
    ) -> Result<(), FilesError> {
        let one = |i| {
            let (source, target) = make(i).inspect_err(|_| self.stop())?;
            self.work(&*source, &*target, on_progress)
        };
        std::thread::scope(|scope| {
            let workers = workers.clamp(1, FILES_WORKERS_MAX);
            let threads: Vec<_> = (0..workers).map(|i| scope.spawn(move || one(i))).collect();
            let mut first = Ok(());
            for t in threads {
                let ended = t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                first = first.and(ended);
            }
            first
        })
    }

    fn next(&self) -> Option<Job<'_>> {
        let mut c = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(step) = self.steps.get(c.step).filter(|_| !self.stop.load(Ordering::Relaxed)) {
            let (requests, stride) = match (c.checking, step.act) {
                (false, Act::Put) => (1, 1),
                (false, Act::Blocks { .. }) => (blocks(step.item.meta.size), 1),
                (true, Act::Put | Act::Blocks { .. } | Act::Keep)
                    if step.item.meta.kind == FileKind::File =>
                {
                    (blocks(step.item.meta.size).max(1), u64::from(FILES_HASHES_MAX))
                }
                _ => (0, 1),
            };
            if c.block >= requests || step.failed.load(Ordering::Relaxed) {
                (c.step, c.block) = (c.step + 1, 0);
                continue;
            }
            let job = Job { step, block: c.block, checking: c.checking };
            c.block += stride;
            return Some(job);
        }
        None
    }

    fn path(&self, side: &dyn Side, root: &RelPath, step: &Step) -> Result<RelPath, FilesError> {
        let joined = root.join(&step.item.path);
        joined.map_err(|r| FilesError::new(side.name(), &step.item.path, "use", r))
    }

    /// One request's worth of one file.
    fn copy(
        &self,
        source: &dyn Side,
        target: &dyn Side,
        job: &Job<'_>,
        buffer: &mut [u8],
    ) -> Result<(), FilesError> {
        let (step, meta) = (job.step, job.step.item.meta);
        let (from, to) = (self.path(source, &self.from, step)?, self.path(target, &self.to, step)?);
        let reading = |c: Cause| FilesError::new(source.name(), from.bytes(), "read", c);
        let writing = |c: Cause| FilesError::new(target.name(), to.bytes(), "write", c);
        let offset = job.block * FILES_BLOCK_BYTES as u64;
        let length = (meta.size - offset).min(FILES_BLOCK_BYTES as u64);
        let part = if let Act::Blocks { part } = step.act { part } else { 0 };
        let mut done = (|| {
            if part > 0
                && offset + length <= part
                && self.is_there(source, target, (&from, &to), job.block)?
            {
                self.resumed.fetch_add(length, Ordering::Relaxed);
            } else {
                let into = &mut buffer[..length as usize];
                let (n, hash) = match length {
                    0 => (0, *blake3::hash(b"").as_bytes()),
                    _ => source.read(&from, offset, into, meta.stamp()).map_err(reading)?,
                };
                if n as u64 != length {
                    return Err(reading(Refusal::Changed.into()));
                }
                match step.act {
                    Act::Put => target.put(&to, into, &hash, meta.finish()),
                    _ => target.write(&to, offset, into, &hash),
                }
                .map_err(writing)?;
            }
            self.bytes_done.fetch_add(length, Ordering::Relaxed);
            Ok(())
        })();
        if let Err(e) = &done {
            step.failed.store(true, Ordering::Relaxed);
            if e.cause == Cause::Refused(Refusal::Changed) && step.act != Act::Put {
                // What was copied of it is of no use any more. If even this fails, it is compared the next
                // time.
                let _ = target.discard(&to);
            }
        }
        let last = step.left.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !step.failed.load(Ordering::Relaxed) {
            if step.act != Act::Put {
                done = target.commit(&to, meta.size, meta.finish()).map_err(writing);
            }
            if done.is_ok() {
                self.files_done.fetch_add(1, Ordering::Relaxed);
                self.report_mut().files += 1;
            }
        }
        done
    }

    /// Whether a block of the unfinished copy is what the source has.
    fn is_there(
        &self,
        source: &dyn Side,
        target: &dyn Side,
        (from, to): (&RelPath, &RelPath),
        block: u64,
    ) -> Result<bool, FilesError> {
        let theirs = target.hashes(to, true, block, 1);
        let theirs = theirs.map_err(|c| FilesError::new(target.name(), to.bytes(), "read", c))?;
        let ours = source.hashes(from, false, block, 1);
        let ours = ours.map_err(|c| FilesError::new(source.name(), from.bytes(), "read", c))?;
        Ok(!ours.is_empty() && ours == theirs)
    }

    /// Digests of some blocks of one file, on both sides.
    fn compare(&self, source: &dyn Side, target: &dyn Side, job: &Job<'_>) -> Result<(), FilesError> {
        let (from, to) = (self.path(source, &self.from, job.step)?, self.path(target, &self.to, job.step)?);
        let theirs = target.hashes(&to, false, job.block, FILES_HASHES_MAX);
        let theirs = theirs.map_err(|c| FilesError::new(target.name(), to.bytes(), "check", c))?;
        let ours = source.hashes(&from, false, job.block, FILES_HASHES_MAX);
        let ours = ours.map_err(|c| FilesError::new(source.name(), from.bytes(), "check", c))?;
        let expected = (blocks(job.step.item.meta.size) - job.block).min(u64::from(FILES_HASHES_MAX));
        if ours != theirs || ours.len() as u64 != expected {
            job.step.failed.store(true, Ordering::Relaxed);
            return Err(FilesError::new(target.name(), to.bytes(), "check", Refusal::Corrupt));
        }
        self.report_mut().checked += u64::from(job.block == 0);
        Ok(())
    }

    /// Notes a failure; gives it back when it stops everything.
    fn note(&self, e: FilesError) -> Result<(), FilesError> {
        let mut report = self.report_mut();
        report.failed += 1;
        if report.failures.len() < FAILURES_KEPT {
            report.failures.push(e.clone());
        }
        if e.cause.concerns_all() {
            self.stop();
            return Err(e);
        }
        Ok(())
    }

    /// Gives folders their permissions and times, the innermost first, once all workers have ended.
    ///
    /// # Errors
    /// What stopped it.
    pub fn finish(&self, target: &dyn Side, options: &Options) -> Result<(), FilesError> {
        for step in self.steps.iter().rev().filter(|s| s.item.meta.kind == FileKind::Folder) {
            if matches!(step.act, Act::MakeFolder | Act::Keep) {
                let to = self.path(target, &self.to, step)?;
                if let Err(c) = target.settle(&to, step.item.meta.finish()) {
                    self.note(FilesError::new(target.name(), to.bytes(), "set the time of", c))?;
                }
            }
        }
        if self.marked && self.report_mut().failed == 0 {
            let taken = target.discard(&self.to);
            taken.map_err(|c| FilesError::new(target.name(), self.to.bytes(), "end the copy of", c))?;
        }
        if options.sync {
            let all = |c| FilesError::new(target.name(), self.to.bytes(), "bring to disk", c);
            target.sync().map_err(all)?;
        }
        Ok(())
    }

    /// From here on [`Copier::work`] compares the digests of all files.
    pub fn begin_check(&self) {
        let mut c = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        *c = Cursor { step: 0, block: 0, checking: true };
    }
}
