//! Tests of the host with guests made of WebAssembly text, and of the examples.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod calls;
mod checks;
mod contract;
mod examples;
mod fuzz;
mod guests;
mod hostile;
mod life;
mod twins;
/// The SDK is no part of the workspace; its arithmetic is tested here for processors, and by the examples for WebAssembly.
#[path = "../../../sdk/rust/src/vectors.rs"]
mod vectors;
