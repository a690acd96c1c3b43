//! The key/value service: keys and values that outlive nodes.
//!
//! ```text
//!   put(key, value) ──► replica of this node ──► log ──► Store on every replica ──► version
//!   get(key)        ──► replica of this node ──► is it recent? ──► Store here ────► version, value
//! ```
//! Every change gives a key a new version; a put or delete can name the version it expects. What is answered
//! is on the disks of a majority of the replicas; what is read is not older than anything that was answered.
//! [`dvs_replica`] does all of that; here is what a pair is.
//!
//! ```
//! use dvs::{DcId, Endpoint, NodeId};
//! use dvs_kv::{Client, SERVICE, Store};
//! use dvs_replica::{Active, Plan, Replica, Seats};
//! # let folder = tempfile::tempdir()?;
//! let process = dvs::alone(); // a group of one
//! let seats = Seats::new(DcId(0), SERVICE, &[NodeId(0)])?;
//! let plan = Plan::new(seats, folder.path().join("kv.log"));
//! let replica = Replica::start(&process, &plan, Active::new(Store::default()))?;
//! let stopper = replica.stopper();
//! let serving = std::thread::spawn(move || replica.serve());
//!
//! let client = Client::new(process.bind(DcId(0), Endpoint::NONE)?, SERVICE);
//! let version = client.put(b"colour", b"blue", None)?;
//! assert_eq!(client.get(b"colour")?, Some((version, b"blue".to_vec())));
//! stopper.stop();
//! serving.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod alone;
pub mod client;
pub mod protocol;
pub mod store;

pub use alone::Alone;
pub use client::{Client, KvError};
pub use protocol::SERVICE;
pub use store::Store;
