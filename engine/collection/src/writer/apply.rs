//! Whether a write can be applied, and applying it to memory: the same code for new writes and for the log's.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use elanus_storage::{Keys, RowRefs, TIMESTAMP_COLUMN, WalOp, variable_bytes};
use tokio::time::Instant;

use super::{Write, Writer};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::overlay::NewValues;
use crate::rows::{UNIQUE_KEY, is_true, keys_of};
use crate::unit::Unit;

impl Writer {
    /// The primary key when no two rows may have the same.
    pub(super) fn unique_key(&self) -> Option<&str> {
        let property = self.state.properties.get(UNIQUE_KEY);
        property
            .is_some_and(|value| is_true(value))
            .then_some(self.primary_key.as_str())
    }

    /// Whether a write can be applied once it is durable.
    pub(super) async fn admit(&self, write: &Write) -> Result<()> {
        let ops = &write.ops;
        if let Some(error) = self.failed() {
            return Err(error);
        }
        if let Some(failed) = &self.failed_flush
            && self.full()
            && ops.iter().any(|op| matches!(op, WalOp::Insert { .. }))
        {
            return Err(Error::FlushFailed {
                collection: self.name.clone(),
                reason: format!("{}; until then no more rows fit into memory", failed.reason),
            });
        }
        for op in ops {
            match op {
                WalOp::Insert { partition, .. }
                | WalOp::Delete {
                    partition: Some(partition),
                    ..
                } if !self.partitions.contains_key(partition) => {
                    return Err(Error::PartitionNotFound {
                        name: format!("id {partition}"),
                    });
                }
                WalOp::Delete { .. } => self.prepare_units().await?,
                WalOp::Remove { rows } => {
                    self.prepare_units().await?;
                    self.expect_all(rows, None).await?;
                }
                WalOp::Update { rows, batch } => {
                    self.prepare_units().await?;
                    self.expect_all(rows, Some(batch)).await?;
                }
                WalOp::Insert { .. } => {}
            }
        }
        if self.unique_key().is_some() || write.new_keys {
            self.prepare_units().await?;
            match self.expect_new_keys(ops).await {
                // Whoever said so sees the row when it looks again.
                Err(Error::DuplicateKey { collection, .. }) if write.new_keys => {
                    return Err(Error::Conflict { collection });
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Reading key columns can fail; it must not fail after the log has the write.
    async fn prepare_units(&self) -> Result<()> {
        for unit in self.units() {
            unit.block().prepare().await?;
        }
        Ok(())
    }

    /// Every block of rows as it is now.
    fn units(&self) -> impl Iterator<Item = &Arc<Unit>> {
        self.partitions.values().flat_map(|partition| {
            let growing = partition.sealing.iter().chain(&partition.growing.entries);
            let sealed = partition.segments.iter().map(|entry| &entry.unit);
            sealed.chain(growing.map(|entry| &entry.unit))
        })
    }

    /// Each of these rows is there as it was read, and can take these new values.
    async fn expect_all(&self, rows: &RowRefs, values: Option<&RecordBatch>) -> Result<()> {
        let mut found = 0;
        for unit in self.units() {
            let located = unit.block().locate(rows, unit.over()).await?;
            if let Some(values) = values {
                self.expect_room(unit, &located, values).await?;
            }
            found += located.len();
        }
        if found == rows.len() {
            return Ok(());
        }
        Err(Error::Conflict {
            collection: self.name.clone(),
        })
    }

    /// No column of the block becomes wider than allowed when it gets these values.
    async fn expect_room(&self, unit: &Unit, located: &[(u32, usize)], values: &RecordBatch) -> Result<()> {
        if located.is_empty() {
            return Ok(());
        }
        let room = self.options.column_room();
        let widest = unit.widest_column();
        let fits = |column: &ArrayRef| {
            let bytes = variable_bytes(column);
            bytes == 0 || widest + bytes <= room
        };
        let positions = positions_of(located);
        for (field, column) in values.schema_ref().fields().iter().zip(values.columns()) {
            if fits(column) {
                continue;
            }
            let new = take(column, &positions, None)?;
            if fits(&new) {
                continue;
            }
            let (there, new) = (unit.column_width(field.name()).await?, variable_bytes(&new));
            if there + new > room {
                return Err(Error::LimitExceeded(format!(
                    "{new} bytes of new values of '{}' for a segment of '{}' that has {there}, together at most {room} \
                     are allowed; update fewer rows at a time, or insert them anew",
                    field.name(),
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// No row that a write adds has the key of one that is there and stays.
    async fn expect_new_keys(&self, ops: &[WalOp]) -> Result<()> {
        let mut added: Option<Keys> = None;
        for op in ops {
            if let WalOp::Insert { batch, .. } = op {
                let keys = keys_of(batch.column_by_name(&self.primary_key).ok_or_else(|| {
                    Error::InvalidSchema(format!("a batch without the key '{}'", self.primary_key))
                })?)?;
                match &mut added {
                    Some(added) => added.append(keys),
                    None => added = Some(keys),
                }
            }
        }
        let Some(added) = added else { return Ok(()) };
        if let Some(key) = first_repeated(&added) {
            return Err(self.duplicate(key));
        }
        for unit in self.units() {
            let mut gone: HashSet<u32> = HashSet::new();
            for op in ops {
                match op {
                    WalOp::Remove { rows } => {
                        let removed = unit.block().locate(rows, unit.over()).await?;
                        gone.extend(removed.into_iter().map(|(row, _)| row));
                    }
                    WalOp::Delete { partition, keys }
                        if partition.is_none_or(|id| id == unit.partition()) =>
                    {
                        gone.extend(unit.block().find(keys).await?);
                    }
                    WalOp::Delete { .. } | WalOp::Insert { .. } | WalOp::Update { .. } => {}
                }
            }
            let mut taken = None;
            unit.block()
                .find_each(&added, |position, row| {
                    if !unit.deletes().contains(row) && !gone.contains(&row) {
                        taken.get_or_insert(position);
                    }
                })
                .await?;
            if let Some(position) = taken {
                return Err(self.duplicate(key_text(&added, position)));
            }
        }
        Ok(())
    }

    fn duplicate(&self, key: String) -> Error {
        Error::DuplicateKey {
            collection: self.name.clone(),
            key,
        }
    }

    /// Applies one operation to memory; the rows that it writes get the versions from `first` on. Returns the number of
    /// rows deleted, removed or updated.
    pub(super) async fn apply(&mut self, op: WalOp, first: Timestamp) -> Result<u64> {
        match op {
            WalOp::Insert { partition, batch } => {
                // An unknown partition can only come from the log: it was dropped afterwards.
                let Some(data) = self.partitions.get_mut(&partition) else {
                    return Ok(0);
                };
                let batch = with_versions(&self.stored_schema, &batch, first)?;
                data.growing.append(batch, partition, &self.primary_key, || {
                    self.chunk_ids.fetch_add(1, Ordering::Relaxed)
                })?;
                let now = Instant::now();
                self.oldest_unflushed.get_or_insert(now);
                self.newest_growing = Some(now);
                Ok(0)
            }
            WalOp::Delete { partition, keys } => {
                self.oldest_unflushed.get_or_insert_with(Instant::now);
                let mut deleted = 0;
                for (id, data) in &mut self.partitions {
                    if partition.is_some_and(|only| only != *id) {
                        continue;
                    }
                    for entry in &mut data.segments {
                        let rows = entry.segment.key_index().await?.find(&keys);
                        deleted += entry.delete(rows);
                    }
                    for entry in data.sealing.iter_mut().chain(&mut data.growing.entries) {
                        deleted += entry.delete(&keys)?;
                    }
                }
                Ok(deleted)
            }
            WalOp::Remove { rows } => {
                self.oldest_unflushed.get_or_insert_with(Instant::now);
                let mut removed = 0;
                for data in self.partitions.values_mut() {
                    for entry in &mut data.segments {
                        let located = entry.unit.block().locate(&rows, &entry.over).await?;
                        removed += entry.delete(row_numbers(located));
                    }
                    for entry in data.sealing.iter_mut().chain(&mut data.growing.entries) {
                        let located = entry.unit.block().locate(&rows, entry.unit.over()).await?;
                        removed += entry.delete_rows(row_numbers(located));
                    }
                }
                Ok(removed)
            }
            WalOp::Update { rows, batch } => self.apply_update(&rows, &batch, first).await,
        }
    }

    async fn apply_update(&mut self, rows: &RowRefs, batch: &RecordBatch, first: Timestamp) -> Result<u64> {
        self.oldest_unflushed.get_or_insert_with(Instant::now);
        let newest = (first + rows.len() as u64).saturating_sub(1);
        let mut updated = 0;
        for data in self.partitions.values_mut() {
            for entry in &mut data.segments {
                let located = entry.unit.block().locate(rows, &entry.over).await?;
                updated += located.len() as u64;
                if !located.is_empty() {
                    entry.update(new_values(&located, batch, first)?, newest)?;
                }
            }
            for entry in data.sealing.iter_mut().chain(&mut data.growing.entries) {
                let located = entry.unit.block().locate(rows, entry.unit.over()).await?;
                updated += located.len() as u64;
                if !located.is_empty() {
                    entry.update(new_values(&located, batch, first)?, newest)?;
                }
            }
        }
        Ok(updated)
    }
}

fn positions_of(located: &[(u32, usize)]) -> UInt32Array {
    let positions = located
        .iter()
        .map(|(_, position)| u32::try_from(*position).unwrap_or(u32::MAX));
    positions.collect()
}

fn row_numbers(located: Vec<(u32, usize)>) -> Vec<u32> {
    located.into_iter().map(|(row, _)| row).collect()
}

/// The part of an update that is for one block: row `located[i].0` gets row `located[i].1` of `batch`.
fn new_values(located: &[(u32, usize)], batch: &RecordBatch, first: Timestamp) -> Result<Vec<NewValues>> {
    let rows: Vec<u32> = located.iter().map(|(row, _)| *row).collect();
    let positions = positions_of(located);
    let mut values = Vec::with_capacity(batch.num_columns() + 1);
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        values.push(NewValues {
            column: field.name().as_str().into(),
            rows: rows.clone(),
            values: take(column, &positions, None)?,
        });
    }
    let versions: UInt64Array = located
        .iter()
        .map(|(_, position)| Some(first + *position as u64))
        .collect();
    values.push(NewValues {
        column: TIMESTAMP_COLUMN.into(),
        rows,
        values: Arc::new(versions),
    });
    Ok(values)
}

/// The stored form of a batch: with the hidden timestamp column.
fn with_versions(stored: &SchemaRef, batch: &RecordBatch, first: Timestamp) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let versions = first..first + batch.num_rows() as u64;
    columns.push(Arc::new(UInt64Array::from_iter_values(versions)));
    Ok(RecordBatch::try_new(Arc::clone(stored), columns)?)
}

fn first_repeated(keys: &Keys) -> Option<String> {
    match keys {
        Keys::Int64(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.iter().find(|key| !seen.insert(**key)).map(i64::to_string)
        }
        Keys::VarChar(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            let repeated = keys.iter().find(|key| !seen.insert(key.as_str()));
            repeated.map(|key| format!("'{key}'"))
        }
    }
}

fn key_text(keys: &Keys, position: usize) -> String {
    match keys {
        Keys::Int64(keys) => keys.get(position).map(i64::to_string),
        Keys::VarChar(keys) => keys.get(position).map(|key| format!("'{key}'")),
    }
    .unwrap_or_default()
}
