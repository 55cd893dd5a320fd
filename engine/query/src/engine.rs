//! [`Engine`]: what both doors, the server and tests call.

mod filters;
mod query;
mod search;

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use elanus_collection::{Collection, Collections};

use crate::error::Result;
use crate::predicate::Predicate;
use crate::request::{FilterText, SqlOutput};
use crate::resources::Resources;
use crate::sql::threads::SqlThreads;
use crate::{session, sql};

use filters::FilterCache;

/// Sizes of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads for searches and filters; 0 means one for each core.
    pub query_threads: usize,
    /// Threads that run SQL plans; 0 means one for each core.
    pub sql_threads: usize,
    /// Bytes of filter bitsets kept for the next query.
    pub filter_cache_bytes: usize,
    /// Bytes that sorts, joins and aggregates of SQL may hold before they spill; `None` means no limit.
    pub sql_memory_bytes: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            query_threads: 0,
            sql_threads: 0,
            filter_cache_bytes: 64 << 20,
            sql_memory_bytes: None,
        }
    }
}

/// Queries over collections. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    collections: Arc<Collections>,
    resources: Arc<Resources>,
    base: SessionState,
    filters: FilterCache,
    sql_threads: SqlThreads,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over `collections`.
    ///
    /// # Errors
    /// [`crate::QueryError::Resources`] when its threads cannot be started.
    pub fn new(collections: Arc<Collections>, options: &EngineOptions) -> Result<Self> {
        let resources = Arc::new(Resources::new(options.query_threads, options.filter_cache_bytes)?);
        let sql_threads = SqlThreads::new(options.sql_threads)?;
        let base = session::base_state(
            Arc::clone(&collections),
            Arc::clone(&resources),
            resources.compute.threads(),
            options.sql_memory_bytes,
        )?;
        let filters = FilterCache::default();
        Ok(Self {
            inner: Arc::new(Inner {
                collections,
                resources,
                base,
                filters,
                sql_threads,
            }),
        })
    }

    /// The collections that are queried.
    pub fn collections(&self) -> &Arc<Collections> {
        &self.inner.collections
    }

    /// A session in which unqualified table names are those of `database`.
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn session(&self, database: &str) -> Result<SessionContext> {
        self.inner.collections.database(database)?;
        Ok(session::session(&self.inner.base, database))
    }

    /// Runs SQL text in a session of its own; of several statements, the answer is the last one's.
    ///
    /// # Errors
    /// [`crate::QueryError`]; statements before the failing one have taken effect.
    pub async fn sql(&self, database: &str, text: &str) -> Result<SqlOutput> {
        let session = self.session(database)?;
        self.sql_in(&session, text).await
    }

    /// As [`Engine::sql`] in a session of the caller, so that settings last.
    ///
    /// # Errors
    /// As [`Engine::sql`].
    pub async fn sql_in(&self, session: &SessionContext, text: &str) -> Result<SqlOutput> {
        let mut last = SqlOutput::done();
        self.sql_each(session, text, |output| last = output).await?;
        Ok(last)
    }

    /// As [`Engine::sql_in`], and `answer` hears the answer of every statement as it comes. A mistake in the syntax of any
    /// of them is found before the first one runs.
    ///
    /// # Errors
    /// As [`Engine::sql`].
    pub async fn sql_each(
        &self,
        session: &SessionContext,
        text: &str,
        mut answer: impl FnMut(SqlOutput) + Send,
    ) -> Result<()> {
        let Inner {
            collections,
            sql_threads,
            ..
        } = self.inner.as_ref();
        for statement in sql::parse(session, text)? {
            answer(sql::run(collections, sql_threads, session, statement).await?);
        }
        Ok(())
    }

    /// The predicates of a Milvus expression.
    fn compiled(&self, collection: &Collection, filter: Option<&FilterText>) -> Result<Vec<Arc<Predicate>>> {
        self.inner.filters.compile(
            &self.inner.base,
            collection,
            filter,
            &self.inner.resources.selections,
        )
    }

    /// Ids of partitions by their names, checked to be loaded; empty names mean the whole collection.
    fn loaded_partitions(collection: &Collection, names: &[String]) -> Result<Vec<i64>> {
        let ids = collection.partition_ids(names)?;
        collection.check_loaded(&ids)?;
        Ok(ids)
    }
}
