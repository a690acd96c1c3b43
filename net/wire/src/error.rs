//! What can be wrong with bytes from another node.

/// Why bytes are not a frame, record or greeting. Fatal for the connection they came over, never for the
/// node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes end before a field.
    #[error("{what}: {need} bytes needed, {got} left")]
    Short {
        /// The field.
        what: &'static str,
        /// Bytes the field needs.
        need: usize,
        /// Bytes there are.
        got: usize,
    },
    /// A length is above its bound.
    #[error("{what}: {got} is above the bound of {limit}")]
    TooLong {
        /// The field.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// What was asked.
        got: usize,
    },
    /// Bytes are left after the last field.
    #[error("{what}: {extra} bytes too many")]
    Trailing {
        /// The frame.
        what: &'static str,
        /// Bytes too many.
        extra: usize,
    },
    /// No frame has this kind.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// A field has a value it cannot have.
    #[error("{what}: {value:#x} is no legal value")]
    BadValue {
        /// The field.
        what: &'static str,
        /// What it holds.
        value: u64,
    },
    /// The other side does not speak this protocol at all.
    #[error("the greeting starts with {0:#010x}, not with the protocol's magic number")]
    Magic(u32),
}
