//! What a file server and its clients write to each other: never panics, and what decodes comes back.
//!
//! The first two bytes say how long a second text is, the rest is the message, then a page of a folder's
//! list.
#![no_main]

use dvs::Message;
use dvs::limits::INLINE_BYTES;
use dvs_files::RelPath;
use dvs_files::entry::{Entry, read_page, write_page};
use dvs_files::protocol::{
    ANSWER, REQUEST, Text, decode_answer, decode_request, encode_answer, encode_request, split_text,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_at_checked(2) else { return };
    let second = u16::from_le_bytes([head[0], head[1]]);
    let inline = &rest[..rest.len().min(INLINE_BYTES)];
    let mut m = Message::new(REQUEST);
    m.set_bytes(inline).expect("cut to the room there is");
    if let Ok((op, text)) = decode_request(&m) {
        let text = if let Text::Inline(text) = text { text } else { rest };
        let (again, lent) = encode_request(&op, text);
        let (op_again, text_again) = decode_request(&again).expect("what encodes decodes");
        assert_eq!(op_again, op);
        assert_eq!(text_again, if lent { Text::Lent } else { Text::Inline(text) });
        path(text, second);
    }
    path(rest, second);
    m.set_mtype(ANSWER);
    if let Some(answer) = decode_answer(&m) {
        assert_eq!(decode_answer(&encode_answer(&answer)), Some(answer));
    }
    page(rest, usize::from(second));
});

/// A path that is accepted stays below the folder, and is its own normal form.
fn path(text: &[u8], second: u16) {
    let Ok((path, _)) = split_text(text, second) else { return };
    assert!(path.bytes().split(|b| *b == b'/').all(|n| n != b".." && n != b"." && !n.contains(&0)));
    assert_eq!(RelPath::parse(path.bytes()).as_ref(), Ok(&path));
}

/// A page that is accepted is in order, and comes back.
fn page(bytes: &[u8], count: usize) {
    let Some(entries) = read_page(bytes, count, b"") else { return };
    assert!(entries.is_sorted_by(|a: &Entry, b: &Entry| a.name < b.name));
    // Numbers may have been written longer than they need be: there is room for all of them again.
    let mut again = vec![0; bytes.len() + 1];
    let (written, used) = write_page(&entries, &mut again);
    assert_eq!(written, entries.len());
    assert_eq!(read_page(&again[..used], written, b""), Some(entries));
}
