#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Services beside the engine that score texts with a model, over HTTP.
//!
//! ```text
//!   query, texts ──> POST {endpoint}/rerank, a batch at a time ──> one score for each text
//! ```
//!
//! | provider | service | body | answer |
//! |---|---|---|---|
//! | [`Provider::Tei`] | Hugging Face's text-embeddings-inference | `query`, `texts` | `[{index, score}]` |
//! | [`Provider::Vllm`] | vLLM | `query`, `documents` | `{results: [{index, relevance_score}]}` |
//!
//! A server asks only services that its operator has allowed: a request names an address, and what answers there may be
//! meant for the server's own eyes. This crate knows texts and scores, nothing of rows.

mod access;
mod scorer;

pub use access::ServiceAccess;
pub use scorer::{Options, Provider, ServiceError, TextScorer};
