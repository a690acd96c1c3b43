//! Files and whole trees between the nodes of a container, over messages alone.
//!
//! # Why
//! The reference system moves files between nodes with a service of its own. This is that service: a *server*
//! beside the files, a *client* with typed calls, and a *copier* that drives two sides (each a server or the
//! local disk).
//!
//! # The picture
//!
//! ```text
//!            worker 1 ──READ──► endpoint a ┐                       ┌ endpoint x ◄──WRITE── worker 1
//!   copier   worker 2 ──READ──► endpoint b ├ server, its tree      ┤ endpoint y ◄──WRITE── worker 2
//!            worker 3 ──READ──► endpoint a ┘       server, its tree └ endpoint x ◄──WRITE── worker 3
//! ```
//!
//! A request names its file by path: the server keeps nothing between two requests, so it may die and come
//! back in the middle, and every request may be made twice. Data travels by copies into and out of a buffer
//! the client lends.
//!
//! # Layers
//! [`protocol`], [`path`], [`entry`], [`plan`] and [`progress`] are pure. [`tree`] touches the disk,
//! [`client`] and
//! [`server`] the port. [`copy`] joins two [`side`]s and knows neither.
//!
//! ```
//! use dvs::{DcId, Endpoint};
//! use dvs_files::{Client, Options, Server, Side, Tree, copy_once};
//! # let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! std::fs::write(from.path().join("letter"), "hello")?;
//! let process = dvs::alone();
//! let port = process.bind(DcId(0), Endpoint::new(0, 14))?;
//! let tree = Tree::open(to.path(), false)?;
//! let server = std::thread::spawn(move || Server::new(tree).serve(&port));
//!
//! let me = process.bind(DcId(0), Endpoint::NONE)?;
//! let there = Client::new(me, Endpoint::new(0, 14), "there");
//! let here = Tree::open(from.path(), true)?;
//! let report = copy_once(&here, b"letter", &there, b"", &Options::default())?;
//! assert_eq!(report.files, 1);
//! assert_eq!(std::fs::read(to.path().join("letter"))?, b"hello");
//! process.stop(DcId(0), Endpoint::new(0, 14), dvs::Code::SHUTDOWN);
//! assert_eq!(server.join().unwrap().code, dvs::Code::SHUTDOWN);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod client;
pub mod copy;
pub mod entry;
pub mod error;
pub mod path;
pub mod plan;
pub mod progress;
pub mod protocol;
mod scan;
pub mod server;
pub mod side;
pub mod tree;

pub use client::Client;
pub use copy::{Copier, Options, Report, copy_once};
pub use entry::{Entry, FileKind, Finish, Hash, Meta, Stamp};
pub use error::{Cause, FilesError, Refusal};
pub use path::RelPath;
pub use progress::{Progress, Rate};
pub use server::Server;
pub use side::Side;
pub use tree::Tree;
