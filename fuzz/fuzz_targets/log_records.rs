//! What members of a replicated log send each other and what their stores hold: never panics, and what
//! decodes comes back.
#![no_main]

use dvs_log::hostile::{message, stored};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    message(bytes);
    stored(bytes);
});
