//! `dvs fs ls`, `cat`, `put`, `get`, `stat`, `df`.

use super::{Place, failed};
use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs_api::Errno;
use dvs_api::fs::{Attr, FileKind, IO_BYTES_MAX, SetAttr, Time, What, Who};
use dvs_fs::Client;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct Ls {
    /// The directory, or a file
    #[arg(default_value = "/")]
    path: String,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Debug)]
pub struct Cat {
    /// The file
    path: String,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Debug)]
pub struct Put {
    /// The file of this machine; - for what comes in
    file: String,
    /// Where to; a directory gets it under its own name
    path: String,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Debug)]
pub struct Get {
    /// The file
    path: String,
    /// Where to on this machine (default: here, under its own name)
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Debug)]
pub struct Stat {
    /// The file
    path: String,
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args, Debug)]
pub struct Df {
    #[command(flatten)]
    place: Place,
}

/// What is known of a file, as JSON.
#[derive(Serialize)]
struct Shown {
    name: String,
    ino: u64,
    kind: &'static str,
    mode: String,
    links: u32,
    uid: u32,
    gid: u32,
    bytes: u64,
    stored: u64,
    changed: String,
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Dir => "dir",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::Char => "char",
        FileKind::Block => "block",
    }
}

fn time(t: Time) -> String {
    let since = std::time::Duration::new(t.s.max(0).unsigned_abs(), t.ns.min(999_999_999));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

fn shown(name: &[u8], a: &Attr) -> Shown {
    Shown {
        name: String::from_utf8_lossy(name).into_owned(),
        ino: a.ino.0,
        kind: kind(a.kind),
        mode: format!("{:04o}", a.mode),
        links: a.links,
        uid: a.uid,
        gid: a.gid,
        bytes: a.size,
        stored: a.stored,
        changed: time(a.mtime),
    }
}

fn show(context: &Context, all: Vec<Shown>) -> Done<()> {
    if context.output == Format::Json {
        return output::json(&all);
    }
    let rows = all.into_iter().map(|s| {
        let (uid, gid) = (s.uid.to_string(), s.gid.to_string());
        vec![s.kind.to_owned(), s.mode, uid, gid, s.bytes.to_string(), s.changed, s.name]
    });
    output::table(&["kind", "mode", "uid", "gid", "bytes", "changed", "name"], rows.collect());
    Ok(())
}

impl Ls {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.place.client(context)?;
        let told = |e| failed(e, &self.path);
        let found = client.find(self.path.as_bytes(), true).map_err(told)?;
        if found.kind != FileKind::Dir {
            return show(context, vec![shown(self.path.as_bytes(), &found)]);
        }
        let mut all = Vec::new();
        for (entry, name) in client.list(found.ino).map_err(told)? {
            let attr = entry.attr.ok_or(Errno::PROTO).map_err(told)?;
            all.push(shown(&name, &attr));
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        show(context, all)
    }
}

/// Reads a file to its end.
fn copy_out(client: &Client, path: &str, into: &mut dyn Write) -> Done<()> {
    let told = |e| failed(e, path);
    let found = client.find(path.as_bytes(), true).map_err(told)?;
    let (mut bytes, mut offset) = (vec![0; IO_BYTES_MAX], 0);
    loop {
        let n = client.read(found.ino, offset, &mut bytes).map_err(told)?;
        if n == 0 {
            return into.flush().map_err(Fail::new);
        }
        into.write_all(&bytes[..n]).map_err(Fail::new)?;
        offset += n as u64;
    }
}

impl Cat {
    pub fn run(&self, context: &Context) -> Done<()> {
        copy_out(&self.place.client(context)?, &self.path, &mut io::stdout().lock())
    }
}

impl Get {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.place.client(context)?;
        // Before a file is made here for one that is not there.
        client.find(self.path.as_bytes(), true).map_err(|e| failed(e, &self.path))?;
        let name = self.path.rsplit('/').find(|n| !n.is_empty()).unwrap_or("file");
        let to = self.file.clone().unwrap_or_else(|| PathBuf::from(name));
        let mut file = File::create(&to).map_err(|e| Fail::new(e).of(to.display()))?;
        copy_out(&client, &self.path, &mut file)?;
        output::done(context.output, &format!("{} is in {}", self.path, to.display()))
    }
}

impl Put {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.place.client(context)?;
        let mut from: Box<dyn Read> = match &self.file[..] {
            "-" => Box::new(io::stdin()),
            name => Box::new(File::open(name).map_err(|e| Fail::usage(e).of(name))?),
        };
        let path = self.to(&client)?;
        let told = |e| failed(e, &path);
        let (dir, name) = client.find_parent(path.as_bytes()).map_err(told)?;
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let what = What { kind: FileKind::File, mode: 0o644, rdev: 0, who: Who { uid, gid } };
        let ino = match client.make(dir, name, &what, b"", false) {
            Err(Errno::EXIST) => {
                let there = client.find(path.as_bytes(), true).map_err(told)?;
                let cut = SetAttr { size: Some(0), ..SetAttr::default() };
                client.set_attr(there.ino, &cut).map_err(told)?.ino
            }
            made => made.map_err(told)?.ino,
        };
        let (mut bytes, mut offset) = (vec![0; IO_BYTES_MAX], 0);
        loop {
            let n = from.read(&mut bytes).map_err(|e| Fail::new(e).of(&self.file))?;
            if n == 0 {
                break;
            }
            client.write(ino, Some(offset), &bytes[..n]).map_err(told)?;
            offset += n as u64;
        }
        client.sync(Some(ino)).map_err(told)?;
        output::done(context.output, &format!("{path} has {offset} bytes"))
    }

    /// A directory gets the file under its own name.
    fn to(&self, client: &Client) -> Done<String> {
        let into_directory = match client.find(self.path.as_bytes(), true) {
            Ok(found) => found.kind == FileKind::Dir,
            Err(Errno::NOENT) => self.path.ends_with('/'),
            Err(e) => return Err(failed(e, &self.path)),
        };
        if !into_directory {
            return Ok(self.path.clone());
        }
        let name = self.file.rsplit('/').next().filter(|n| !matches!(*n, "" | "-" | "." | ".."));
        let name =
            name.ok_or_else(|| Fail::usage(format!("{} is a directory", self.path)).next("add a name"))?;
        Ok(format!("{}/{name}", self.path.trim_end_matches('/')))
    }
}

impl Stat {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.place.client(context)?;
        let found = client.find(self.path.as_bytes(), false).map_err(|e| failed(e, &self.path))?;
        let s = shown(self.path.as_bytes(), &found);
        if context.output == Format::Json {
            return output::json(&s);
        }
        for (name, value) in [
            ("name", s.name),
            ("kind", s.kind.to_owned()),
            ("number", s.ino.to_string()),
            ("mode", s.mode),
            ("links", s.links.to_string()),
            ("owner", format!("{}:{}", s.uid, s.gid)),
            ("bytes", s.bytes.to_string()),
            ("on the disk", s.stored.to_string()),
            ("read", time(found.atime)),
            ("contents changed", s.changed),
            ("changed", time(found.ctime)),
            ("made", time(found.btime)),
        ] {
            say(&format!("{name:<17} {value}"));
        }
        Ok(())
    }
}

impl Df {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.place.client(context)?;
        let s = client.stat_fs().map_err(|e| failed(e, "the file server"))?;
        let used = s.bytes - s.free.min(s.bytes);
        if context.output == Format::Json {
            return output::json(&serde_json::json!({ "bytes": s.bytes, "used": used, "free": s.free }));
        }
        let row = [s.bytes, used, s.free].map(|n| n.to_string()).to_vec();
        output::table(&["bytes", "used", "free"], vec![row]);
        Ok(())
    }
}
