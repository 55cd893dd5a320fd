//! Behaviour of the index family as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod data;
mod exact;
