//! Every request and answer comes back as it was, within a message.

use super::page::{Entry, entries, push};
use super::{
    Allocate, Answer, Attr, FileKind, Ino, Lock, LockKind, Op, REQUEST, Rename, Seek, SetAttr, SetTime, SetX,
    StatFs, Time, What, Who,
};
use crate::Errno;
use crate::codec::{Text, decode_answer, decode_request, encode_answer, encode_request};
use dvs_abi::Message;
use proptest::prelude::{any, proptest};

const INO: Ino = Ino(u64::MAX);
const TIME: Time = Time { s: i64::MIN, ns: u32::MAX };
const ATTR: Attr = Attr {
    ino: INO,
    kind: FileKind::Block,
    mode: u16::MAX,
    uid: u32::MAX,
    gid: u32::MAX,
    links: u32::MAX,
    size: u64::MAX,
    stored: u64::MAX,
    rdev: u32::MAX,
    atime: TIME,
    mtime: TIME,
    ctime: TIME,
    btime: TIME,
    generation: u32::MAX,
    version: u64::MAX,
};
const LOCK: Lock = Lock {
    owner: u64::MAX,
    pid: u32::MAX,
    kind: Some(LockKind::Exclusive),
    start: u64::MAX,
    end: u64::MAX,
    whole: true,
};

fn longest() -> Vec<Op> {
    let who = Who { uid: u32::MAX, gid: u32::MAX };
    let what = What { kind: FileKind::Block, mode: u16::MAX, rdev: u32::MAX, who };
    let time = Some(SetTime::To(TIME));
    let set = SetAttr {
        mode: Some(u16::MAX),
        uid: Some(u32::MAX),
        gid: Some(u32::MAX),
        size: Some(u64::MAX),
        atime: time,
        mtime: time,
    };
    vec![
        Op::Hello { session: u64::MAX },
        Op::SetAttr { ino: INO, set },
        Op::Make { dir: INO, what, name: u16::MAX, open: true },
        Op::Write { ino: INO, offset: Some(u64::MAX), length: u32::MAX },
        Op::Rename { dir: INO, to: INO, how: Rename::Whiteout, name: u16::MAX },
        Op::ReadDir { ino: INO, after: u64::MAX, attrs: true },
        Op::SetX { ino: INO, how: SetX::Replace },
        Op::Allocate { ino: INO, offset: u64::MAX, length: u64::MAX, how: Allocate::Zero },
        Op::Seek { ino: INO, offset: u64::MAX, what: Seek::Hole },
        Op::SetLock { ino: INO, lock: LOCK },
        Op::Sync { ino: None },
    ]
}

#[test]
fn every_operation_comes_back_with_its_text_inline_or_lent() {
    for op in longest() {
        for length in [0, 1, 60, 190, 4096] {
            let text = vec![b'x'; length];
            let (m, lent) = encode_request(REQUEST, &op, &text);
            let want = if lent { Text::Lent } else { Text::Inline(&text) };
            assert_eq!(decode_request(REQUEST, &m), Ok((op, want)));
        }
    }
}

#[test]
fn every_answer_comes_back() {
    let statfs = StatFs { bytes: u64::MAX, free: u64::MAX, files: u64::MAX, files_free: u64::MAX };
    for answer in [
        Ok(Answer::Bytes { length: u32::MAX, attr: ATTR }),
        Ok(Answer::StatFs(statfs)),
        Ok(Answer::Lock(Some(LOCK))),
        Err(Errno::NOENT),
    ] {
        assert_eq!(decode_answer(REQUEST, &encode_answer(REQUEST, &answer)), answer);
    }
}

#[test]
fn a_page_gives_back_its_entries_and_stops_where_it_is_full() {
    let mut page = Vec::new();
    let entry = |n| Entry { ino: Ino(n), kind: FileKind::File, position: n, attr: Some(ATTR) };
    let mut count = 0;
    while push(&mut page, 4096, &entry(count), format!("name{count}").as_bytes()) {
        count += 1;
    }
    assert!(count > 20 && page.len() <= 4096);
    let back: Vec<_> = entries(&page).collect();
    assert_eq!(back.len() as u64, count);
    assert_eq!(back[7], (entry(7), &b"name7"[..]));
    assert_eq!(entries(&page[..page.len() - 1]).count() as u64, count - 1);
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..=192)) {
        let mut m = Message::new(REQUEST);
        m.set_bytes(&bytes).expect("short enough");
        let _ = decode_answer::<Answer>(REQUEST, &m);
        entries(&bytes).for_each(drop);
        if let Ok((op, Text::Inline(text))) = decode_request::<Op>(REQUEST, &m) {
            let (again, _) = encode_request(REQUEST, &op, text);
            assert_eq!(decode_request::<Op>(REQUEST, &again).expect("ours").0, op);
        }
    }
}
