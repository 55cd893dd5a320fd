//! Writing rows: checked and encoded on the caller's side, handed to the writer whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use elanus_storage::{Keys, WalOp, encode_ops};
use tokio::sync::oneshot;

use super::Collection;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::partition::{DEFAULT_PARTITION, partition_of_int, partition_of_text};
use crate::rows::{ALLOW_INSERT_AUTO_ID, WriteMode, prepare};
use crate::schema::CollectionSchema;
use crate::writer::Request;

/// Batches above this size are checked and encoded off the calling thread.
const INLINE_BYTES: usize = 256 << 10;

/// What a write did.
#[derive(Debug, Clone)]
pub struct WriteResult {
    /// Keys of the rows written (insert, upsert) or asked to be deleted.
    pub keys: Keys,
    /// Rows inserted by an insert or upsert; rows removed by a delete.
    pub rows: u64,
    /// Rows removed (delete, upsert).
    pub deleted: u64,
    /// Timestamp of the write; later reads see it.
    pub timestamp: Timestamp,
}

impl Collection {
    /// Adds rows. Columns are matched by name; see the crate's row rules for what may be left out.
    ///
    /// # Errors
    /// [`Error::InvalidData`] and others; nothing is written then. A returned result is durable.
    pub async fn insert(&self, rows: RecordBatch, partition: Option<&str>) -> Result<WriteResult> {
        self.write(vec![rows], partition, WriteMode::Insert).await
    }

    /// Adds the rows of many batches as one atomic write, without joining them first.
    ///
    /// # Errors
    /// As [`Collection::insert`]; nothing of any batch is written then.
    pub async fn insert_all(
        &self,
        batches: Vec<RecordBatch>,
        partition: Option<&str>,
    ) -> Result<WriteResult> {
        self.write(batches, partition, WriteMode::Insert).await
    }

    /// Checks rows as [`Collection::insert`] does, and writes nothing.
    ///
    /// # Errors
    /// What an insert of them would say.
    pub fn check_rows(&self, rows: &RecordBatch) -> Result<()> {
        prepare(
            &self.schema,
            &self.arrow_schema,
            rows,
            WriteMode::Insert,
            true,
            |_| 0,
        )
        .map(|_| ())
    }

    /// Puts rows in the place of those with the same key, in one atomic step.
    ///
    /// # Errors
    /// As [`Collection::insert`]; also a key given twice.
    pub async fn upsert(&self, rows: RecordBatch, partition: Option<&str>) -> Result<WriteResult> {
        self.write(vec![rows], partition, WriteMode::Upsert).await
    }

    async fn write(
        &self,
        batches: Vec<RecordBatch>,
        partition: Option<&str>,
        mode: WriteMode,
    ) -> Result<WriteResult> {
        let targets = self.targets(partition)?;
        let accept_auto_id = self
            .shared
            .state
            .load()
            .properties
            .get(ALLOW_INSERT_AUTO_ID)
            .is_some_and(|value| is_true(value));
        let schema = Arc::clone(&self.schema);
        let arrow = Arc::clone(&self.arrow_schema);
        let oracle = Arc::clone(&self.oracle);
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let work = move || -> Result<_> {
            let mut keys: Option<Keys> = None;
            let mut ops = Vec::new();
            let mut rows = 0;
            for batch in &batches {
                let prepared = prepare(&schema, &arrow, batch, mode, accept_auto_id, |count| {
                    oracle.reserve(count)
                })?;
                if let Some(keys) = prepared.replaced {
                    ops.push(WalOp::Delete {
                        partition: targets.only(),
                        keys,
                    });
                }
                ops.extend(targets.split(&schema, prepared.batch)?);
                rows += batch.num_rows() as u64;
                match &mut keys {
                    Some(keys) => keys.append(prepared.keys),
                    None => keys = Some(prepared.keys),
                }
            }
            let Some(keys) = keys else {
                return Err(Error::InvalidData(
                    "no rows given: at least one row is needed".into(),
                ));
            };
            let encoded = encode_ops(&ops)?;
            Ok((keys, rows, ops, encoded))
        };
        let large = bytes > INLINE_BYTES;
        let (keys, rows, ops, encoded) = if large { blocking(work).await? } else { work()? };
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write { ops, encoded, reply }).await?;
        let written = self.receive(answer).await?;
        Ok(WriteResult {
            keys,
            rows,
            deleted: written.deleted,
            timestamp: written.timestamp,
        })
    }

    /// Removes the rows of these keys, in these partitions or (`None`) in all.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the keys are of another type than the primary key.
    pub async fn delete(&self, keys: Keys, partitions: Option<Vec<i64>>) -> Result<WriteResult> {
        let key = self.schema.primary_key()?;
        let fits = match &keys {
            Keys::Int64(_) => key.data_type == crate::types::DataType::Int64,
            Keys::VarChar(_) => key.data_type != crate::types::DataType::Int64,
        };
        if !fits {
            return Err(Error::InvalidData(format!(
                "keys do not fit the primary field '{}' of type {}",
                key.name,
                key.data_type.name()
            )));
        }
        let ops: Vec<_> = match partitions {
            None => vec![WalOp::Delete {
                partition: None,
                keys: keys.clone(),
            }],
            Some(ids) => ids
                .iter()
                .map(|id| WalOp::Delete {
                    partition: Some(*id),
                    keys: keys.clone(),
                })
                .collect(),
        };
        if keys.is_empty() || ops.is_empty() {
            let timestamp = self.snapshot().timestamp;
            return Ok(WriteResult {
                keys,
                rows: 0,
                deleted: 0,
                timestamp,
            });
        }
        let encoded = encode_ops(&ops)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write { ops, encoded, reply }).await?;
        let written = self.receive(answer).await?;
        Ok(WriteResult {
            keys,
            rows: written.deleted,
            deleted: written.deleted,
            timestamp: written.timestamp,
        })
    }

    fn targets(&self, partition: Option<&str>) -> Result<Targets> {
        let state = self.shared.state.load();
        let named = partition.filter(|name| !name.is_empty());
        if let Some(field) = self.schema.partition_key() {
            if named.is_some() {
                return Err(Error::InvalidParameter(
                    "not support manually specifying the partition names if partition key mode is used"
                        .into(),
                ));
            }
            let ids = state.partitions.iter().map(|partition| partition.id).collect();
            return Ok(Targets::ByKey {
                field: field.name.clone(),
                ids,
            });
        }
        let id = state.partition(named.unwrap_or(DEFAULT_PARTITION))?.id;
        Ok(Targets::One(id))
    }
}

/// Which partitions a write goes to.
enum Targets {
    One(i64),
    ByKey { field: String, ids: Vec<i64> },
}

impl Targets {
    /// The partition that replaced rows are looked for in; `None`: all.
    fn only(&self) -> Option<i64> {
        match self {
            Self::One(id) => Some(*id),
            Self::ByKey { .. } => None,
        }
    }

    fn split(&self, schema: &CollectionSchema, batch: RecordBatch) -> Result<Vec<WalOp>> {
        let (field, ids) = match self {
            Self::One(partition) => {
                return Ok(vec![WalOp::Insert {
                    partition: *partition,
                    batch,
                }]);
            }
            Self::ByKey { field, ids } => (field, ids),
        };
        let column = schema
            .field(field)
            .and_then(|field| batch.column_by_name(&field.name))
            .ok_or_else(|| Error::FieldNotFound {
                field: field.clone(),
                near: Vec::new(),
            })?;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); ids.len()];
        for (row, bucket) in buckets(column, ids.len()).enumerate() {
            if let Some(rows) = rows_of.get_mut(bucket) {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        let mut ops = Vec::new();
        for (partition, rows) in ids.iter().zip(rows_of) {
            if !rows.is_empty() {
                let batch = take_record_batch(&batch, &UInt32Array::from(rows))?;
                ops.push(WalOp::Insert {
                    partition: *partition,
                    batch,
                });
            }
        }
        Ok(ops)
    }
}

fn buckets(column: &ArrayRef, count: usize) -> Box<dyn Iterator<Item = usize> + '_> {
    if let Some(keys) = column.as_primitive_opt::<Int64Type>() {
        return Box::new(keys.values().iter().map(move |key| partition_of_int(*key, count)));
    }
    match column.as_string_opt::<i32>() {
        Some(keys) => Box::new(
            keys.iter()
                .map(move |key| partition_of_text(key.unwrap_or_default(), count)),
        ),
        None => Box::new(std::iter::repeat_n(0, column.len())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::InvalidData(format!("the write stopped before it began: {e}")))?
}

/// Whether a property is on, in the spellings that Milvus takes for a boolean.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

#[cfg(test)]
mod tests {
    use super::is_true;

    #[test]
    fn python_spells_true_with_a_capital() {
        assert!(is_true("True") && is_true("true") && is_true("1"));
        assert!(!is_true("False") && !is_true("yes") && !is_true(""));
    }
}
