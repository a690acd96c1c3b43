//! A `DATA` frame whose bytes are read to where they will be sent from, so that a large copy is not moved
//! once more on its way out.

use crate::encode::{FLAG_LAST, FRAME_HEAD_BYTES};
use crate::{Frame, WireError};
use dvs_abi::limits::COPY_CHUNK_BYTES;

/// Bytes in front of the payload: the frame's header, copy and offset.
const HEAD_BYTES: usize = FRAME_HEAD_BYTES + 16;

/// An encoded `DATA` frame; empty until it is filled. The room is kept when it is used again.
///
/// ```
/// use dvs_wire::{DataFrame, Frame, Frames};
/// let mut data = DataFrame::new(Vec::new());
/// data.fill(7, 512, true, 3, |bytes| Ok::<(), ()>(bytes.copy_from_slice(b"abc"))).unwrap().unwrap();
/// let bytes = data.into_bytes();
/// let frame = Frames::new(&bytes).next().unwrap().unwrap();
/// assert!(matches!(frame, Frame::Data { copy: 7, offset: 512, last: true, bytes: b"abc" }));
/// ```
#[derive(Debug, Default)]
pub struct DataFrame {
    bytes: Vec<u8>,
}

impl DataFrame {
    /// An empty one in the room of `room`, whatever is in it.
    pub fn new(room: Vec<u8>) -> Self {
        DataFrame { bytes: room }
    }

    /// Makes the frame: chunk of `length` bytes at `offset` of a copy, which `read` writes. After an error of
    /// `read` (the inner one) what is there is of no use.
    ///
    /// # Errors
    /// A length above the bound of a chunk.
    pub fn fill<E>(
        &mut self,
        copy: u64,
        offset: u64,
        last: bool,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, WireError> {
        if length > COPY_CHUNK_BYTES {
            return Err(WireError::TooLong { what: "DATA bytes", limit: COPY_CHUNK_BYTES, got: length });
        }
        let kind = Frame::Data { copy, offset, last, bytes: &[] }.kind();
        // Room that was used before has this length most often, and is then not cleared again.
        self.bytes.resize(HEAD_BYTES + length, 0);
        let (head, body) = self.bytes.split_at_mut(HEAD_BYTES);
        head.fill(0);
        head[..4].copy_from_slice(&((HEAD_BYTES + length) as u32).to_le_bytes());
        head[4] = kind;
        head[5] = if last { FLAG_LAST } else { 0 };
        head[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + 8].copy_from_slice(&copy.to_le_bytes());
        head[FRAME_HEAD_BYTES + 8..].copy_from_slice(&offset.to_le_bytes());
        Ok(read(body))
    }

    /// The frame as it travels.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::DataFrame;
    use crate::Frame;
    use dvs_abi::limits::COPY_CHUNK_BYTES;

    #[test]
    fn it_is_the_frame_the_encoder_makes_also_in_room_that_was_used() {
        let mut room = vec![0xaa; 5000];
        for length in [0, 1, 4096, COPY_CHUNK_BYTES, 17] {
            let chunk: Vec<u8> = (0..length).map(|i| i as u8).collect();
            for last in [false, true] {
                let mut data = DataFrame::new(room);
                let copied = data.fill(3 << 56 | 5, 9, last, length, |b| {
                    b.copy_from_slice(&chunk);
                    Ok::<(), ()>(())
                });
                assert_eq!(copied, Ok(Ok(())));
                let mut expected = Vec::new();
                let frame = Frame::Data { copy: 3 << 56 | 5, offset: 9, last, bytes: &chunk };
                frame.encode(&mut expected).unwrap();
                room = data.into_bytes();
                assert!(room == expected, "{length} {last}");
            }
        }
        let long = DataFrame::default().fill(1, 0, true, COPY_CHUNK_BYTES + 1, |_| Ok::<(), ()>(()));
        assert!(long.is_err());
        assert_eq!(DataFrame::default().fill(1, 0, true, 8, |_| Err(7)), Ok(Err(7)));
    }
}
