//! A small key/value service: what a server, its interface and a load generator look like.
//!
//! ```text
//!   client            message                         server
//!   get(key)    ──►   GET  key                  ──►   Store, bounded by LIMITS
//!   value       ◄──   OK   value                ◄──
//! ```
//!
//! Keys and values are short enough to travel in the message itself. The store never grows past its bounds:
//! what is full says so.
//!
//! ```
//! use dvs::{DcId, Endpoint};
//! use dvs_kv_example::{Client, Store, serve};
//! let process = dvs::alone();
//! let (dc, at) = (DcId(0), Endpoint::new(0, 20));
//! let port = process.bind(dc, at)?;
//! let server = std::thread::spawn(move || serve(&port, &mut Store::default()));
//! let client = Client::new(process.bind(dc, Endpoint::NONE)?, at);
//! client.set(b"colour", b"blue").unwrap();
//! assert_eq!(client.get(b"colour").unwrap().as_deref(), Some(&b"blue"[..]));
//! process.stop(dc, at, dvs::Code::SHUTDOWN);
//! assert_eq!(server.join().unwrap().code, dvs::Code::SHUTDOWN);
//! # Ok::<_, dvs::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod client;
pub mod load;
pub mod protocol;
pub mod server;
pub mod store;

pub use client::{Client, KvError};
pub use server::serve;
pub use store::Store;
