#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Services beside the engine that score texts with a model, over HTTP.
//!
//! ```text
//!   query, texts ──> POST, a batch at a time ──> one score for each text
//! ```
//!
//! [`Provider`] is the list of the protocols: services that one runs oneself (TEI, vLLM, SGLang), and hosted ones with a key
//! (Cohere, Voyage AI, SiliconFlow, DashScope, Hugging Face).
//!
//! A server asks only services that its operator has allowed: a request names an address, and what answers there may be
//! meant for the server's own eyes. This crate knows texts and scores, nothing of rows.

mod access;
mod provider;
mod scorer;

pub use access::{ApiKey, ProviderSettings, ServiceAccess};
pub use provider::Provider;
pub use scorer::{Options, ServiceError, TextScorer};
