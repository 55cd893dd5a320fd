//! Plugins: rerankers and SQL functions that users write, as WebAssembly components, run where they can do no harm.
//!
//! ```text
//!   file ──> Host::load ──> Plugin::Reranker   parameters, request, candidates ──> order and scores
//!                      └──> Plugin::Functions  function, arguments ─────────────> a column
//! ```
//!
//! The contract is in `plugins/wit`, one folder per version. A plugin says what it needs; the host pushes that in one
//! call as flat typed slices, and checks the answer: a plugin that is wrong, hostile or slow fails the query that called
//! it, with its name and the reason, and nothing else. It has no rights but to compute, unless they are granted.
//!
//! This crate knows slices: whoever calls it turns batches into columns, keeps the files, and decides who may load.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Host`] | from a file to a plugin: wrapping, compiling, the cache of machine code, the clock of deadlines |
//! | [`Reranker`], [`Functions`] | the two worlds: a call, and the checks of its answer |
//! | [`Registry`] | plugins by name, replaced while they run |
//! | [`Limits`], [`MemoryAccount`], [`Rights`] | what a plugin may use, who pays for it, what it may ask for |
//! | [`check()`] | what is wrong with a file, in words |
//! | `contract` | the versions of the contract, mapped to the types of this crate |
//! | `sandbox` | instances: kept, reused, thrown away |

mod cache;
mod check;
mod component;
mod contract;
mod descriptor;
mod digest;
mod engine;
mod error;
mod host;
mod limits;
mod params;
mod registry;
mod reranker;
mod rights;
mod sandbox;
mod signature;
mod stats;
mod ticker;
mod udf;
mod values;

pub use check::{Finding, Report, check, check_with};
pub use component::{VERSION as CONTRACT_VERSION, World};
pub use contract::WIT_V1;
pub use descriptor::{
    ColumnSource, FunctionsDescriptor, NeededColumn, NullHandling, ParameterType, RerankerDescriptor,
    Signature, Volatility,
};
pub use digest::Digest;
pub use error::{Failure, PluginError, Refusal, Stage};
pub use host::{Host, HostConfig, HostError, LoadOptions, Plugin};
pub use limits::{Limits, MemoryAccount, Unbounded};
pub use params::{Parameter, Parameters, Value, ValueKind};
pub use registry::Registry;
pub use reranker::{Candidates, Keys, Ranking, Request, Reranker};
pub use rights::Rights;
pub use signature::{SignatureError, SigningKey, TrustedKeys};
pub use stats::{CallStats, PluginStats};
pub use udf::{Argument, Functions};
pub use values::{Column, ColumnData, ColumnKind, OwnedColumn, OwnedData, TextData, VectorData};
