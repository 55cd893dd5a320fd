//! The Flight SQL door over a real socket, with `arrow-flight`'s client.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cancelling;
mod commands;
mod ingest;
mod limits;
mod metadata;
mod prepared;
mod reflection;
mod sessions;
mod support;
mod tickets;
