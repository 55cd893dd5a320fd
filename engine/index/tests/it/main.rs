//! Behaviour of the index family as its users see it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod batch;
mod blobs;
mod coded;
mod coded_graph;
mod data;
mod disk;
mod edges;
mod elements;
mod exact;
mod filtered;
mod lists;
mod merge;
mod minhash;
mod range;
mod recall;
mod reproducible;
mod sparse;
mod typed;
mod typed_index;
mod typed_lists;
