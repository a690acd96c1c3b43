//! Compresses a batch when that makes it arrive earlier.
//!
//! A batch of `n` bytes takes `n/L` over a link that drains `L` bytes a second, and `n/C + r·n/L` when it is
//! compressed at `C` to the fraction `r`: compression pays when `L < C·(1 - r)`. Loopback and veth drain
//! faster than LZ4 packs, so for them it never pays, whatever the data. `L` is measured, not guessed: only
//! while the socket is full does the link, and not the sender, set the pace, so only then is a sample
//! taken; a link that was never full counts as infinitely fast. `C` and `r` are measured with each try. A
//! socket may also be full because the receiver is slow, and then packing helps nobody: so the plain bytes
//! that got through a second are compared between packed and plain writes, and packing has to win by an
//! eighth. Data that did not shrink to 7/8, or packing that did not win, is tried only once in 32 batches.

use dvs_wire::{RECORD_PAYLOAD_MAX, WireError};

/// Smaller batches are one packet anyway.
const WORTH_BYTES: usize = 512;
/// After a try that did not pay, so many batches go plain.
const PAUSE: u32 = 32;
/// Blocked intervals shorter than this say nothing about the link.
const SAMPLE_NS: u64 = 200_000;

/// What is known about the link and the data.
#[derive(Debug)]
pub struct Squeeze {
    /// Bytes a second; infinite = never seen full.
    link: f64,
    /// Bytes a second.
    pack: f64,
    /// Fraction that is left.
    ratio: f64,
    pause: u32,
    /// Plain bytes a second that got through a full socket, when sent plain and when sent packed; 0 =
    /// unknown.
    through: [f64; 2],
}

impl Default for Squeeze {
    fn default() -> Self {
        Squeeze { link: f64::INFINITY, pack: 0.8e9, ratio: 0.5, pause: 0, through: [0.0; 2] }
    }
}

impl Squeeze {
    /// Whether a batch of `n` bytes should be tried.
    pub fn wants(&mut self, n: usize) -> bool {
        if n <= WORTH_BYTES || self.link >= self.pack * (1.0 - self.ratio.min(0.875)) {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        true
    }

    /// A batch was tried: `n` bytes became `packed` in `ns`. Returns whether to send it packed.
    pub fn tried(&mut self, n: usize, packed: usize, ns: u64) -> bool {
        let rate = n as f64 * 1e9 / ns.max(1) as f64;
        self.pack = self.pack * 0.75 + rate * 0.25;
        let pays = packed * 8 < n * 7;
        if pays {
            self.ratio = self.ratio * 0.75 + packed as f64 / n as f64 * 0.25;
        } else {
            self.pause = PAUSE - 1;
        }
        pays
    }

    /// The socket was full for `ns`, in which it took `bytes`, which were `plain` bytes before packing.
    pub fn drained(&mut self, bytes: u64, plain: u64, packed: bool, ns: u64) {
        if ns < SAMPLE_NS || bytes == 0 {
            return;
        }
        let rate = |n: u64| n as f64 * 1e9 / ns as f64;
        let mean =
            |old: f64, new: f64| if old > 0.0 && old.is_finite() { old * 0.75 + new * 0.25 } else { new };
        self.link = mean(self.link, rate(bytes));
        let through = &mut self.through[usize::from(packed)];
        *through = mean(*through, rate(plain));
        let [sent_plain, sent_packed] = self.through;
        if packed && sent_plain > 0.0 && sent_packed < sent_plain * 1.125 {
            self.pause = PAUSE - 1;
        }
    }

    /// The link's drain rate in bytes a second, if it was ever full.
    pub fn link_rate(&self) -> Option<f64> {
        self.link.is_finite().then_some(self.link)
    }
}

/// Appends the plain length and one LZ4 block; returns the bytes appended.
pub fn pack(plain: &[u8], out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    out.resize(start + 4 + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
    let n = lz4_flex::block::compress_into(plain, &mut out[start + 4..]).unwrap_or(plain.len());
    out.truncate(start + 4 + n);
    4 + n
}

/// Unpacks into `out`, which is overwritten.
///
/// # Errors
/// A length above the bound, or a damaged block.
pub fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    let (head, block) = packed.split_first_chunk::<4>().ok_or(WireError::Short {
        what: "plain length",
        need: 4,
        got: packed.len(),
    })?;
    let n = u32::from_le_bytes(*head) as usize;
    if n > RECORD_PAYLOAD_MAX {
        return Err(WireError::TooLong { what: "plain length", limit: RECORD_PAYLOAD_MAX, got: n });
    }
    out.resize(n, 0);
    match lz4_flex::block::decompress_into(block, out) {
        Ok(got) if got == n => Ok(()),
        Ok(got) => Err(WireError::Short { what: "LZ4 block", need: n, got }),
        Err(_) => Err(WireError::BadValue { what: "LZ4 block", value: n as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Squeeze, pack, unpack};

    #[test]
    fn a_fast_or_unknown_link_is_left_alone_and_a_slow_one_is_not() {
        let mut s = Squeeze::default();
        assert!(!s.wants(100_000));
        s.drained(3_000_000, 3_000_000, false, 1_000_000); // 3 GB/s: a veth
        assert!(!s.wants(100_000) && !s.wants(100));
        for _ in 0..30 {
            s.drained(120_000, 120_000, false, 1_000_000); // 120 MB/s: gigabit Ethernet
        }
        assert!(s.wants(100_000) && !s.wants(500));
        assert!(!s.tried(100_000, 99_000, 100_000), "did not shrink");
        assert_eq!((0..100).filter(|_| s.wants(100_000)).count(), 100 - 31);
        // a slow receiver: half the bytes, but no more data gets through
        s.drained(60_000, 120_000, true, 1_000_000);
        assert_eq!((0..100).filter(|_| s.wants(100_000)).count(), 100 - 31);
    }

    #[test]
    fn packed_comes_back_and_damage_is_an_error() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 50).to_le_bytes()).collect();
        let (mut packed, mut back) = (Vec::new(), Vec::new());
        let n = pack(&plain, &mut packed);
        assert!(n == packed.len() && n < plain.len() / 2);
        unpack(&packed, &mut back).unwrap();
        assert_eq!(back, plain);
        for i in 0..200 {
            let mut bad = packed.clone();
            bad[i * 7 % n] ^= 0x55;
            let _ = unpack(&bad, &mut back);
        }
        assert!(unpack(&[0xff; 20], &mut back).is_err() && unpack(&[1], &mut back).is_err());
    }
}
