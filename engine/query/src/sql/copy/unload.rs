//! `COPY .. TO ..`: rows into one file, which is there as a whole or not at all.
//!
//! The file is written beside its place under another name (`.docs.csv.17.tmp`) and renamed when all of it is on the
//! disk. What was there before is replaced by the rename, and untouched by a COPY that fails.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::writer::FileWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use elanus_udfs::vector::VectorKind;
use futures::StreamExt;
use sqlparser::ast::{CopySource, Statement as SqlStatement};

use super::csv::write_field;
use super::options::{CopyOptions, CsvStyle, FileFormat};
use super::{Progress, Router};
use crate::error::{QueryError, Result};
use crate::memory::task_context;
use crate::sql::clauses;
use crate::sql::threads::SqlThreads;

impl Router<'_> {
    /// Writes the rows of a table or query to a file.
    pub(super) async fn unload(
        &self,
        source: CopySource,
        location: &str,
        options: &CopyOptions,
        threads: &SqlThreads,
        progress: &Progress,
    ) -> Result<u64> {
        let target = self.resources.files.target(location)?;
        let format = options.format_of(&target)?;
        options.fit(format)?;
        let style = (format == FileFormat::Csv)
            .then(|| options.csv(&target))
            .transpose()?;
        let query = match source {
            CopySource::Query(query) => Statement::Statement(Box::new(SqlStatement::Query(query))),
            CopySource::Table { table_name, columns } if columns.is_empty() => {
                self.text(&format!("SELECT * FROM {table_name}"))?
            }
            CopySource::Table { table_name, columns } => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                self.text(&format!("SELECT {} FROM {table_name}", columns.join(", ")))?
            }
        };
        clauses::refuse(&query)?;
        let plan = self.plan(query).await?;
        let (session, progress) = (self.session.clone(), progress.clone());
        let written = async move {
            let physical = session.state().create_physical_plan(&plan).await?;
            let mut rows = execute_stream(physical, task_context(&session))?;
            let mut output = Output::create(&target, format, style, &rows.schema())?;
            let mut count = 0;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                count += batch.num_rows() as u64;
                // Encoding and writing wait for the disk: not on a thread that answers others.
                output = tokio::task::spawn_blocking(move || output.write(&batch).map(|()| output))
                    .await
                    .map_err(|error| stopped(&error))??;
                progress.set_rows(count);
            }
            tokio::task::spawn_blocking(move || output.finish())
                .await
                .map_err(|error| stopped(&error))??;
            Ok(count)
        };
        threads.run(written).await?
    }
}

fn stopped(error: &tokio::task::JoinError) -> QueryError {
    QueryError::Internal(format!("writing a file stopped unexpectedly: {error}"))
}

/// A file under its other name; removed when it is dropped before it got its own.
struct Draft {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Draft {
    fn beside(target: &Path) -> Result<(Self, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().take(100).collect();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| unwritable(target, &error))?;
        let draft = Self {
            path,
            target: target.to_path_buf(),
            kept: false,
        };
        Ok((draft, file))
    }

    /// Gives the file its name.
    fn keep(mut self, file: &File) -> Result<()> {
        file.sync_all()
            .and_then(|()| std::fs::rename(&self.path, &self.target))
            .map_err(|error| unwritable(&self.target, &error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "a file that was not finished stays");
        }
    }
}

fn unwritable(target: &Path, error: &std::io::Error) -> QueryError {
    QueryError::Execution(format!("'{}' cannot be written: {error}", target.display()))
}

/// A file that is being written.
struct Output {
    writer: Writer,
    draft: Draft,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Json(Box<arrow_json::LineDelimitedWriter<BufWriter<File>>>),
    Csv(BufWriter<File>, CsvStyle),
}

impl Output {
    fn create(
        target: &Path,
        format: FileFormat,
        style: Option<CsvStyle>,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let (draft, file) = Draft::beside(target)?;
        let buffered = |file| BufWriter::with_capacity(1 << 20, file);
        let writer = match (format, style) {
            (FileFormat::Parquet, _) => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| parquet(target, &error))?))
            }
            (FileFormat::Arrow, _) => Writer::Arrow(Box::new(FileWriter::try_new(buffered(file), schema)?)),
            (FileFormat::Json, _) => {
                Writer::Json(Box::new(arrow_json::LineDelimitedWriter::new(buffered(file))))
            }
            (FileFormat::Csv, Some(style)) => {
                let mut file = buffered(file);
                if style.header {
                    let names = schema.fields().iter().map(|field| Some(field.name().as_str()));
                    let line = csv_line(names, &style);
                    file.write_all(&line)
                        .map_err(|error| unwritable(target, &error))?;
                }
                Writer::Csv(file, style)
            }
            (FileFormat::Csv, None) => {
                return Err(QueryError::Internal("a CSV file without its style".into()));
            }
        };
        Ok(Self { writer, draft })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let target = &self.draft.target;
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(|error| parquet(target, &error)),
            Writer::Arrow(writer) => Ok(writer.write(batch)?),
            Writer::Json(writer) => Ok(writer.write(batch)?),
            Writer::Csv(file, style) => {
                let lines = csv_lines(batch, style)?;
                file.write_all(&lines).map_err(|error| unwritable(target, &error))
            }
        }
    }

    fn finish(self) -> Result<()> {
        let Self { writer, draft } = self;
        let target = draft.target.clone();
        let flushed = |file: BufWriter<File>| {
            file.into_inner()
                .map_err(|error| unwritable(&target, error.error()))
        };
        let file = match writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(|error| parquet(&target, &error))?,
            Writer::Arrow(mut writer) => {
                writer.finish()?;
                flushed(writer.into_inner()?)?
            }
            Writer::Json(mut writer) => {
                writer.finish()?;
                flushed(writer.into_inner())?
            }
            Writer::Csv(file, _) => flushed(file)?,
        };
        draft.keep(&file)
    }
}

fn parquet(target: &Path, error: &ParquetError) -> QueryError {
    QueryError::Execution(format!("'{}' cannot be written: {error}", target.display()))
}

fn csv_line<'a>(fields: impl Iterator<Item = Option<&'a str>>, style: &CsvStyle) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, field) in fields.enumerate() {
        if place > 0 {
            line.push(style.delimiter);
        }
        write_field(&mut line, field, style);
    }
    line.push(b'\n');
    line
}

/// A list as JSON, so that texts in it can be told apart.
fn list_text(elements: &ArrayRef) -> Result<String> {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(elements, &options)?;
    let is_text = elements.data_type() == &DataType::Utf8;
    let mut text = String::from("[");
    for row in 0..elements.len() {
        if row > 0 {
            text.push_str(", ");
        }
        let element = formatter.value(row).try_to_string()?;
        if is_text && elements.is_valid(row) {
            text.push_str(&serde_json::Value::from(element).to_string());
        } else {
            text.push_str(&element);
        }
    }
    text.push(']');
    Ok(text)
}

fn has_no_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => {
            matches!(item.data_type(), DataType::Struct(_)) && VectorKind::of_type(data_type).is_none()
        }
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) | DataType::Binary => true,
        _ => false,
    }
}

fn csv_lines(batch: &RecordBatch, style: &CsvStyle) -> Result<Vec<u8>> {
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            data_type if has_no_text(data_type) => Err(QueryError::Unsupported(format!(
                "a column of type {} in a CSV file; parquet, arrow and json files have a place for it",
                column.data_type()
            ))),
            _ => Ok(ArrayFormatter::try_new(column, &options)?),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut lines = Vec::new();
    for row in 0..batch.num_rows() {
        let mut texts = Vec::with_capacity(formatters.len());
        for (column, formatter) in batch.columns().iter().zip(&formatters) {
            texts.push(if column.is_null(row) || column.data_type() == &DataType::Null {
                None
            } else if let Some(list) = column.as_list_opt::<i32>() {
                Some(list_text(&list.value(row))?)
            } else {
                Some(formatter.value(row).try_to_string()?)
            });
        }
        lines.extend(csv_line(texts.iter().map(Option::as_deref), style));
    }
    Ok(lines)
}
