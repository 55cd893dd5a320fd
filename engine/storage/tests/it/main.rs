//! The storage crate seen from outside: segments, recovery, fencing, damage, crashes and garbage collection.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod ambiguous;
mod crash;
mod damage;
mod fencing;
mod garbage;
mod large;
mod model;
mod recovery;
mod segments;
