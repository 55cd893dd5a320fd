//! `COPY t FROM ..`: reads ahead in a thread of its own, and writes in atomic steps.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use elanus_collection::{Collection, CollectionSchema, Error};
use sqlparser::ast::{Ident, ObjectName};
use tokio::sync::mpsc;

use super::columnar::ColumnarFile;
use super::convert::Mapping;
use super::csv::CsvFile;
use super::json::JsonFile;
use super::options::{CopyOptions, CsvStyle, FileFormat};
use super::{FileBatch, Router};
use crate::error::{QueryError, Result};
use crate::sql::create_table::normalized;
use crate::sql::running::Progress;

/// Batches that are read before they are wanted.
const AHEAD: usize = 2;

impl Router<'_> {
    /// Loads files into a table.
    pub(super) async fn load(
        &self,
        table: &ObjectName,
        columns: &[Ident],
        location: &str,
        options: &CopyOptions,
        progress: &Progress,
    ) -> Result<u64> {
        let (database, name) = self.written_table(table)?;
        let collection = self
            .collections
            .collection(&database, &name)
            .map_err(|error| match error {
                Error::CollectionNotFound { .. } => self.unknown_table(&database, &name),
                other => other.into(),
            })?;
        let is_source = |path: &std::path::Path| match options.format {
            Some(_) => true,
            None => FileFormat::of_name(path).is_some(),
        };
        let files = self.resources.files.sources(location, is_source)?;
        let mut sources = Vec::with_capacity(files.len());
        for path in &files {
            let format = options.format_of(path)?;
            options.fit(format)?;
            let style = (format == FileFormat::Csv)
                .then(|| options.csv(path))
                .transpose()?;
            sources.push(Source {
                path: path.clone(),
                format,
                style,
            });
        }
        let schema = Arc::clone(collection.schema());
        let mapping = Mapping::new(Arc::clone(&schema), columns.iter().map(normalized).collect())?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let names = mapping.names_by_place();
        tokio::task::spawn_blocking(move || read_all(&sources, &names, &schema, &sender));
        let load = Load {
            collection,
            mapping,
            files,
            step_bytes: self.resources.copy_step_bytes,
            written: 0,
            waiting: Vec::new(),
        };
        load.run(receiver, progress).await
    }
}

struct Source {
    path: PathBuf,
    format: FileFormat,
    style: Option<CsvStyle>,
}

/// A batch, or what kept it from being read.
type Message = Result<FileBatch>;

/// Sends the batches of all files, and ends early when nobody listens any more.
fn read_all(sources: &[Source], names: &[String], schema: &CollectionSchema, sender: &mpsc::Sender<Message>) {
    for (file, source) in sources.iter().enumerate() {
        let name = source.path.display();
        let named = |error: QueryError| match error {
            QueryError::Unsupported(what) => QueryError::Unsupported(format!("{what} ({name})")),
            error => QueryError::Execution(format!("{name}: {error}")),
        };
        let mut reader = match Reader::open(source, file) {
            Ok(reader) => reader,
            Err(error) => {
                // The statement has ended when this is not heard.
                let _unheard = sender.blocking_send(Err(named(error)));
                return;
            }
        };
        loop {
            let message = match reader.next(names, schema) {
                Ok(Some(batch)) => Ok(batch),
                Ok(None) => break,
                Err(error) => Err(named(error)),
            };
            let is_last = message.is_err();
            if sender.blocking_send(message).is_err() || is_last {
                return;
            }
        }
    }
}

enum Reader {
    Csv(CsvFile),
    Json(JsonFile),
    Columnar(ColumnarFile),
}

impl Reader {
    fn open(source: &Source, file: usize) -> Result<Self> {
        let input = File::open(&source.path).map_err(|error| QueryError::Execution(error.to_string()))?;
        Ok(match (source.format, &source.style) {
            (FileFormat::Csv, Some(style)) => Self::Csv(CsvFile::open(input, file, style.clone())?),
            (FileFormat::Csv, None) => {
                return Err(QueryError::Internal("a CSV file without its style".into()));
            }
            (FileFormat::Json, _) => Self::Json(JsonFile::open(input, file)),
            (FileFormat::Parquet, _) => Self::Columnar(ColumnarFile::parquet(input, file)?),
            (FileFormat::Arrow, _) => Self::Columnar(ColumnarFile::arrow(input, file)?),
        })
    }

    fn next(&mut self, names: &[String], schema: &CollectionSchema) -> Result<Option<FileBatch>> {
        match self {
            Self::Csv(file) => file.next(names),
            Self::Json(file) => file.next(schema),
            Self::Columnar(file) => file.next(),
        }
    }
}

/// A batch with the columns of the table, and where its rows come from.
struct Waiting {
    file: usize,
    first_row: u64,
    rows: RecordBatch,
}

struct Load {
    collection: Arc<Collection>,
    mapping: Mapping,
    files: Vec<PathBuf>,
    step_bytes: usize,
    written: u64,
    waiting: Vec<Waiting>,
}

impl Load {
    async fn run(mut self, mut batches: mpsc::Receiver<Message>, progress: &Progress) -> Result<u64> {
        let mut bytes = 0;
        while let Some(batch) = batches.recv().await {
            let batch = batch.map_err(|error| self.so_far(error))?;
            // A batch at a time is short work, between two awaits.
            let rows = self.mapping.rows(&batch).map_err(|error| {
                let error = self.in_file(batch.file, &error);
                self.so_far(error)
            })?;
            let size = rows.get_array_memory_size();
            if !self.waiting.is_empty() && bytes + size > self.step_bytes {
                self.write().await?;
                bytes = 0;
            }
            bytes += size;
            progress.add_rows(rows.num_rows() as u64);
            self.waiting.push(Waiting {
                file: batch.file,
                first_row: batch.first_row,
                rows,
            });
        }
        if !self.waiting.is_empty() {
            self.write().await?;
        }
        Ok(self.written)
    }

    /// Writes what waits, as a whole.
    async fn write(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let rows: Vec<_> = waiting.iter().map(|waiting| Ok(waiting.rows.clone())).collect();
        let rows = futures::stream::iter(rows);
        match self.collection.insert_all::<Error>(rows, None).await {
            Ok(written) => {
                self.written += written.rows;
                Ok(())
            }
            Err(error) => {
                let error = self.located(&waiting, error);
                Err(self.so_far(error))
            }
        }
    }

    /// The error of a write with the file and the row that it is about, when there is one row that fails alone.
    fn located(&self, waiting: &[Waiting], error: Error) -> QueryError {
        for batch in waiting {
            if self.collection.check_rows(&batch.rows).is_ok() {
                continue;
            }
            for (row, number) in (0..batch.rows.num_rows()).zip(batch.first_row..) {
                if let Err(error) = self.collection.check_rows(&batch.rows.slice(row, 1)) {
                    let text = error.to_string().replace("the value of row 0 is", "the value is");
                    let text = text.replace(" of row 0", "").replace(" in row 0", "");
                    return self.in_file(
                        batch.file,
                        &QueryError::Execution(format!("row {number}: {text}")),
                    );
                }
            }
        }
        error.into()
    }

    fn in_file(&self, file: usize, error: &QueryError) -> QueryError {
        match self.files.get(file) {
            Some(path) => QueryError::Execution(format!("{}: {error}", path.display())),
            None => QueryError::Execution(error.to_string()),
        }
    }

    /// Says what stays when an earlier step has been written.
    fn so_far(&self, error: QueryError) -> QueryError {
        if self.written == 0 {
            return error;
        }
        QueryError::Execution(format!(
            "{error} (the first {} rows were written before, in steps of at most {} bytes)",
            self.written, self.step_bytes
        ))
    }
}
