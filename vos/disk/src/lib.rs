//! Block devices: where the bytes of a volume are.
//!
//! | device | kept in |
//! |---|---|
//! | [`Memory`] | memory, gone with its process |
//! | [`Image`] | a file of the host |
//!
//! All are [`dvs_api::disk::Device`]: bytes that can be read, written and flushed.
#![forbid(unsafe_code)]

mod image;
mod memory;

pub use image::Image;
pub use memory::Memory;
