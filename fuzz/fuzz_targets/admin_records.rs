//! What the command line and a daemon write to each other: never panics, and what decodes comes back.
#![no_main]

use dvs_ipc::control::{decode, encode};
use dvsd::admin::{AdminAnswer, AdminRequest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(n) = decode::<AdminRequest>(bytes)
        && let Ok(again) = encode(&n)
    {
        assert_eq!(decode::<AdminRequest>(&again).expect("what encodes decodes"), n);
    }
    if let Ok(n) = decode::<AdminAnswer>(bytes)
        && let Ok(again) = encode(&n)
    {
        assert_eq!(decode::<AdminAnswer>(&again).expect("what encodes decodes"), n);
    }
});
