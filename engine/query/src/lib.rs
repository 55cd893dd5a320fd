//! Where DataFusion meets collections: sessions, SQL, our logical and physical operators, and the
//! requests of the other doors.
//!
//! | folder or file | what |
//! |---|---|
//! | [`Engine`] (`engine`) | the entry: SQL text, and typed search, query, count, delete requests |
//! | `sql` | dialect, types, statement router, DDL |
//! | `statement` | statements planned once and run many times, with parameters |
//! | `plan` | logical nodes, the rule that finds `ORDER BY distance LIMIT k`, the step to operators |
//! | `operators` | the physical operators, one in each file |
//! | `search`, `grouping`, `fusion`, `rerank`, `chain`, `models`, `ordering` | the stages of searches |
//! | `plugins` | WebAssembly plugins of users: registered, loaded, as rerankers and as SQL functions |
//! | `value_path` | columns and paths into JSON that requests name |
//! | `selection`, `predicate`, `index_filter` | what operators and direct requests share: filter bitsets, and what scalar indexes know of them |
//! | `catalog`, `info`, `table`, `relation` | databases, collections, views, external tables and engine state as DataFusion sees them |
//! | `files`, `memory` | which files statements may touch, how much memory they may hold |
//!
//! One plan serves both doors. SQL reaches the operators through the optimizer; a search request
//! calls the same stages directly, since planning would cost more than a graph search:
//!
//! ```text
//!   SELECT .. ORDER BY v <-> q LIMIT k        SearchRequest
//!        | parse, analyze, optimize                | check, compile filter (cached)
//!        v                                         v
//!   AnnSearchExec -> merge -> TakeRowsExec    select -> search_targets -> take_rows
//!        \______________ the same functions ______________/
//! ```
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "plans, expressions, types and syntax trees of DataFusion, Arrow and sqlparser have dozens of variants: \
              what is not ours to handle is passed on or refused"
)]

mod access;
mod catalog;
mod chain;
mod collapse;
mod compute;
mod engine;
mod error;
mod files;
mod fusion;
mod grouping;
mod index_filter;
mod info;
mod json_casts;
mod memory;
mod models;
mod operators;
mod ordering;
mod plan;
mod planner_messages;
mod plugins;
mod predicate;
mod pruning;
mod query_vectors;
mod relation;
mod request;
mod rerank;
mod resources;
mod search;
mod selection;
mod session;
mod settings;
mod sql;
mod statement;
mod table;
mod text_queries;
mod value_path;

pub use catalog::{CATALOG, DEFAULT_DATABASE, INFO_ALIAS, INFO_SCHEMA};
pub use chain::{Chain, ChainColumn, ChainExpr, ChainStep, CombineMode, NullPolicy};
pub use collapse::Collapse;
pub use engine::{Engine, EngineOptions, IngestMode};
pub use error::{QueryError, Result};
pub use files::FileAccess;
pub use fusion::{Fusion, ScoreMode, Scoring};
pub use ordering::OrderBy;
pub use plugins::{PluginOptions, PluginRerank};
pub use request::{
    Aggregate, AggregateKind, AggregateRequest, ELEMENT_COLUMN, FilterText, GroupKey, Grouping,
    HybridRequest, Queries, QueryRequest, SCORE_COLUMN, ScoreRange, SearchRequest, SearchResponse, SqlOutput,
};
pub use rerank::{Boost, BoostBy, Combine, Decay, DecayCurve, RandomScore, Rerank};
pub use search::MAX_NEIGHBOURS;
pub use settings::ElanusSettings;
pub use sql::check_syntax;
pub use sql::split::{Statements, split};
pub use statement::{Answer, Pinned, Prepared};
pub use value_path::{JsonCast, ValuePath};
