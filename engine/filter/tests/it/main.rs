//! Tests of the filter crate, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod evaluate;
mod grammar;
mod model;
mod rejected;
mod roundtrip;
mod table;
