//! The logical side: nodes of our own, the rules that put them into a plan, and the step to operators.

mod bm25;
pub(crate) mod change_rows;
mod columns;
pub(crate) mod distance;
pub(crate) mod hybrid_search;
pub(crate) mod lateral;
pub(crate) mod milvus_predicate;
pub(crate) mod planner;
mod range;
mod restriction;
pub(crate) mod rule;
pub(crate) mod table_function;
pub(crate) mod values;
pub(crate) mod vector_join;
pub(crate) mod vector_search;
