//! Adding many rows as one write: they are checked, and go to disk, while more of them come.

use std::sync::Arc;

use arrow::array::RecordBatch;
use elanus_storage::{Keys, WalFileWriter, WalFiles, encode_ops};
use futures::{Stream, StreamExt, TryStreamExt};

use super::Collection;
use super::rows::{Part, WriteResult, blocking};
use crate::error::{Error, Result};
use crate::rows::WriteMode;
use crate::types::DataType;

/// How many batches are checked at once.
const CHECKED_AT_ONCE: usize = 2;

/// A write of fewer bytes is logged when it is complete, of more while it comes.
const LARGE_BYTES: usize = 16 << 20;

impl Collection {
    /// Adds the rows of all batches as one atomic write, without joining them first. What a batch may look like is as
    /// in [`Collection::insert`]. No batches, or only empty ones, write nothing.
    ///
    /// # Errors
    /// The first error among `batches`, or as [`Collection::insert`]; nothing of any batch is written then. A returned
    /// result is durable.
    pub async fn insert_all<E: From<Error>>(
        &self,
        batches: impl Stream<Item = Result<RecordBatch, E>> + Send,
        partition: Option<&str>,
    ) -> Result<WriteResult, E> {
        let recipe = Arc::new(self.recipe(partition, WriteMode::Insert)?);
        let parts = batches
            .try_filter(|batch| futures::future::ready(batch.num_rows() > 0))
            .map(|batch| {
                let recipe = Arc::clone(&recipe);
                async move {
                    let batch = batch?;
                    let bytes = batch.get_array_memory_size();
                    let part = blocking(move || recipe.prepare(&batch)).await?;
                    Ok::<_, E>((bytes, part))
                }
            })
            .buffered(CHECKED_AT_ONCE);
        let mut parts = std::pin::pin!(parts);
        let mut all = Whole::new(self.no_keys()?);
        while let Some((bytes, part)) = parts.try_next().await? {
            all.add(&self.wal_files, bytes, part).await?;
        }
        let Whole { part, file, .. } = all;
        if part.rows == 0 {
            return Ok(WriteResult {
                keys: part.keys,
                rows: 0,
                deleted: 0,
                timestamp: self.snapshot().timestamp,
            });
        }
        let encoded = match file {
            Some(file) => file.finish().await.map_err(Error::from)?,
            None => encode_ops(&part.ops).map_err(Error::from)?,
        };
        let written = self.commit(part.ops, encoded, false).await?;
        Ok(WriteResult {
            keys: part.keys,
            rows: part.rows,
            deleted: written.changed,
            timestamp: written.timestamp,
        })
    }

    fn no_keys(&self) -> Result<Keys> {
        let integers = self.schema.primary_key()?.data_type == DataType::Int64;
        Ok(if integers {
            Keys::Int64(Vec::new())
        } else {
            Keys::VarChar(Vec::new())
        })
    }
}

/// A write while its rows come.
struct Whole {
    part: Part,
    bytes: usize,
    /// Where the operations are written, once they are many.
    file: Option<WalFileWriter>,
}

impl Whole {
    fn new(keys: Keys) -> Self {
        let part = Part {
            ops: Vec::new(),
            keys,
            rows: 0,
        };
        Self {
            part,
            bytes: 0,
            file: None,
        }
    }

    async fn add(&mut self, files: &WalFiles, bytes: usize, more: Part) -> Result<()> {
        self.bytes += bytes;
        if let Some(file) = &mut self.file {
            file.push(&more.ops).await?;
        }
        self.part.ops.extend(more.ops);
        self.part.keys.append(more.keys);
        self.part.rows += more.rows;
        if self.file.is_none() && self.bytes >= LARGE_BYTES {
            let mut file = files.begin().await?;
            file.push(&self.part.ops).await?;
            self.file = Some(file);
        }
        Ok(())
    }
}
