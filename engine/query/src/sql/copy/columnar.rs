//! Parquet and Arrow files: batches as they are, numbered.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{BATCH_ROWS, FileBatch};
use crate::error::{QueryError, Result};

/// What an Arrow IPC file begins with, and a stream does not.
const ARROW_MAGIC: &[u8; 6] = b"ARROW1";

/// Reads a file of columns.
pub(super) struct ColumnarFile {
    batches: Batches,
    file: usize,
    next_row: u64,
    /// The rest of a batch that is longer than others.
    rest: Option<RecordBatch>,
}

enum Batches {
    Parquet(Box<ParquetRecordBatchReader>),
    ArrowFile(Box<FileReader<BufReader<File>>>),
    ArrowStream(Box<StreamReader<BufReader<File>>>),
}

impl ColumnarFile {
    pub fn parquet(input: File, file: usize) -> Result<Self> {
        let unreadable =
            |error: datafusion::parquet::errors::ParquetError| QueryError::Execution(error.to_string());
        let reader = ParquetRecordBatchReaderBuilder::try_new(input)
            .map_err(unreadable)?
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(unreadable)?;
        Ok(Self::over(Batches::Parquet(Box::new(reader)), file))
    }

    pub fn arrow(mut input: File, file: usize) -> Result<Self> {
        let unreadable = |error: std::io::Error| QueryError::Execution(error.to_string());
        let mut start = Vec::new();
        Read::by_ref(&mut input)
            .take(6)
            .read_to_end(&mut start)
            .map_err(unreadable)?;
        input.rewind().map_err(unreadable)?;
        let batches = if start == ARROW_MAGIC {
            Batches::ArrowFile(Box::new(FileReader::try_new(BufReader::new(input), None)?))
        } else {
            Batches::ArrowStream(Box::new(StreamReader::try_new(BufReader::new(input), None)?))
        };
        Ok(Self::over(batches, file))
    }

    fn over(batches: Batches, file: usize) -> Self {
        Self {
            batches,
            file,
            next_row: 1,
            rest: None,
        }
    }

    pub fn next(&mut self) -> Result<Option<FileBatch>> {
        let rows = loop {
            let batch = match self.rest.take() {
                Some(rest) => Some(Ok(rest)),
                None => self.read(),
            };
            match batch.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                batch => break batch,
            }
        };
        let Some(rows) = rows else { return Ok(None) };
        let taken = rows.num_rows().min(BATCH_ROWS);
        if rows.num_rows() > taken {
            self.rest = Some(rows.slice(taken, rows.num_rows() - taken));
        }
        let first_row = self.next_row;
        self.next_row += taken as u64;
        Ok(Some(FileBatch {
            file: self.file,
            first_row,
            rows: rows.slice(0, taken),
        }))
    }

    fn read(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match &mut self.batches {
            Batches::Parquet(reader) => reader.next(),
            Batches::ArrowFile(reader) => reader.next(),
            Batches::ArrowStream(reader) => reader.next(),
        }
    }
}
