//! What a connection delivers, cut into records in odd pieces, unpacked and decoded: never panics, never
//! grows.
#![no_main]

use dvs_proxy::records::Records;
use dvs_proxy::squeeze::unpack;
use dvs_wire::{Frames, SessionFrame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut records, mut plain) = (Records::new(), Vec::new());
    let step = 1 + bytes.first().map_or(0, |b| usize::from(*b));
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            piece = &piece[records.feed(piece)..];
            loop {
                let (head, payload) = match records.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(_) => return,
                };
                if head.session {
                    let _ = SessionFrame::decode(payload);
                } else if !head.lz4 {
                    Frames::new(payload).for_each(drop);
                } else if unpack(payload, &mut plain).is_ok() {
                    Frames::new(&plain).for_each(drop);
                }
            }
        }
    }
});
