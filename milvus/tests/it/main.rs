//! The door as a client sees it: a real socket, a real engine over an in-memory store, wire messages.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod life;
mod refusals;
mod rig;
mod schema_changes;
mod serving;
