//! The pool that all CPU work of queries runs on, so that the I/O runtime never stalls.
//!
//! A hand-over to another thread and back costs two wake-ups, about as much as a small graph search
//! itself. Callers therefore say what a piece of work costs, and what is short enough to sit between
//! two awaits (about a tenth of a millisecond) runs where it is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use crate::error::{QueryError, Result};

/// Work of at most this many elementary steps (one float multiplied and added, or one value
/// compared) runs on the calling thread.
const INLINE_COST: u64 = 400_000;

/// A pool of threads for CPU work.
#[derive(Debug)]
pub(crate) struct Compute {
    pool: rayon::ThreadPool,
}

impl Compute {
    /// A pool of `threads` threads; 0 means one for each core.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("elanus-query-{index}"))
            .build()
            .map_err(|e| QueryError::Resources(format!("cannot start the query threads: {e}")))?;
        Ok(Self { pool })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work`, which takes about `cost` elementary steps, and gives its result. Work that has
    /// moved to the pool sees a rayon thread index and may use parallel iterators.
    pub async fn run<T, F>(&self, cost: u64, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if cost <= INLINE_COST {
            return Ok(work());
        }
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            // A panic in a rayon task would abort the process; here the query fails instead.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
                // The receiver is gone when the client gave up on the query.
                drop(sender.send(result));
            }
        });
        receiver
            .await
            .map_err(|_| QueryError::Internal("a query task stopped unexpectedly".into()))
    }
}
