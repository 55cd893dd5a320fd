//! Write rerankers and SQL functions for Elanus: one trait, one macro, and a plugin is a `cdylib`.
//!
//! A reranker is a type that implements [`Reranker`] and is named in [`reranker!`]:
//!
//! ```
//! use elanus_plugin::{Candidates, Description, Error, Parameters, Place, Request, Reranker};
//!
//! /// The farthest first.
//! struct Reversed;
//!
//! impl Reranker for Reversed {
//!     fn describe() -> Description {
//!         Description::new("reversed", "1.0.0", "The farthest first.")
//!     }
//!
//!     fn new(_: &Parameters) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!
//!     fn rerank(&mut self, _: &Request, candidates: &Candidates) -> Result<Vec<Place>, Error> {
//!         Ok(elanus_plugin::by_score(candidates.distances()))
//!     }
//! }
//!
//! elanus_plugin::reranker!(Reversed);
//! # fn main() {}
//! ```
//!
//! Functions are a type that implements [`Functions`] and is named in [`functions!`]. Build with
//! `--target wasm32-unknown-unknown`; the result needs no further tool.

mod functions;
pub mod host;
mod reranker;
mod vectors;

pub use functions::{Argument, Functions, Kind, Library, Nulls, Output, Signature, Volatility};
pub use reranker::{
    Candidates, Description, Keys, Parameters, Place, Request, Reranker, Source, Text, Value, by_score,
    relevance,
};
pub use vectors::{dot, dots};

/// What the macros expand to.
#[doc(hidden)]
pub mod glue {
    pub use crate::functions::{describe, invoke};
    pub use crate::reranker::Slot;
}

/// Why a plugin refuses a call. The text reaches the user who made the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A parameter or an argument has a value that the plugin does not take.
    InvalidArgument(String),
    /// Something that the plugin does not do.
    Unsupported(String),
    /// The plugin's own fault.
    Internal(String),
}

impl From<Error> for bindings::reranker::elanus::plugin::types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidArgument(text) => Self::InvalidArgument(text),
            Error::Unsupported(text) => Self::Unsupported(text),
            Error::Internal(text) => Self::Internal(text),
        }
    }
}

/// Generated from the contract.
#[doc(hidden)]
pub mod bindings {
    pub mod reranker {
        wit_bindgen::generate!({
            path: "../../wit/v1",
            world: "reranker-with-rights",
            pub_export_macro: true,
            export_macro_name: "export_reranker",
            default_bindings_module: "elanus_plugin::bindings::reranker",
        });
    }

    pub mod udf {
        wit_bindgen::generate!({
            path: "../../wit/v1",
            world: "udf-with-rights",
            pub_export_macro: true,
            export_macro_name: "export_udf",
            default_bindings_module: "elanus_plugin::bindings::udf",
            with: {
                "elanus:plugin/types@1.0.0": crate::bindings::reranker::elanus::plugin::types,
                "elanus:plugin/clock@1.0.0": crate::bindings::reranker::elanus::plugin::clock,
                "elanus:plugin/random@1.0.0": crate::bindings::reranker::elanus::plugin::random,
                "elanus:plugin/log@1.0.0": crate::bindings::reranker::elanus::plugin::log,
            },
        });
    }
}
