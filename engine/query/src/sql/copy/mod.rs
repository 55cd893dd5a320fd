//! `COPY`: rows from files into a table, and from a table or a query into a file.
//!
//! | file | what |
//! |---|---|
//! | `parse` | the statement: PostgreSQL's spellings, those of DataFusion, `name = value` |
//! | `options` | format, header, delimiter and the rest, checked |
//! | `csv`, `json`, `columnar` | readers of one file, a batch at a time, each batch with the place of its rows |
//! | `convert` | from what a file has to the columns of the table, errors by file and row |
//! | `load` | COPY .. FROM: read ahead, convert, write in atomic steps |
//! | `unload` | COPY .. TO: write under another name, then rename |
//!
//! ```text
//!   files -> reader (a thread) -> at most two batches ahead -> convert -> a step of rows -> one atomic write
//! ```
//!
//! The rows of a COPY .. FROM are one atomic write as long as they take at most
//! [`EngineOptions::copy_step_bytes`](crate::EngineOptions) in memory, and steps of that size beyond: what fails then says
//! how many rows are in the table already.

mod columnar;
mod convert;
mod csv;
mod json;
mod load;
mod options;
pub(super) mod parse;
mod unload;

use arrow::array::RecordBatch;
use sqlparser::ast::{CopySource, CopyTarget, Statement as SqlStatement};

use super::Router;
use super::running::Progress;
use crate::error::{QueryError, Result};
use crate::sql::threads::SqlThreads;

use options::CopyOptions;
pub(crate) use options::FileFormat;

/// Rows of a file that are read together.
const BATCH_ROWS: usize = 8_192;

/// Rows of a file, as the file has them.
struct FileBatch {
    /// Index of the file among those of the statement.
    file: usize,
    /// Number of the first row in its file, from 1.
    first_row: u64,
    rows: RecordBatch,
}

impl Router<'_> {
    /// Runs a COPY and counts its rows.
    pub(super) async fn copy(
        &self,
        statement: SqlStatement,
        threads: &SqlThreads,
        progress: &Progress,
    ) -> Result<u64> {
        let SqlStatement::Copy {
            source,
            to,
            target,
            options,
            ..
        } = statement
        else {
            return Err(QueryError::Internal("a COPY is expected".into()));
        };
        let CopyTarget::File { filename } = target else {
            return Err(QueryError::Unsupported(format!(
                "COPY with {target}; name a file"
            )));
        };
        let options = CopyOptions::check(&options)?;
        match (source, to) {
            (source, true) => self.unload(source, &filename, &options, threads, progress).await,
            (CopySource::Table { table_name, columns }, false) => {
                self.load(&table_name, &columns, &filename, &options, progress)
                    .await
            }
            (CopySource::Query(_), false) => Err(QueryError::Syntax("COPY (query) goes TO a file".into())),
        }
    }
}
