//! The logical side: nodes of our own, the rules that put them into a plan, and the step to operators.

pub(crate) mod change_rows;
pub(crate) mod distance;
pub(crate) mod planner;
pub(crate) mod rule;
pub(crate) mod vector_search;
