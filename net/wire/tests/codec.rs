//! Whatever encodes decodes to itself; whatever does not decode is an error, not a panic.

use dvs_abi::limits::{
    CONTROL_BYTES_MAX, COPY_BYTES_MAX, COPY_CHUNK_BYTES, FRAME_BYTES_MAX, INLINE_BYTES, KNOCK_BYTES_MAX,
    MESSAGE_BYTES,
};
use dvs_abi::{Access, Code, DcId, Effect, Endpoint, Error, Fault, Grant, Kind, Message, NodeId};
use dvs_wire::{
    Frame, Frames, Grants, Greeting, Identity, Knock, RecordHead, Refusal, RefusalReason, SessionFrame,
    StreamClass, Versions, WireError,
};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<i32>().prop_map(Endpoint::from_raw)
}

fn message() -> impl Strategy<Value = Message> {
    let words = vec(any::<u64>(), MESSAGE_BYTES / 8);
    (words, 0..=INLINE_BYTES, 0u8..4, 0u16..32, 0u16..32).prop_map(|(words, len, kind, dc, node)| {
        let mut m = Message::default();
        m.words_mut().copy_from_slice(&words);
        m.set_kind(Kind::from_u8(kind).unwrap());
        m.set_len(len);
        m.set_place(DcId(dc), NodeId(node));
        m.inline_mut()[len..].fill(0);
        m
    })
}

fn grants() -> impl Strategy<Value = Grants> {
    vec((any::<u64>(), any::<u64>(), 1u8..4), 0..=4).prop_map(|g| {
        let g: Vec<_> = g
            .into_iter()
            .map(|(address, length, a)| Grant { address, length, access: Access::from_u8(a).unwrap() })
            .collect();
        Grants::new(&g).unwrap()
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::No), Just(Effect::Yes), Just(Effect::Unknown)]
}

fn error() -> impl Strategy<Value = Error> {
    let fault = prop_oneof![Just(Fault::Caller), Just(Fault::Peer), Just(Fault::System), Just(Fault::Nobody)];
    (0..Code::ALL.len(), fault, effect(), endpoint(), vec(endpoint(), 0..=64)).prop_map(
        |(code, fault, effect, peer, cycle)| Error {
            code: Code::ALL[code],
            fault,
            effect,
            peer,
            cycle: if cycle.is_empty() { None } else { Some(cycle.into()) },
        },
    )
}

fn frame() -> impl Strategy<Value = Frame<'static>> {
    let bytes = vec(any::<u8>(), 0..600).prop_map(|b| &*b.leak());
    let length = 0..=COPY_BYTES_MAX;
    let id = any::<u64>;
    prop_oneof![
        (id(), message(), grants()).prop_map(|(call, msg, grants)| Frame::Call { call, msg, grants }),
        id().prop_map(|call| Frame::Consumed { call }),
        (id(), message()).prop_map(|(call, msg)| Frame::Reply { call, msg }),
        (id(), error()).prop_map(|(call, error)| Frame::Failed { call, error }),
        (id(), endpoint(), message()).prop_map(|(call, to, msg)| Frame::Redirect { call, to, msg }),
        id().prop_map(|call| Frame::Cancel { call }),
        (id(), effect()).prop_map(|(call, effect)| Frame::Withdrawn { call, effect }),
        (0u16..32, endpoint(), endpoint(), id(), id()).prop_map(
            |(dc, source, destination, value, timestamp)| {
                Frame::Notify { dc: DcId(dc), source, destination, value, timestamp }
            }
        ),
        (id(), id(), id(), length.clone()).prop_map(|(copy, call, address, length)| Frame::CopyRead {
            copy,
            call,
            address,
            length
        }),
        (id(), id(), id(), length.clone()).prop_map(|(copy, call, address, length)| Frame::CopyWrite {
            copy,
            call,
            address,
            length
        }),
        (id(), id(), any::<bool>(), bytes.clone()).prop_map(|(copy, offset, last, bytes)| Frame::Data {
            copy,
            offset,
            last,
            bytes
        }),
        (id(), id(), proptest::option::of(error())).prop_map(|(copy, length, error)| Frame::CopyDone {
            copy,
            length,
            error
        }),
        (id(), id(), id(), length.clone(), 0u16..32).prop_map(|(copy, call, address, length, node)| {
            Frame::CopyFrom { copy, call, address, length, node: NodeId(node) }
        }),
        (id(), id(), id(), length, 0u16..32, id(), id()).prop_map(
            |(copy, call, address, length, node, to_call, to_address)| Frame::CopyRelay {
                copy,
                call,
                address,
                length,
                to_node: NodeId(node),
                to_call,
                to_address,
            }
        ),
        bytes.prop_map(|bytes| Frame::Control { bytes }),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    (any::<u128>(), any::<u64>()).prop_map(|(boot, life)| Identity { boot, life })
}

fn greeting() -> impl Strategy<Value = Greeting> {
    let words = any::<(u16, u16, u64, u64, bool, u128)>();
    (words, 0u16..32, identity(), identity()).prop_map(|(n, node, from, to)| Greeting {
        versions: Versions { min: n.0, max: n.1 },
        node: NodeId(node),
        class: if n.4 { StreamClass::Bulk } else { StreamClass::Message },
        from: Identity { boot: from.boot | 1, ..from },
        to,
        features: n.2,
        received: n.3,
        system: n.5,
    })
}

fn session_frame() -> impl Strategy<Value = SessionFrame> {
    let reason = proptest::sample::select(&RefusalReason::ALL[..]);
    let knock = || {
        (any::<(u16, u16)>(), vec(any::<u8>(), 0..600))
            .prop_map(|(v, payload)| Knock::new(Versions { min: v.0, max: v.1 }, payload).unwrap())
    };
    prop_oneof![
        greeting().prop_map(SessionFrame::Hello),
        greeting().prop_map(SessionFrame::Welcome),
        (reason, any::<(u16, u16, u128)>(), ".{0,120}").prop_map(|(reason, v, text)| SessionFrame::Refuse(
            Refusal { reason, versions: Versions { min: v.0, max: v.1 }, boot: v.2, text }
        )),
        knock().prop_map(SessionFrame::Knock),
        knock().prop_map(SessionFrame::Knocked),
        any::<u64>().prop_map(SessionFrame::Ping),
        any::<u64>().prop_map(SessionFrame::Pong),
    ]
}

fn decode(bytes: &[u8]) -> Result<Vec<Frame<'_>>, WireError> {
    Frames::new(bytes).collect()
}

proptest! {
    #[test]
    fn batches_come_back(frames in vec(frame(), 0..12)) {
        let mut bytes = Vec::new();
        for f in &frames {
            let before = bytes.len();
            f.encode(&mut bytes).unwrap();
            prop_assert!(bytes.len() - before <= f.size_hint().max(512) + 24);
        }
        prop_assert_eq!(decode(&bytes).unwrap(), frames);
    }

    #[test]
    fn a_cut_batch_is_an_error_or_shorter(
        frames in vec(frame(), 1..4), cut in any::<proptest::sample::Index>()
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|f| f.encode(&mut bytes).unwrap());
        let end = cut.index(bytes.len());
        if let Ok(got) = decode(&bytes[..end]) {
            prop_assert!(got.len() < frames.len() && got[..] == frames[..got.len()]);
        }
    }

    #[test]
    fn damaged_bytes_do_not_panic_and_what_decodes_encodes_again(
        frames in vec(frame(), 1..4), hits in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|f| f.encode(&mut bytes).unwrap());
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(got) = decode(&bytes) {
            let mut again = Vec::new();
            got.iter().for_each(|f| f.encode(&mut again).unwrap());
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn session_frames_come_back(f in session_frame()) {
        let mut bytes = Vec::new();
        f.encode(&mut bytes);
        prop_assert_eq!(SessionFrame::decode(&bytes).unwrap(), f);
    }

    #[test]
    fn a_damaged_session_frame_is_an_error_or_another(
        f in session_frame(), cut in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(),
        value in any::<u8>()
    ) {
        let mut bytes = Vec::new();
        f.encode(&mut bytes);
        if matches!(f, SessionFrame::Knock(_) | SessionFrame::Knocked(_)) {
            prop_assert!(SessionFrame::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(SessionFrame::Knock(k)) = SessionFrame::decode(&bytes) {
            prop_assert!(k.into_payload().len() <= KNOCK_BYTES_MAX);
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes in vec(any::<u8>(), 0..400), head in any::<[u8; 24]>()) {
        let _ = decode(&bytes);
        let _ = SessionFrame::decode(&bytes);
        if let Ok(h) = RecordHead::decode(&head) {
            prop_assert_eq!(h.encode(), head);
        }
    }
}

#[test]
fn a_greeting_is_96_bytes_and_what_newer_versions_append_is_skipped() {
    let g = Greeting {
        versions: Versions { min: 1, max: 9 },
        node: NodeId(3),
        class: StreamClass::Bulk,
        from: Identity { boot: 7, life: 1 },
        to: Identity::NOBODY,
        features: 0,
        received: 12,
        system: 5,
    };
    let mut bytes = Vec::new();
    SessionFrame::Hello(g).encode(&mut bytes);
    assert_eq!(bytes.len(), 96);
    bytes.extend_from_slice(b"of a later version");
    assert_eq!(SessionFrame::decode(&bytes), Ok(SessionFrame::Hello(g)));
    assert_eq!(
        SessionFrame::decode(b"GET / HTTP/1.1\r\n"),
        Err(WireError::Magic(u32::from_le_bytes(*b"GET ")))
    );
}

#[test]
fn a_knock_of_another_version_is_read_and_what_it_appends_is_skipped() {
    let knock = |length| Knock::new(Versions { min: 7, max: 9 }, vec![5; length]);
    assert!(matches!(knock(KNOCK_BYTES_MAX + 1), Err(WireError::TooLong { what: "KNOCK bytes", .. })));
    let knock = knock(KNOCK_BYTES_MAX).unwrap();
    assert!(!format!("{knock:?}").contains("5, 5"), "it may hold a secret");
    let mut bytes = Vec::new();
    SessionFrame::Knock(knock.clone()).encode(&mut bytes);
    assert_eq!(bytes.len(), 16 + KNOCK_BYTES_MAX);
    bytes.extend_from_slice(b"of a later version");
    assert_eq!(SessionFrame::decode(&bytes), Ok(SessionFrame::Knock(knock)));
    bytes[12..16].copy_from_slice(&(KNOCK_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(SessionFrame::decode(&bytes).is_err());
    bytes[12..16].copy_from_slice(&8u32.to_le_bytes());
    bytes.resize(FRAME_BYTES_MAX + 1, 0);
    assert!(matches!(SessionFrame::decode(&bytes), Err(WireError::TooLong { what: "session frame", .. })));
    bytes[4] = 32; // a HELLO is bounded as ever
    bytes.truncate(1025);
    assert!(matches!(SessionFrame::decode(&bytes), Err(WireError::TooLong { limit: 1024, .. })));
}

#[test]
fn bounds_hold_on_both_sides() {
    let big = vec![0; CONTROL_BYTES_MAX.max(COPY_CHUNK_BYTES) + 1];
    let mut out = vec![1];
    let data = Frame::Data { copy: 0, offset: 0, last: true, bytes: &big };
    assert!(matches!(data.encode(&mut out), Err(WireError::TooLong { what: "DATA bytes", .. })));
    let control = Frame::Control { bytes: &big };
    assert!(matches!(control.encode(&mut out), Err(WireError::TooLong { what: "CONTROL bytes", .. })));
    assert_eq!(out, [1], "nothing half encoded");
    let mut frame = ((big.len() + 8) as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&[13, 0, 0, 0]);
    frame.extend_from_slice(&big);
    assert!(matches!(decode(&frame), Err(WireError::TooLong { .. })));
}

#[test]
fn errors_name_the_field() {
    let mut bytes = Vec::new();
    Frame::Notify {
        dc: DcId(1),
        source: Endpoint::SYSTEM,
        destination: Endpoint::new(0, 1),
        value: 1,
        timestamp: 2,
    }
    .encode(&mut bytes)
    .unwrap();
    bytes[6] = 200;
    assert_eq!(decode(&bytes).unwrap_err().to_string(), "container: 0xc8 is no legal value");
    bytes[4] = 99;
    assert_eq!(decode(&bytes).unwrap_err().to_string(), "unknown kind of frame 99");
    assert_eq!(decode(&bytes[..20]).unwrap_err().to_string(), "frame: 32 bytes needed, 20 left");
    assert_eq!(decode(&bytes[..3]).unwrap_err().to_string(), "frame length: 4 bytes needed, 3 left");
}

#[test]
fn versions_meet_or_say_why() {
    let v = |min, max| Versions { min, max };
    for (a, b, common) in [(v(1, 1), v(1, 1), 1), (v(1, 4), v(2, 9), 4), (v(3, 3), v(1, 8), 3)] {
        assert_eq!((a.common(b), b.common(a)), (Ok(common), Ok(common)));
    }
    assert!(v(1, 2).common(v(3, 4)).is_err() && v(1, 2).common(v(4, 1)).is_err());
}
