//! The engine from outside: SQL and typed requests over collections in a memory store.

mod requests;
mod rewrite;
mod sessions;
mod support;
