//! The frame decoder: never panics, and what it accepts encodes to the very same bytes.
#![no_main]

use dvs_wire::{Frame, Frames};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(frames) = Frames::new(bytes).collect::<Result<Vec<Frame<'_>>, _>>() else { return };
    let mut again = Vec::new();
    for frame in &frames {
        frame.encode(&mut again).expect("what decodes is within the bounds");
    }
    assert_eq!(again, bytes);
});
