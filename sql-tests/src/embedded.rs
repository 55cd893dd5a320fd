//! The engine in this process, over a store in memory.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use elanus_collection::{Collections, Options};
use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions, FileAccess, QueryError};
use object_store::memory::InMemory;
use sqllogictest::{AsyncDB, DBOutput};

use crate::format::{ColumnKind, rows_of, types_of};

/// An error as a test file sees it: the message alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(String);

impl EngineError {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn new(message: impl ToString) -> Self {
        Self(message.to_string())
    }
}

impl From<QueryError> for EngineError {
    fn from(error: QueryError) -> Self {
        Self::new(error)
    }
}

/// An engine over an empty store. Background work runs only when a statement asks for it, so that plans
/// and counts are the same in every run. Statements may read and write files in `files`, and nowhere else.
pub(crate) async fn open(files: PathBuf) -> Result<(Arc<Collections>, Engine), EngineError> {
    let options = Options {
        background: false,
        build_threads: 1,
        ..Options::default()
    };
    let collections = Collections::open(Arc::new(InMemory::new()), options)
        .await
        .map_err(EngineError::new)?;
    let options = EngineOptions {
        query_threads: 2,
        sql_threads: 1,
        files: FileAccess::Within(vec![files]),
        ..EngineOptions::default()
    };
    let engine = Engine::new(Arc::clone(&collections), &options)?;
    Ok((collections, engine))
}

/// An empty engine with one session.
pub struct Embedded {
    collections: Arc<Collections>,
    engine: Engine,
    session: SessionContext,
}

impl Embedded {
    /// Starts an engine whose statements may use the files in `files`.
    ///
    /// # Errors
    /// When the engine cannot be opened.
    pub async fn start(files: PathBuf) -> Result<Self, EngineError> {
        let (collections, engine) = open(files).await?;
        let session = engine.session(DEFAULT_DATABASE)?;
        Ok(Self {
            collections,
            engine,
            session,
        })
    }
}

#[async_trait]
impl AsyncDB for Embedded {
    type Error = EngineError;
    type ColumnType = ColumnKind;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnKind>, EngineError> {
        let output = self.engine.sql_in(&self.session, sql).await?;
        if let Some(rows) = output.affected {
            return Ok(DBOutput::StatementComplete(rows));
        }
        if output.schema.fields().is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let rows = rows_of(&output.schema, &output.batches).map_err(EngineError::new)?;
        Ok(DBOutput::Rows {
            types: types_of(&output.schema),
            rows,
        })
    }

    async fn shutdown(&mut self) {
        self.collections.close().await;
    }

    fn engine_name(&self) -> &str {
        "embedded"
    }
}
