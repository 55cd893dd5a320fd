//! The runtime that SQL plans run on.
//!
//! DataFusion's operators compute inside `poll`. On the runtime that serves connections a large join
//! would keep others from being answered, so plans have threads of their own. Definitions (`CREATE
//! TABLE`) do not run here: what they start, a collection's writer, has to outlive the engine and must
//! not wait behind a join.

use std::future::Future;
use std::time::Duration;

use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::StreamExt;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::running::RunningGuard;
use crate::error::{QueryError, Result, external};

/// A runtime of its own for SQL.
#[derive(Debug)]
pub(crate) struct SqlThreads {
    runtime: Option<Runtime>,
}

impl SqlThreads {
    /// `threads` threads; 0 means one for each core.
    pub fn new(threads: usize) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if threads > 0 {
            builder.worker_threads(threads);
        }
        let runtime = builder
            .thread_name("elanus-sql")
            .enable_all()
            .build()
            .map_err(|e| QueryError::Resources(format!("cannot start the SQL threads: {e}")))?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Runs `work` there; it stops when the caller stops waiting.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let Some(runtime) = &self.runtime else {
            return Err(QueryError::Internal("the SQL threads are stopped".into()));
        };
        let mut task = AbortOnDrop(runtime.spawn(work));
        (&mut task.0)
            .await
            .map_err(|e| QueryError::Internal(format!("a statement stopped unexpectedly: {e}")))
    }

    /// As [`SqlThreads::run`], for a query that may take so long.
    pub async fn run_query<T: Send + 'static>(
        &self,
        limit: TimeLimit,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        tokio::select! {
            outcome = self.run(work) => outcome,
            () = limit.reached() => Err(limit.error()),
        }
    }

    /// Reads `rows` there, at most two batches ahead of the caller; dropping the result ends it. `running`
    /// is dropped at the end.
    pub fn stream(
        &self,
        limit: TimeLimit,
        running: RunningGuard,
        rows: SendableRecordBatchStream,
    ) -> Result<SendableRecordBatchStream> {
        let Some(runtime) = &self.runtime else {
            return Err(QueryError::Internal("the SQL threads are stopped".into()));
        };
        Ok(read_ahead(runtime.handle(), limit, running, rows))
    }
}

/// As [`SqlThreads::stream`], for who runs there already.
pub(crate) fn read_ahead(
    threads: &Handle,
    limit: TimeLimit,
    running: RunningGuard,
    mut rows: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    let mut ahead = RecordBatchReceiverStreamBuilder::new(rows.schema(), 2);
    let sender = ahead.tx();
    let read = async move {
        let send_all = async {
            while let Some(batch) = rows.next().await {
                // Nobody listens any more: the work ends here.
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let outcome = tokio::select! {
            outcome = send_all => outcome,
            () = limit.reached() => Err(external(limit.error())),
        };
        drop(running);
        outcome
    };
    ahead.spawn_on(read, threads);
    ahead.build()
}

impl Drop for SqlThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads would block, and an engine may be dropped in async code.
            runtime.shutdown_background();
        }
    }
}

/// When a query has to have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    millis: u64,
    at: Option<Instant>,
}

impl TimeLimit {
    /// `millis` from now on; 0 means never.
    pub fn new(millis: u64) -> Self {
        // A limit of centuries is none.
        let at = Instant::now().checked_add(Duration::from_millis(millis));
        Self {
            millis,
            at: at.filter(|_| millis > 0),
        }
    }

    async fn reached(self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn error(self) -> QueryError {
        QueryError::Timeout(self.millis)
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
