//! [`Engine`]: what both doors, the server and tests call.

mod access;
mod aggregate;
mod file_resources;
mod filters;
mod hybrid;
mod ingest;
mod plugins;
mod query;
mod search;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use elanus_collection::{Collection, Collections};
use elanus_services::ServiceAccess;

use crate::error::{QueryError, Result};
use crate::files::FileAccess;
use crate::memory::shared_environment;
use crate::plugins::PluginOptions;
use crate::predicate::Predicate;
use crate::request::{FilterText, SqlOutput};
use crate::resources::Resources;
use crate::sql::threads::SqlThreads;
use crate::statement::{Answer, Pinned, Place, Prepared};
use crate::{session, sql};

use filters::FilterCache;
pub use ingest::IngestMode;

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
    /// Folder for what they spill; `None` means the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// Files that COPY and external tables may touch.
    pub files: FileAccess,
    /// Services that rerankers may ask.
    pub services: ServiceAccess,
    /// Who may register plugins, and where their machine code is kept.
    pub plugins: PluginOptions,
    /// Whether sessions need a user, whose rights every statement is checked against.
    pub authentication: bool,
    /// Most bytes of rows that a COPY .. FROM writes as one atomic write, at least one batch.
    pub copy_step_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            query_threads: 0,
            sql_threads: 0,
            filter_cache_bytes: 64 << 20,
            sql_memory_bytes: None,
            spill_folder: None,
            files: FileAccess::Nowhere,
            services: ServiceAccess::default(),
            plugins: PluginOptions::default(),
            authentication: false,
            copy_step_bytes: 1 << 30,
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
    base: Arc<SessionState>,
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
        let environment = shared_environment(options.sql_memory_bytes, options.spill_folder.clone())?;
        let pool = Arc::clone(&environment.memory_pool);
        let resources = Arc::new(Resources::new(options, pool)?);
        let sql_threads = SqlThreads::new(options.sql_threads)?;
        let base = Arc::new(session::base_state(
            Arc::clone(&collections),
            Arc::clone(&resources),
            resources.compute.threads(),
            environment,
        )?);
        resources.plan_with(&base);
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

    /// The services that rerankers may ask.
    pub fn services(&self) -> &ServiceAccess {
        &self.inner.resources.services
    }

    /// A session in which unqualified table names are those of `database`. Where users are asked for, it is nobody's and runs
    /// nothing: see [`Engine::session_of`].
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn session(&self, database: &str) -> Result<SessionContext> {
        self.inner.collections.database(database)?;
        Ok(session::session(&self.inner.base, database, None))
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
        let place = self.place(session);
        for statement in sql::parse(session, text)? {
            let prepared = Prepared::new(place, statement).await?;
            answer(prepared.run(place, None).await?.collect().await?);
        }
        Ok(())
    }

    /// Plans the one statement of a text, to be run with [`Engine::execute`].
    ///
    /// # Errors
    /// [`QueryError::Syntax`] for several statements, and whatever planning refuses.
    pub async fn prepare(&self, session: &SessionContext, text: &str) -> Result<Prepared> {
        let mut statements = sql::parse(session, text)?;
        let (Some(statement), None) = (statements.pop_front(), statements.pop_front()) else {
            return Err(QueryError::Syntax(
                "several statements where one is expected: send them one by one".into(),
            ));
        };
        Prepared::new(self.place(session), statement).await
    }

    /// Runs a prepared statement, once for each row of `parameters`. Rows are computed as they are
    /// read, a few batches ahead of the reader.
    ///
    /// # Errors
    /// Parameters that do not fit, or what makes the statement fail before its first row.
    pub async fn execute(
        &self,
        session: &SessionContext,
        prepared: &Prepared,
        parameters: Option<RecordBatch>,
    ) -> Result<Answer> {
        prepared.run(self.place(session), parameters).await
    }

    /// Plans one run of a query, so that its parts can be read later and separately with [`Engine::read`].
    ///
    /// # Errors
    /// As [`Engine::execute`].
    pub async fn pin(
        &self,
        session: &SessionContext,
        prepared: &Prepared,
        parameters: Option<RecordBatch>,
    ) -> Result<Pinned> {
        prepared.pin(self.place(session), parameters).await
    }

    /// The rows of one part of a pinned query.
    ///
    /// # Errors
    /// What makes the query fail before its first row.
    pub async fn read(&self, pinned: &Pinned, part: usize) -> Result<SendableRecordBatchStream> {
        let Inner {
            sql_threads,
            resources,
            ..
        } = self.inner.as_ref();
        pinned.read(sql_threads, &resources.running, part).await
    }

    fn place<'a>(&'a self, session: &'a SessionContext) -> Place<'a> {
        Place {
            collections: &self.inner.collections,
            threads: &self.inner.sql_threads,
            resources: &self.inner.resources,
            session,
        }
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
