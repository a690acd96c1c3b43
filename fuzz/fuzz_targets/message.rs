#![no_main]
//! Any 256 bytes are a message: no accessor panics, and what is read can be written back.

use dvs_abi::limits::{INLINE_BYTES, MESSAGE_BYTES};
use dvs_abi::{Code, Grant, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(m) = Message::from_bytes(data) else {
        assert_ne!(data.len(), MESSAGE_BYTES);
        return;
    };
    assert_eq!(m.as_bytes(), data);
    assert!(m.len() <= INLINE_BYTES && m.bytes().len() == m.len());

    // Written field by field into another message, it says the same.
    let mut copy = Message::default();
    copy.set_route(m.source(), m.destination());
    copy.set_mtype(m.mtype());
    copy.set_len(m.len());
    copy.set_call(m.call());
    copy.set_epoch(m.epoch());
    copy.set_deadline(m.deadline());
    copy.set_place(m.dc(), m.node());
    copy.set_value(m.value());
    copy.set_timestamp(m.timestamp());
    copy.inline_mut().copy_from_slice(m.inline());
    if let Some(kind) = m.kind() {
        copy.set_kind(kind);
        assert_eq!(copy.kind(), Some(kind));
    }
    assert_eq!((copy.source(), copy.destination()), (m.source(), m.destination()));
    assert_eq!((copy.mtype(), copy.len(), copy.call()), (m.mtype(), m.len(), m.call()));
    assert_eq!((copy.deadline(), copy.dc(), copy.node()), (m.deadline(), m.dc(), m.node()));
    assert_eq!(copy.bytes(), m.bytes());

    // What hostile words could mean elsewhere: an endpoint, a code, a range.
    for e in [m.source(), m.destination()] {
        let slot = e.slot();
        if e.in_table(35, 16_384) {
            assert!((-35..16_384).contains(&slot), "{e}");
        }
        let _ = format!("{e} {e:?} {m:?}");
    }
    if let Some(code) = Code::from_i32(m.mtype()) {
        assert_eq!(code as i32, m.mtype());
    }
    let Some(access) = dvs_abi::Access::from_u8(data[0]) else { return };
    let grant = Grant { address: m.word(0), length: m.word(1), access };
    if grant.covers(m.word(2), m.word(3), access) {
        let end = u128::from(m.word(2)) + u128::from(m.word(3));
        assert!(m.word(2) >= grant.address);
        assert!(end <= u128::from(grant.address) + u128::from(grant.length));
    }
});
