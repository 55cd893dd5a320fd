//! Sizes that tests make small.

use super::index::LEAST_WORK;

/// How searches are cut into batches, and which are left to the processor.
#[derive(Debug, Clone, Copy)]
pub struct SearchTuning {
    /// Most queries of a batch.
    pub queries: usize,
    /// Floats of the rows that a search looks at below which the processor does it.
    pub least_work: usize,
}

impl Default for SearchTuning {
    fn default() -> Self {
        Self {
            queries: 4096,
            least_work: LEAST_WORK,
        }
    }
}
