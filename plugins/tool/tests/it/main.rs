//! Plugins are built from source, compared with native twins, and measured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod benches;
mod c;
mod checks;
mod documents;
mod javascript;
mod projects;
mod python;
mod support;
