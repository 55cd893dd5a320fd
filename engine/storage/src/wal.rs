//! The write-ahead log: writes that are acknowledged but not yet in a segment.
//!
//! One group commit is one object, named by the first sequence in it ([`object`]). Each frame in it holds one
//! [`WalEntry`], whose operations are encoded on the caller's threads ([`ops`]) or are in a file beside ([`files`]). How the objects follow each other,
//! and what a writer that takes over does, is in [`crate::collection`].

pub(crate) mod files;
pub(crate) mod object;
mod ops;

pub use files::{EncodedOps, WalFileWriter, WalFiles};
pub(crate) use ops::Payload;
pub use ops::{Keys, RowRefs, WalOp, encode_ops};

/// One atomic write: after a crash all of its operations are there, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct WalEntry {
    /// Position in the log, counted from 1 without gaps except those that a fence declares void.
    pub sequence: u64,
    /// Timestamp of the write, `(unix milliseconds << 18) | counter`.
    pub timestamp: u64,
    /// The operations, in order.
    pub ops: Vec<WalOp>,
}
