//! What all functions share: handles, numbers and pointers of C as values of Rust, checked.
//!
//! ```text
//!  C: handle, numbers, pointers ─► call! ─► &Port or &Process, values, slices ─► answer ─► C: number
//! ```
//! A null pointer is `INVAL` (of memory: `FAULT`), whatever the function; what a pointer that is not null
//! points to is the caller's promise, and the header says it.

use crate::handle::invalid;
use dvs::{Code, Endpoint, Error, Message, Result};
use std::ffi::c_char;
use std::slice;

/// Makes a function of the header from what it does. The handle is checked and opened first; inside, the
/// handle's name is the port or process itself.
macro_rules! call {
    ($(#[$doc:meta])* $name:ident($handle:ident: $of:ty $(, $arg:ident: $ty:ty)*) $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Handles are null or open; pointers are null or valid for what the header says of them.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($handle: *const $of $(, $arg: $ty)*) -> i32 {
            $crate::error::answer(|| {
                // SAFETY: as the caller promises.
                let $handle = &unsafe { $crate::handle::get($handle) }?.0;
                $body
            })
        }
    };
}
pub(crate) use call;

/// An endpoint of the header.
pub(crate) const fn ep(raw: i32) -> Endpoint {
    Endpoint::from_raw(raw)
}

/// The message behind a pointer.
///
/// # Safety
/// `m` is null or points to a message nobody else uses.
pub(crate) unsafe fn message<'a>(m: *mut Message) -> Result<&'a mut Message> {
    // SAFETY: as the caller promises; any 256 bytes are a message.
    unsafe { m.as_mut() }.ok_or_else(invalid)
}

/// `length` bytes at `address`, to be read.
///
/// # Safety
/// The range may be read as long as the call lasts.
pub(crate) unsafe fn readable<'a, T>(address: *const T, length: usize) -> Result<&'a [T]> {
    match (address.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Error::from(Code::FAULT)),
        // SAFETY: not null, and may be read as the caller promises.
        (false, n) => Ok(unsafe { slice::from_raw_parts(address, n) }),
    }
}

/// `length` bytes at `address`, to be written.
///
/// # Safety
/// The range may be written, and nobody else uses it as long as the call lasts.
pub(crate) unsafe fn writable<'a>(address: *mut u8, length: usize) -> Result<&'a mut [u8]> {
    match (address.is_null(), length) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Error::from(Code::FAULT)),
        // SAFETY: not null, and only ours as the caller promises.
        (false, n) => Ok(unsafe { slice::from_raw_parts_mut(address, n) }),
    }
}

/// Writes a result where the caller wants it.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Result<i32> {
    if out.is_null() {
        return Err(invalid());
    }
    // SAFETY: not null, and may be written as the caller promises.
    unsafe { out.write(value) };
    Ok(0)
}

/// A text in a field of fixed size, cut at a letter so that its final zero has room.
pub(crate) fn field<const N: usize>(text: &str) -> [c_char; N] {
    let mut end = text.len().min(N - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(text.as_bytes()[..end].iter()) {
        *to = *from as c_char;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_ends_with_a_zero_whatever_the_text() {
        let text = |f: &[std::ffi::c_char]| f.iter().map(|c| *c as u8).collect::<Vec<u8>>();
        assert_eq!(text(&field::<4>("ab")), b"ab\0\0");
        assert_eq!(text(&field::<4>("abcdef")), b"abc\0");
        assert_eq!(text(&field::<4>("ab\u{e9}")), b"ab\0\0");
    }
}
