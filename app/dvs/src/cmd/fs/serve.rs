//! `dvs fs serve`: a file server, in the foreground.

use super::{Place, failed};
use crate::cmd::Context;
use crate::cmd::disk::size;
use crate::fail::{Done, Fail};
use crate::output::say;
use dvs::{Code, DcId};
use dvs_api::Errno;
use dvs_api::disk::Device;
use dvs_api::fs::Time;
use dvs_disk::{Image, Memory};
use dvs_fs::{Server, Volume};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(clap::Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    place: Place,
    /// The file of this machine that is the disk
    #[arg(long, value_name = "FILE", required_unless_present = "memory")]
    image: Option<PathBuf>,
    /// Make the image, of so many bytes (K, M, G, T)
    #[arg(long, value_name = "BYTES", value_parser = size, requires = "image")]
    size: Option<u64>,
    /// A disk of so many bytes in memory instead
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with = "image")]
    memory: Option<u64>,
}

impl Serve {
    pub fn run(&self, context: &Context) -> Done<()> {
        let dc = context.container(self.place.dc.as_deref())?;
        let (mut volume, what) = self.volume()?;
        // Before there are threads: they inherit it.
        let signals = dvs_linux::signal::termination().map_err(Fail::new)?;
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-fs")?;
        let (stopped, dc_id, at) = (process.clone(), DcId(dc.dc), self.place.endpoint);
        let wait = move || {
            let _ = dvs_linux::signal::next(&signals);
            stopped.stop(dc_id, at, Code::SHUTDOWN);
        };
        std::thread::Builder::new().name("fs-signals".into()).spawn(wait).map_err(Fail::new)?;
        loop {
            let port = process.bind(DcId(dc.dc), self.place.endpoint)?;
            say(&format!("serving {what} at endpoint {} of {}", self.place.endpoint, dc.name));
            let mut server = Server::new(volume);
            let e = server.serve(&port);
            volume = server.into_backend();
            match e.code {
                Code::SHUTDOWN => {
                    volume.commit().map_err(|e| failed(e, &what))?;
                    return Ok(());
                }
                // The node was taken for lost, and all endpoints here with it.
                Code::NOTBIND => {}
                _ => return Err(Fail::from(e)),
            }
        }
    }

    fn volume(&self) -> Done<(Volume, String)> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Time { s: since.as_secs() as i64, ns: since.subsec_nanos() };
        let new = |disk: Arc<dyn Device>, what: &str| {
            Volume::format(disk, now).map(|v| (v, what.to_owned())).map_err(|e| failed(e, what))
        };
        if let Some(bytes) = self.memory {
            return new(Arc::new(Memory::new(bytes)), "a disk in memory");
        }
        let path = self.image.clone().unwrap_or_default();
        let shown = path.display().to_string();
        if let Some(bytes) = self.size {
            let disk = Image::create(&path, bytes).map_err(|e| Fail::new(e).of(&shown));
            let next = format!("serve the one that is there: leave --size out, or remove {shown}");
            return new(Arc::new(disk.map_err(|e| if path.exists() { e.next(next) } else { e })?), &shown);
        }
        let disk = Image::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Fail::missing(format!("{shown}: there is no such image")).next("make one: add --size 10G")
            }
            io::ErrorKind::WouldBlock => {
                Fail::refused(Code::BUSY as i32, format!("{shown} is used by another server"))
            }
            _ => Fail::new(e).of(&shown),
        })?;
        let volume = Volume::open(Arc::new(disk)).map_err(|e| match e {
            Errno::NXIO => Fail::usage(format!("{shown} is no volume")),
            e => failed(e, &shown),
        })?;
        Ok((volume, shown))
    }
}
