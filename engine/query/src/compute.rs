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

/// Whether somebody still waits for the result of the work.
pub(crate) type Wanted<'a> = &'a (dyn Fn() -> bool + Sync);

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
    ///
    /// Long work asks the [`Wanted`] it is given now and then whether to go on: the caller may have
    /// stopped waiting, because its client gave up on the query.
    pub async fn run<T, F>(&self, cost: u64, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Wanted<'_>) -> T + Send + 'static,
    {
        if cost <= INLINE_COST {
            return Ok(work(&|| true));
        }
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            let wanted = || !sender.is_closed();
            if !wanted() {
                return;
            }
            // A panic in a rayon task would abort the process; here the query fails instead.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(&wanted))) {
                drop(sender.send(result));
            }
        });
        receiver
            .await
            .map_err(|_| QueryError::Internal("a query task stopped unexpectedly".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_nobody_waits_for_any_more_is_told_so() {
        let compute = Compute::new(1).unwrap();
        let (begun, has_begun) = channel();
        let (told, was_told) = channel();
        let work = move |wanted: Wanted<'_>| {
            begun.send(()).unwrap();
            while wanted() {
                std::thread::yield_now();
            }
            told.send(()).unwrap();
        };
        let mut running = Box::pin(compute.run(u64::MAX, work));
        let mut context = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut context).is_pending());
        let patience = Duration::from_secs(30);
        has_begun.recv_timeout(patience).unwrap();
        drop(running);
        was_told.recv_timeout(patience).unwrap();
    }
}
