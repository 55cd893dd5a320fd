//! The engine from outside: SQL and typed requests over collections in a memory store.

#![expect(
    clippy::unwrap_used,
    reason = "a test that fails there has failed as it should"
)]

mod alter;
mod copy;
mod elements;
mod files;
mod json_casts;
mod kinds;
mod limits;
mod plugins;
mod pruning;
mod random_filters;
mod requests;
mod rewrite;
mod scalar_indexes;
mod sessions;
mod shape_indexes;
mod shapes;
mod statements;
mod support;
mod term_indexes;
mod together;
mod users;
mod vector_types;
mod views;
