//! The lane reader and writer over any words: every operation comes back, nothing half-checked comes out.
#![no_main]

use dvs_abi::limits::{GRANTS_PER_CALL, INLINE_BYTES};
use dvs_abi::{Code, Effect, Endpoint, Kind, Message};
use dvs_ipc::host::{HeapMemory, Memory};
use dvs_ipc::lane::{Cancel, GrantList, LANE_WORDS, Lane, Outcome, Taken};
use std::sync::atomic::Ordering;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let memory = HeapMemory::new(LANE_WORDS);
    let Some(lane) = Lane::new(memory.words()) else { return };
    let mut words = bytes.chunks(8).map(|c| c.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
    for word in memory.words() {
        word.store(words.next().unwrap_or(0), Ordering::Relaxed);
    }
    let (mut m, mut grants) = (Message::default(), GrantList::default());
    // Steps: an operation in the low bits; some change a word first, as a hostile peer does between two of
    // ours.
    for step in words.take(64) {
        if step & 0x40 != 0 {
            let at = (step >> 8) as usize % LANE_WORDS;
            memory.words()[at].store(step.rotate_left((step >> 16) as u32 % 64), Ordering::Relaxed);
        }
        let seq = if step & 0x80 != 0 { lane.state().seq() } else { step >> 32 };
        match step & 0xf {
            0 => drop(lane.post(Kind::Send, &m, &[])),
            1 => drop(lane.post(Kind::Request, &m, grants.as_slice())),
            2 => drop(lane.progress(seq).pending()),
            3 => {
                let before = m;
                let outcome = lane.collect(seq, &mut m);
                assert!(matches!(outcome, Outcome::Replied | Outcome::Redirected(_)) || m == before);
            }
            4 => {
                if lane.cancel(seq) == Cancel::Copying {
                    lane.abandon(seq);
                }
            }
            5 => drop(lane.notify(step)),
            6 => drop(lane.peek()),
            7 => {
                if lane.take(seq, &mut m, &mut grants) == Taken::Yes {
                    assert!(matches!(m.kind(), Some(Kind::Send | Kind::Request)));
                }
            }
            8 => drop(lane.reply(seq, &m)),
            9 => drop(lane.redirect(seq, Endpoint::from_raw(step as i32), &m)),
            10 => drop(lane.fail(seq, Code::PERM, Effect::No)),
            11 => drop(lane.begin_copy(seq)),
            12 => drop(lane.end_copy(seq)),
            13 => drop(lane.take_notice().is_some_and(|n| n >> 63 != 0).then(|| panic!("63 bits"))),
            14 => drop(lane.close()),
            _ => lane.reset(),
        }
        assert!(m.len() <= INLINE_BYTES && grants.as_slice().len() <= GRANTS_PER_CALL);
        assert!(grants.as_slice().iter().all(|g| g.address.checked_add(g.length).is_some()));
    }
});
