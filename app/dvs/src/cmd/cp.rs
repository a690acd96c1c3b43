//! `dvs cp`: files and trees between nodes, by messages and copies alone.
//!
//! Each end is the local disk or the file service (`dvs files`) of a node. Several workers copy at the same
//! time, each with endpoints of its own, so that a long way is kept full.

use super::{Context, files, ps};
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::{DcId, Endpoint, Process};
use dvs_files::copy::Sides;
use dvs_files::{Cause, Client, Copier, FilesError, Options, Progress, Rate, Refusal, Report, Side, Tree};
use rustix::io::Errno;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

const EXAMPLES: &str = "\
Examples:
  dvs cp n0:data n2:copy          from the folder n0 serves to that of n2
  dvs cp shop:n0:data ./data      of container shop, to this machine
  dvs cp ./report.pdf n1:/        into the folder node n1 serves

NODE:PATH is below the folder that NODE serves with `dvs files`. As with cp -r: into the target when \
that is a folder, else it becomes the target.

What is there already (same length and time) is kept, so that an interrupted copy goes on when the \
same command is given again: a folder that an earlier try of it has made is told by the file \
.NAME.dvs-part beside it. Permissions, times, links and empty folders are kept; owners are not.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Cp {
    /// `[[CONTAINER:]NODE:]PATH`
    source: String,
    /// `[[CONTAINER:]NODE:]PATH`
    target: String,
    /// Also copy what seems to be there
    #[arg(long)]
    always: bool,
    /// Read everything again afterwards, on both sides, and compare the digests
    #[arg(long)]
    check: bool,
    /// Return only when all is on disk
    #[arg(long)]
    sync: bool,
    /// Requests at the same time
    #[arg(long, short, default_value_t = 4, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

/// An end as it was written.
#[derive(PartialEq, Eq, Debug)]
enum Place<'a> {
    Local(&'a str),
    Node { dc: Option<&'a str>, node: &'a str, path: &'a str },
}

/// An end that was found.
enum End {
    Local(Vec<u8>),
    Served { name: String, dc: DcId, at: Vec<Endpoint>, path: Vec<u8> },
}

/// What is printed at the end.
#[derive(Serialize)]
struct Summary {
    files: u64,
    kept: u64,
    folders: u64,
    links: u64,
    ignored: u64,
    bytes: u64,
    resumed: u64,
    checked: u64,
    failed: u64,
    seconds: f64,
    failures: Vec<String>,
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        if text.starts_with(['/', '.']) || !text.contains(':') {
            return Ok(Place::Local(text));
        }
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (dc, node, path) = match parts[..] {
            // A node's name has no slash: NODE:/a:b is a path with a colon.
            [dc, node, path] if !node.contains('/') => (Some(dc), node, path),
            [node, ..] => (None, node, &text[node.len() + 1..]),
            _ => (None, "", ""),
        };
        if node.is_empty() || dc == Some("") {
            return Err(format!("{text:?} is no [[CONTAINER:]NODE:]PATH; write ./{text} for a local file"));
        }
        Ok(Place::Node { dc, node, path })
    }
}

impl Cp {
    /// Copies.
    pub fn run(&self, context: &Context) -> Done {
        let (from, to) = (Place::parse(&self.source), Place::parse(&self.target));
        let from = End::find(context, from.map_err(Fail::usage)?, true)?;
        let to = End::find(context, to.map_err(Fail::usage)?, false)?;
        let process = match (&from, &to) {
            (End::Local(_), End::Local(_)) => None,
            _ => Some(dvs::attach_to(&context.node.session_socket(), "dvs-cp")?),
        };
        let begin = dvs_linux::clock::now();
        let report = self.copy(process.as_ref(), &from, &to, context)?;
        let seconds = (dvs_linux::clock::now() - begin) as f64 / 1e9;
        self.show(context, &report, seconds)?;
        Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn copy(&self, process: Option<&Process>, from: &End, to: &End, context: &Context) -> Done<Report> {
        let options = Options { always: self.always, check: self.check, sync: self.sync };
        let make =
            |i: usize| -> Result<Sides, FilesError> { Ok((from.side(process, i)?, to.side(process, i)?)) };
        let (source, target) = make(0).map_err(failed)?;
        let copier = Copier::prepare(&*source, from.path(), &*target, to.path(), &options).map_err(failed)?;
        let shown = !self.quiet && context.output == Format::Table && std::io::stderr().is_terminal();
        let line = Mutex::new(Line::default());
        let on_progress = |p: &Progress| {
            if let (true, Ok(mut line)) = (shown, line.lock()) {
                line.draw(p, dvs_linux::clock::now());
            }
        };
        let jobs = usize::from(self.jobs);
        copier.work_in_threads(jobs, &make, &on_progress).map_err(failed)?;
        copier.finish(&*target, &options).map_err(failed)?;
        if self.check {
            copier.begin_check();
            copier.work_in_threads(jobs, &make, &|_| {}).map_err(failed)?;
        }
        if shown {
            eprint!("\r\x1b[K");
        }
        Ok(copier.report())
    }

    fn show(&self, context: &Context, r: &Report, seconds: f64) -> Done<()> {
        let s = Summary {
            files: r.files,
            kept: r.kept,
            folders: r.folders,
            links: r.links,
            ignored: r.ignored,
            bytes: r.bytes,
            resumed: r.resumed,
            checked: r.checked,
            failed: r.failed,
            seconds,
            failures: r.failures.iter().map(ToString::to_string).collect(),
        };
        if context.output == Format::Json {
            return output::json(&s);
        }
        for f in &s.failures {
            eprintln!("dvs: {f}");
        }
        let rate = size((s.bytes as f64 / s.seconds.max(1e-9)) as u64);
        let files = if s.files == 1 { "file" } else { "files" };
        say(&format!("copied {} {files}, {} in {:.1} s ({rate}/s)", s.files, size(s.bytes), s.seconds));
        for (n, one, many) in [
            (s.folders, "folder made", "folders made"),
            (s.links, "link made", "links made"),
            (s.kept, "file was there already", "files were there already"),
            (s.ignored, "device, socket or pipe left out", "devices, sockets and pipes left out"),
            (s.checked, "file compared by digest: it is equal", "files compared by digest: they are equal"),
            (
                s.failed,
                "failed; the same command goes on from here",
                "failed; the same command goes on from here",
            ),
        ] {
            if n > 0 {
                say(&format!("  {n} {}", if n == 1 { one } else { many }));
            }
        }
        if s.resumed > 0 {
            say(&format!("  {} of it were there from an earlier try", size(s.resumed)));
        }
        Ok(())
    }
}

fn failed(e: FilesError) -> Fail {
    match e.cause {
        Cause::Refused(Refusal::Os(n)) if n == Errno::NOENT.raw_os_error() => Fail::missing(e),
        _ => Fail::new(e).next("what was copied so far stays; the same command goes on from there"),
    }
}

impl End {
    fn find(context: &Context, place: Place<'_>, source: bool) -> Done<End> {
        let (dc, node, path) = match place {
            Place::Local(text) => return local(text, source),
            Place::Node { dc, node, path } => (dc, node, path),
        };
        let containers = context.node.containers()?;
        let dc = match (dc, containers.as_slice()) {
            (Some(name), _) => context.node.container(name)?,
            (None, [only]) => only.clone(),
            (None, []) => return Err(Fail::missing("there is no container").next("dvs dc create NAME")),
            (None, _) => {
                return Err(Fail::usage(format!("{node}:{path}: there are several containers"))
                    .next(format!("say which one: CONTAINER:{node}:{path}")));
            }
        };
        let id = context.node.node_id(node)?;
        let rows = ps::rows(context, Some(&dc.name), false)?;
        let serving: Vec<_> =
            rows.iter().filter(|r| r.name == files::NAME && r.node == i32::from(id)).collect();
        // Another process of this name may serve another folder: all workers turn to one process.
        let first = serving.first().map(|r| r.pid);
        let at: Vec<Endpoint> =
            serving.iter().filter(|r| Some(r.pid) == first).map(|r| Endpoint::from_raw(r.raw)).collect();
        if at.is_empty() {
            return Err(Fail::missing(format!("node {node} serves no files to container {}", dc.name))
                .next(format!("there: dvs files {} --root FOLDER", dc.name)));
        }
        Ok(End::Served { name: node.to_string(), dc: DcId(dc.dc), at, path: path.as_bytes().to_vec() })
    }

    fn path(&self) -> &[u8] {
        match self {
            End::Local(path) | End::Served { path, .. } => path,
        }
    }

    /// The side for worker `i`.
    fn side(&self, process: Option<&Process>, i: usize) -> Result<Box<dyn Side>, FilesError> {
        match (self, process) {
            (End::Served { name, dc, at, .. }, Some(process)) => {
                let port = process.bind(*dc, Endpoint::NONE);
                let port = port.map_err(|e| FilesError::new(name, b"", "reach", e))?;
                Ok(Box::new(Client::new(port, at[i % at.len()], name)))
            }
            _ => {
                let opened = Tree::open(Path::new("/"), false);
                let number = |e: std::io::Error| dvs_files::Refusal::Os(e.raw_os_error().unwrap_or(0));
                Ok(Box::new(opened.map_err(|e| FilesError::new("local", b"/", "open", number(e)))?))
            }
        }
    }
}

/// A local path from the root of the disk, its folder's links and `..` resolved here.
fn local(text: &str, source: bool) -> Done<End> {
    let path = Path::new(text);
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Fail::missing(e).of(text),
        _ => Fail::new(e).of(text),
    };
    let whole = match (path.file_name(), path.parent()) {
        (Some(name), Some(folder)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let whole = folder.canonicalize().map_err(fail)?.join(name);
            // What is to be copied may be named by a link; only links within a tree are copied as links.
            if source || whole.is_dir() { whole.canonicalize().map_err(fail)? } else { whole }
        }
        _ => path.canonicalize().map_err(fail)?,
    };
    Ok(End::Local(whole.as_os_str().as_bytes().to_vec()))
}

/// The line that shows how far it is.
#[derive(Default)]
struct Line {
    rate: Rate,
    drawn: u64,
}

/// Time between two drawings.
const DRAW_NS: u64 = 100_000_000;

impl Line {
    fn draw(&mut self, p: &Progress, now: u64) {
        if now.saturating_sub(self.drawn) < DRAW_NS {
            return;
        }
        self.drawn = now;
        self.rate.update(now, p.bytes_done);
        let left = self.rate.remaining(p.bytes.saturating_sub(p.bytes_done));
        let left = left.map_or_else(String::new, |d| format!(", {} s left", d.as_secs()));
        let rate = size(self.rate.bytes_per_second() as u64);
        let mut err = std::io::stderr().lock();
        // A terminal that went away is not worth ending a copy for.
        let _ = write!(
            err,
            "\r\x1b[K{} of {}, {} of {} files, {rate}/s{left}",
            size(p.bytes_done),
            size(p.bytes),
            p.files_done,
            p.files
        );
        let _ = err.flush();
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::{Place, size};

    #[test]
    fn places_are_read_as_they_are_written() {
        let node = |dc, node, path| Ok(Place::Node { dc, node, path });
        assert_eq!(Place::parse("n1:/a:b"), node(None, "n1", "/a:b"));
        assert_eq!(Place::parse("n1:a"), node(None, "n1", "a"));
        assert_eq!(Place::parse("shop:n1:a"), node(Some("shop"), "n1", "a"));
        assert_eq!(Place::parse("n1:"), node(None, "n1", ""));
        assert_eq!(Place::parse("./a:b"), Ok(Place::Local("./a:b")));
        assert_eq!(Place::parse("/a:b"), Ok(Place::Local("/a:b")));
        assert_eq!(Place::parse("plain"), Ok(Place::Local("plain")));
        assert!(Place::parse(":a").is_err() && Place::parse(":n1:a").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([size(5), size(2048), size(3 << 20)], ["5 B", "2.0 KiB", "3.0 MiB"]);
    }
}
