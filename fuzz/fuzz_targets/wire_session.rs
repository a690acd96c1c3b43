//! Session frames and record headers: never panic, and what is accepted comes back.
#![no_main]

use dvs_abi::limits::KNOCK_BYTES_MAX;
use dvs_wire::{RecordHead, SessionFrame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = bytes.first_chunk()
        && let Ok(decoded) = RecordHead::decode(head)
    {
        assert_eq!(decoded.encode(), *head);
    }
    if let Ok(frame) = SessionFrame::decode(bytes) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        let back = SessionFrame::decode(&again).expect("what encodes decodes");
        let text = matches!(frame, SessionFrame::Refuse(_)); // illegal UTF-8 is replaced and may then be cut
        assert!(text || back == frame);
        // What a stranger says is bounded, and of it nothing shows but its length.
        if let SessionFrame::Knock(knock) | SessionFrame::Knocked(knock) = frame {
            assert!(format!("{knock:?}").len() < 64 && knock.into_payload().len() <= KNOCK_BYTES_MAX);
        }
    }
});
