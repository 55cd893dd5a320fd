//! Writing rows: checked and encoded on the caller's side, handed to the writer whole.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use elanus_storage::{EncodedOps, Keys, RowRefs, WalOp, encode_ops};
use tokio::sync::oneshot;

use super::Collection;
use crate::clock::{Timestamp, TimestampOracle};
use crate::error::{Error, Result};
use crate::partition::{DEFAULT_PARTITION, partition_of_int, partition_of_text};
use crate::rows::{ALLOW_INSERT_AUTO_ID, UNIQUE_KEY, WriteMode, is_true, prepare, prepare_update};
use crate::schema::CollectionSchema;
use crate::writer::{Request, Write, Written};

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

/// One atomic change of rows that a statement has read. Rows are named by key and version, the value of the hidden
/// [`TIMESTAMP_COLUMN`](crate::TIMESTAMP_COLUMN).
#[derive(Debug, Default)]
pub struct Change {
    /// Rows that go.
    pub remove: Option<RowRefs>,
    /// Rows that get new values in some columns, which are neither vectors nor the primary or the partition key.
    pub update: Option<(RowRefs, RecordBatch)>,
    /// Rows that go and what comes in their place, with every column.
    pub rewrite: Option<(RowRefs, RecordBatch)>,
    /// New rows, as in [`Collection::insert`].
    pub insert: Vec<RecordBatch>,
    /// Whether it is a conflict when there is a row with the key of a new one.
    pub new_keys: bool,
}

/// What a [`Change`] did.
#[derive(Debug, Clone, Copy)]
pub struct ChangeResult {
    /// Rows removed, updated or rewritten.
    pub changed: u64,
    /// New rows.
    pub inserted: u64,
    /// Timestamp of the write; later reads see it.
    pub timestamp: Timestamp,
}

/// A row that a statement names twice would get the values of either.
fn refuse_twice(rows: &RowRefs) -> Result<()> {
    let mut seen = HashSet::with_capacity(rows.len());
    match rows.versions.iter().position(|version| !seen.insert(*version)) {
        None => Ok(()),
        Some(position) => {
            let key = match &rows.keys {
                Keys::Int64(keys) => keys.get(position).map(i64::to_string),
                Keys::VarChar(keys) => keys.get(position).map(|key| format!("'{key}'")),
            };
            Err(Error::InvalidData(format!(
                "the row with primary key {} would be changed more than once by one statement",
                key.unwrap_or_default()
            )))
        }
    }
}

impl Collection {
    /// Adds rows. Columns are matched by name; see the crate's row rules for what may be left out.
    ///
    /// # Errors
    /// [`Error::InvalidData`] and others; nothing is written then. A returned result is durable.
    pub async fn insert(&self, rows: RecordBatch, partition: Option<&str>) -> Result<WriteResult> {
        self.write(rows, partition, WriteMode::Insert).await
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
        self.write(rows, partition, WriteMode::Upsert).await
    }

    async fn write(
        &self,
        rows: RecordBatch,
        partition: Option<&str>,
        mode: WriteMode,
    ) -> Result<WriteResult> {
        let recipe = self.recipe(partition, mode)?;
        let bytes = rows.get_array_memory_size();
        let work = move || -> Result<_> {
            let part = recipe.prepare(&rows)?;
            let encoded = encode_ops(&part.ops)?;
            Ok((part, encoded))
        };
        // Analyzing text takes its time.
        let large = bytes > INLINE_BYTES || !self.schema.functions.is_empty();
        let (part, encoded) = if large { blocking(work).await? } else { work()? };
        let written = self.commit(part.ops, encoded, false).await?;
        Ok(WriteResult {
            keys: part.keys,
            rows: part.rows,
            deleted: written.changed,
            timestamp: written.timestamp,
        })
    }

    /// How rows that a client gives become operations.
    pub(super) fn recipe(&self, partition: Option<&str>, mode: WriteMode) -> Result<Recipe> {
        let targets = self.targets(partition)?;
        Ok(Recipe {
            mode,
            accept_auto_id: self.has_property(ALLOW_INSERT_AUTO_ID),
            // A key that is unique may be in any partition.
            replaced_in: targets.only().filter(|_| !self.has_unique_key()),
            targets,
            schema: Arc::clone(&self.schema),
            arrow: Arc::clone(&self.arrow_schema),
            physical: Arc::clone(&self.physical_schema),
            oracle: Arc::clone(&self.oracle),
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
        let written = self.commit(ops, encoded, false).await?;
        Ok(WriteResult {
            keys,
            rows: written.changed,
            deleted: written.changed,
            timestamp: written.timestamp,
        })
    }

    /// Changes rows that a statement has read, and adds rows, in one atomic step.
    ///
    /// # Errors
    /// [`Error::Conflict`] when one of the rows is no longer as it was read; [`Error::DuplicateKey`];
    /// [`Error::InvalidData`] and others. Nothing is written then.
    pub async fn change(&self, change: Change) -> Result<ChangeResult> {
        let targets = self.targets(None)?;
        let new_keys = change.new_keys;
        let schema = Arc::clone(&self.schema);
        let arrow = Arc::clone(&self.arrow_schema);
        let physical = Arc::clone(&self.physical_schema);
        let oracle = Arc::clone(&self.oracle);
        let accept_auto_id = self.has_property(ALLOW_INSERT_AUTO_ID);
        let work = move || -> Result<_> {
            let mut ops = Vec::new();
            let mut inserted = 0;
            let mut removed = change.remove;
            if let Some((rows, _)) = &change.rewrite {
                match &mut removed {
                    Some(removed) => {
                        removed.keys.append(rows.keys.clone());
                        removed.versions.extend(&rows.versions);
                    }
                    None => removed = Some(rows.clone()),
                }
            }
            if let Some(rows) = removed.filter(|rows| !rows.is_empty()) {
                refuse_twice(&rows)?;
                ops.push(WalOp::Remove { rows });
            }
            if let Some((rows, batch)) = change.update.filter(|(rows, _)| !rows.is_empty()) {
                refuse_twice(&rows)?;
                let batch = prepare_update(&schema, &arrow, &batch)?;
                ops.push(WalOp::Update { rows, batch });
            }
            if let Some((_, batch)) = change.rewrite.filter(|(rows, _)| !rows.is_empty()) {
                ops.extend(targets.split(&schema, prepare_update(&schema, &arrow, &batch)?)?);
            }
            for batch in change.insert.iter().filter(|batch| batch.num_rows() > 0) {
                let prepared = prepare(
                    &schema,
                    &arrow,
                    batch,
                    WriteMode::Insert,
                    accept_auto_id,
                    |count| oracle.reserve(count),
                )?;
                inserted += batch.num_rows() as u64;
                ops.extend(targets.split(&schema, prepared.batch)?);
            }
            let ops = ops
                .into_iter()
                .map(|op| with_stored_names(op, &arrow, &physical))
                .collect::<Result<Vec<_>>>()?;
            let encoded = encode_ops(&ops)?;
            Ok((inserted, ops, encoded))
        };
        let (inserted, ops, encoded) = blocking(work).await?;
        if ops.is_empty() {
            return Ok(ChangeResult {
                changed: 0,
                inserted: 0,
                timestamp: self.snapshot().timestamp,
            });
        }
        let written = self.commit(ops, encoded, new_keys).await?;
        Ok(ChangeResult {
            changed: written.changed,
            inserted,
            timestamp: written.timestamp,
        })
    }

    /// Whether no two rows may have the same primary key.
    pub fn has_unique_key(&self) -> bool {
        self.has_property(UNIQUE_KEY)
    }

    fn has_property(&self, name: &str) -> bool {
        let state = self.shared.state.load();
        state.properties.get(name).is_some_and(|value| is_true(value))
    }

    pub(super) async fn commit(
        &self,
        ops: Vec<WalOp>,
        encoded: EncodedOps,
        new_keys: bool,
    ) -> Result<Written> {
        let (reply, answer) = oneshot::channel();
        let write = Write {
            ops,
            encoded,
            new_keys,
            reply,
        };
        self.send(Request::Write(write)).await?;
        self.receive(answer).await
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

/// What is needed to make operations of rows, on any thread.
pub(super) struct Recipe {
    mode: WriteMode,
    accept_auto_id: bool,
    /// The partition that replaced rows are looked for in; `None`: all.
    replaced_in: Option<i64>,
    targets: Targets,
    schema: Arc<CollectionSchema>,
    arrow: SchemaRef,
    physical: SchemaRef,
    oracle: Arc<TimestampOracle>,
}

/// Rows as operations.
pub(super) struct Part {
    pub ops: Vec<WalOp>,
    pub keys: Keys,
    pub rows: u64,
}

impl Recipe {
    pub fn prepare(&self, rows: &RecordBatch) -> Result<Part> {
        let reserve = |count| self.oracle.reserve(count);
        let prepared = prepare(
            &self.schema,
            &self.arrow,
            rows,
            self.mode,
            self.accept_auto_id,
            reserve,
        )?;
        let mut ops = Vec::new();
        if let Some(keys) = prepared.replaced {
            ops.push(WalOp::Delete {
                partition: self.replaced_in,
                keys,
            });
        }
        for op in self.targets.split(&self.schema, prepared.batch)? {
            ops.push(with_stored_names(op, &self.arrow, &self.physical)?);
        }
        Ok(Part {
            ops,
            keys: prepared.keys,
            rows: rows.num_rows() as u64,
        })
    }
}

/// The operation with the columns of its rows named as in files.
fn with_stored_names(op: WalOp, schema: &SchemaRef, physical: &SchemaRef) -> Result<WalOp> {
    Ok(match op {
        WalOp::Insert { partition, batch } => {
            let columns = batch.columns().to_vec();
            let batch = RecordBatch::try_new(Arc::clone(physical), columns)?;
            WalOp::Insert { partition, batch }
        }
        WalOp::Update { rows, batch } => {
            let fields = batch.schema_ref().fields().iter();
            let fields = fields
                .map(|field| {
                    let (position, _) = schema.column_with_name(field.name())?;
                    Some(Arc::clone(physical.fields().get(position)?))
                })
                .collect::<Option<Vec<_>>>();
            let fields = fields.ok_or_else(|| Error::InvalidSchema("an update of unknown columns".into()))?;
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())?;
            WalOp::Update { rows, batch }
        }
        without_columns @ (WalOp::Delete { .. } | WalOp::Remove { .. }) => without_columns,
    })
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

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::InvalidData(format!("the write stopped before it began: {e}")))?
}

#[cfg(test)]
mod tests {
    use crate::rows::is_true;

    #[test]
    fn python_spells_true_with_a_capital() {
        assert!(is_true("True") && is_true("true") && is_true("1"));
        assert!(!is_true("False") && !is_true("yes") && !is_true(""));
    }
}
