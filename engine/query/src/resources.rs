//! What all queries of one engine share: the query threads and the bitsets of recent filters.

use std::sync::Arc;

use crate::compute::Compute;
use crate::error::Result;
use crate::selection::SelectionCache;
use crate::sql::running::Running;

/// Shared by tables, operators and direct requests.
#[derive(Debug)]
pub(crate) struct Resources {
    /// Where CPU work runs.
    pub compute: Compute,
    /// Bitsets of recent filters.
    pub selections: SelectionCache,
    /// SQL statements that run now.
    pub running: Arc<Running>,
}

impl Resources {
    /// `threads` query threads (0: one for each core) and a cache of `cache_bytes` of bits.
    pub fn new(threads: usize, cache_bytes: usize) -> Result<Self> {
        Ok(Self {
            compute: Compute::new(threads)?,
            selections: SelectionCache::new(cache_bytes),
            running: Arc::default(),
        })
    }
}
