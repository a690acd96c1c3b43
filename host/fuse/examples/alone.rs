//! A file server and its mount in one process: for a first look, and for test suites of file systems.
//!
//! `alone DIR [IMAGE]`: on a disk in memory, or on a new image.

use dvs::{DcId, Endpoint};
use dvs_api::disk::Device;
use dvs_api::fs::Time;
use dvs_disk::{Image, Memory};
use dvs_fs::{Server, Volume};
use dvs_fuse::{Mount, Options};
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let directory = words.next().ok_or("usage: alone DIR [IMAGE]")?;
    let disk: Arc<dyn Device> = match words.next() {
        Some(path) => Arc::new(Image::create(Path::new(&path), 8 << 30)?),
        None => Arc::new(Memory::new(8 << 30)),
    };
    let process = dvs::alone();
    let server = Endpoint::new(0, 1);
    let port = process.bind(DcId(0), server)?;
    let mut files = Server::new(Volume::format(disk, Time { s: 1, ns: 0 })?);
    std::thread::spawn(move || files.serve(&port));
    let mount = Mount::new(&process, (DcId(0), server), Path::new(&directory), &Options::default())?;
    println!("mounted");
    mount.wait()?;
    Ok(())
}
