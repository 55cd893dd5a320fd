//! The Flight SQL door over a real socket, with `arrow-flight`'s client.

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
