#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Gradient-boosted trees: models that XGBoost has saved, evaluated row by row.
//!
//! ```text
//!   model.ubj or model.json ──> Forest ── margin(row) ──> one number ── predict(row) ──> what the model was trained to say
//! ```
//!
//! What is read is what `Booster.save_model` writes (XGBoost 1.6 and later). Sums and comparisons are those of XGBoost, in
//! 32-bit floats and in its order, so that a score here is the score there.
//!
//! This crate knows numbers alone: nothing of rows, columns or searches.

mod document;
mod forest;
mod ubjson;

pub use forest::{Forest, ModelError};
