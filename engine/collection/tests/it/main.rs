//! Whole collections over real and faulty stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod alter;
mod crash;
mod embedding_lists;
mod failures;
mod lifecycle;
mod merged_indexes;
mod model;
mod snapshots;
mod structs;
mod support;
mod updates;
