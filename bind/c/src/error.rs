//! The last error of the calling thread.

use dvs::{Code, Effect, Endpoint, Error, Fault, Result};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Runs a call: its value, or the negative code of its error, which is kept for the questions below.
pub(crate) fn answer(call: impl FnOnce() -> Result<i32>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Error::new(Code::IO, Effect::Unknown)));
    let (value, error) = match result {
        Ok(value) => (value, None),
        Err(e) => (e.code as i32, Some(e)),
    };
    LAST.with(|last| *last.borrow_mut() = error);
    value
}

fn last<T>(none: T, of: impl FnOnce(&Error) -> T) -> T {
    LAST.with(|last| last.borrow().as_ref().map_or(none, of))
}

/// Whose fault the last error was: 0 none, 1 caller, 2 peer, 3 system, 4 nobody.
#[unsafe(no_mangle)]
pub extern "C" fn dvs_fault() -> i32 {
    last(0, |e| match e.fault {
        Fault::Caller => 1,
        Fault::Peer => 2,
        Fault::System => 3,
        Fault::Nobody => 4,
    })
}

/// Whether the effect of the failed call happened: 0 no, 1 yes, 2 unknown.
#[unsafe(no_mangle)]
pub extern "C" fn dvs_effect() -> i32 {
    last(0, |e| match e.effect {
        Effect::No => 0,
        Effect::Yes => 1,
        Effect::Unknown => 2,
    })
}

/// The endpoint the last error is about, or `DVS_NONE`.
#[unsafe(no_mangle)]
pub extern "C" fn dvs_error_peer() -> i32 {
    last(Endpoint::NONE.raw(), |e| e.peer.raw())
}

/// Copies the circle of a deadlock, at most `room` endpoints; its length.
///
/// # Safety
/// `into` must have room for `room` numbers (it may be null when `room` is 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvs_cycle(into: *mut i32, room: usize) -> usize {
    last(0, |e| {
        let cycle = e.cycle.as_deref().unwrap_or(&[]);
        if !into.is_null() {
            for (i, member) in cycle.iter().take(room).enumerate() {
                // SAFETY: the caller promises room for `room` numbers, and i < room.
                unsafe { into.add(i).write(member.raw()) };
            }
        }
        cycle.len()
    })
}

/// Name and sentence of an error number, as a constant string.
#[unsafe(no_mangle)]
pub extern "C" fn dvs_error_name(code: i32) -> *const std::ffi::c_char {
    thread_local! {
        static TEXT: RefCell<std::ffi::CString> = RefCell::default();
    }
    let text = Code::from_i32(code).map_or_else(|| format!("error {code}"), |c| c.to_string());
    TEXT.with(|t| {
        *t.borrow_mut() = std::ffi::CString::new(text).unwrap_or_default();
        t.borrow().as_ptr()
    })
}
