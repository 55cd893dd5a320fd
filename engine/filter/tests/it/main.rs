//! Tests of the filter crate, one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod elements;
mod evaluate;
mod grammar;
mod model;
mod rejected;
mod roundtrip;
mod spatial;
mod table;
