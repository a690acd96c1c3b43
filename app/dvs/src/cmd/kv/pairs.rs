//! `dvs kv get`, `put`, `del`, `list`.

use super::Way;
use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::limits::{KV_PAGE_MAX, KV_VALUE_BYTES_MAX};
use serde::Serialize;
use std::io::{Read, Write};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct Get {
    /// The key
    key: String,
    /// Print the value's bytes and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    way: Way,
}

#[derive(clap::Args, Debug)]
pub struct Put {
    /// The key
    key: String,
    /// The value
    #[arg(required_unless_present = "file")]
    value: Option<String>,
    /// The value is in this file; - for what comes in
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<PathBuf>,
    /// Only if the key has this version; 0: only if it is not there
    #[arg(long, value_name = "VERSION")]
    when: Option<u64>,
    #[command(flatten)]
    way: Way,
}

#[derive(clap::Args, Debug)]
pub struct Del {
    /// The key
    key: String,
    /// Only if it has this version
    #[arg(long, value_name = "VERSION")]
    when: Option<u64>,
    #[command(flatten)]
    way: Way,
}

#[derive(clap::Args, Debug)]
pub struct List {
    /// Keys that begin with this
    #[arg(default_value = "")]
    prefix: String,
    /// Keys that come after this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// So many at most
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print the values, too
    #[arg(long)]
    values: bool,
    #[command(flatten)]
    way: Way,
}

/// A pair as JSON: the value as text if it is text, else in base 16.
#[derive(Serialize)]
struct Shown {
    key: String,
    version: u64,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
}

impl Shown {
    fn new(key: &[u8], version: u64, bytes: usize, value: Option<Vec<u8>>) -> Shown {
        let key = String::from_utf8_lossy(key).into_owned();
        let (value, value_hex) = match value.map(String::from_utf8) {
            Some(Ok(text)) => (Some(text), None),
            Some(Err(e)) => (None, Some(e.as_bytes().iter().map(|b| format!("{b:02x}")).collect())),
            None => (None, None),
        };
        Shown { key, version, bytes, value, value_hex }
    }
}

impl Get {
    pub fn run(&self, context: &Context) -> Done<()> {
        let found = self.way.client(context)?.get(self.key.as_bytes()).map_err(|e| self.way.failed(&e))?;
        let Some((version, value)) = found else {
            return Err(
                Fail::missing(format!("no key {:?}", self.key)).next("see the keys with: dvs kv list")
            );
        };
        if self.raw {
            return std::io::stdout().write_all(&value).map_err(Fail::new);
        }
        let shown = Shown::new(self.key.as_bytes(), version, value.len(), Some(value));
        match context.output {
            Format::Json => output::json(&shown),
            Format::Table => {
                say(shown.value.as_deref().unwrap_or("(not text; see it with --raw or --output json)"));
                Ok(())
            }
        }
    }
}

impl Put {
    pub fn run(&self, context: &Context) -> Done<()> {
        let value = self.value()?;
        let client = self.way.client(context)?;
        let version = client.put(self.key.as_bytes(), &value, self.when).map_err(|e| self.way.failed(&e))?;
        match context.output {
            Format::Json => output::json(&serde_json::json!({ "key": self.key, "version": version })),
            Format::Table => {
                say(&format!("{} has version {version}", self.key));
                Ok(())
            }
        }
    }

    fn value(&self) -> Done<Vec<u8>> {
        let Some(file) = &self.file else { return Ok(self.value.clone().unwrap_or_default().into_bytes()) };
        // One byte more than fits shows that it does not.
        let limit = KV_VALUE_BYTES_MAX as u64 + 1;
        let mut value = Vec::new();
        let read = match file.as_os_str() == "-" {
            true => std::io::stdin().lock().take(limit).read_to_end(&mut value),
            false => std::fs::File::open(file).and_then(|f| f.take(limit).read_to_end(&mut value)),
        };
        read.map(|_| value).map_err(|e| Fail::usage(e).of(file.display()))
    }
}

impl Del {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.way.client(context)?;
        let was = client.delete(self.key.as_bytes(), self.when).map_err(|e| self.way.failed(&e))?;
        if !was {
            return Err(
                Fail::missing(format!("no key {:?}", self.key)).next("see the keys with: dvs kv list")
            );
        }
        output::done(context.output, &format!("{} is gone", self.key))
    }
}

impl List {
    pub fn run(&self, context: &Context) -> Done<()> {
        let client = self.way.client(context)?;
        let (mut rows, mut after) = (Vec::new(), self.after.clone().map(String::into_bytes));
        let more = loop {
            let left = self.limit - rows.len() as u32;
            let page =
                client.list(self.prefix.as_bytes(), after.as_deref(), left.min(KV_PAGE_MAX), self.values);
            let (page, more) = page.map_err(|e| self.way.failed(&e))?;
            after = page.last().map(|p| p.key.clone()).or(after);
            rows.extend(page.into_iter().map(|p| Shown::new(&p.key, p.version, p.bytes as usize, p.value)));
            if !more || rows.len() as u32 >= self.limit {
                break more;
            }
        };
        match context.output {
            Format::Json => output::json(&serde_json::json!({ "pairs": rows, "more": more })),
            Format::Table => {
                let last = rows.last().map(|r| r.key.clone());
                self.table(rows);
                if let Some(last) = last.filter(|_| more) {
                    eprintln!("dvs: there are more; go on with: --after {last:?}");
                }
                Ok(())
            }
        }
    }

    fn table(&self, rows: Vec<Shown>) {
        let mut headings = vec!["key", "version", "bytes"];
        headings.extend(self.values.then_some("value"));
        let row = |r: Shown| {
            let mut cells = vec![r.key, r.version.to_string(), r.bytes.to_string()];
            cells.extend(self.values.then(|| r.value.unwrap_or_else(|| "(not text)".to_string())));
            cells
        };
        output::table(&headings, rows.into_iter().map(row).collect());
    }
}
