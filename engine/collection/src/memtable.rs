//! Growing rows of one partition: immutable chunks, newest last.
//!
//! Small neighbours are merged as they come (each row is copied a logarithmic number of times), so
//! that single-row inserts do not leave thousands of chunks for every search to visit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use elanus_storage::Keys;
use roaring::RoaringBitmap;

use crate::error::Result;
use crate::overlay::NewValues;
use crate::segment::GrowingChunk;
use crate::unit::{Block, Over, Unit, UnitIndexes};

/// Chunks are merged up to this many rows; larger batches stay as they came.
const MERGE_ROWS: usize = 16_384;
/// Chunks are merged up to this many bytes: copying more costs more than visiting them, and the offsets of a text
/// column end at 2 GiB.
const MERGE_BYTES: u64 = 64 << 20;

/// One chunk and the unit readers see it as.
#[derive(Debug, Clone)]
pub(crate) struct GrowingEntry {
    pub chunk: Arc<GrowingChunk>,
    pub unit: Arc<Unit>,
}

impl GrowingEntry {
    fn new(chunk: Arc<GrowingChunk>, partition: i64, over: Over) -> Self {
        let block = Block::Growing(Arc::clone(&chunk));
        let unit = Arc::new(Unit::new(block, partition, over, UnitIndexes::default()));
        Self { chunk, unit }
    }

    fn lay(&mut self, over: Over) {
        *self = Self::new(Arc::clone(&self.chunk), self.unit.partition(), over);
    }

    /// Marks the live rows of these keys deleted; returns how many.
    pub fn delete(&mut self, keys: &Keys) -> Result<u64> {
        let rows = self.chunk.key_index()?.find(keys);
        Ok(self.delete_rows(rows))
    }

    /// Marks rows deleted; returns how many were live.
    pub fn delete_rows(&mut self, rows: Vec<u32>) -> u64 {
        let before = self.unit.over();
        let count = before.deletes.len();
        if rows.iter().any(|row| !before.deletes.contains(*row)) {
            let mut over = before.clone();
            Arc::make_mut(&mut over.deletes).extend(rows);
            self.lay(over);
        }
        self.unit.over().deletes.len() - count
    }

    /// Lays new values over the rows.
    pub fn update(&mut self, values: Vec<NewValues>, newest: u64) -> Result<()> {
        let mut over = self.unit.over().clone();
        Arc::make_mut(&mut over.overlay).put(values, newest)?;
        self.lay(over);
        Ok(())
    }

    /// Bytes of the rows and of what lies over them.
    fn bytes(&self) -> u64 {
        self.unit.bytes() + self.unit.over().overlay.bytes() as u64
    }

    /// The rows as one batch, updates included.
    fn batch(&self) -> Result<RecordBatch> {
        let overlay = &self.unit.over().overlay;
        if overlay.is_empty() {
            return Ok(self.chunk.batch.clone());
        }
        let schema = self.chunk.batch.schema();
        let columns = schema.fields().iter().zip(self.chunk.batch.columns());
        let columns = columns
            .map(|(field, column)| overlay.whole(field.name(), column))
            .collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

/// The growing rows of one partition.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    pub entries: Vec<GrowingEntry>,
    pub bytes: usize,
    pub rows: u64,
}

impl Memtable {
    /// Adds a batch with all columns, the hidden timestamp included.
    pub fn append(
        &mut self,
        batch: RecordBatch,
        partition: i64,
        primary_key: &str,
        mut next_chunk: impl FnMut() -> u64,
    ) -> Result<()> {
        let chunk = Arc::new(GrowingChunk::new(next_chunk(), batch, primary_key)?);
        self.bytes += chunk.bytes;
        self.rows += chunk.batch.num_rows() as u64;
        self.entries
            .push(GrowingEntry::new(chunk, partition, Over::default()));
        while let [.., older, newer] = self.entries.as_slice() {
            let (older_rows, newer_rows) = (older.chunk.batch.num_rows(), newer.chunk.batch.num_rows());
            let bytes = older.bytes() + newer.bytes();
            if older_rows > 2 * newer_rows || older_rows + newer_rows > MERGE_ROWS || bytes > MERGE_BYTES {
                break;
            }
            let merged = concat_batches(&older.chunk.batch.schema(), [&older.batch()?, &newer.batch()?])?;
            let mut deletes = RoaringBitmap::clone(older.unit.deletes());
            let shift = u32::try_from(older_rows).unwrap_or(u32::MAX);
            deletes.extend(newer.unit.deletes().iter().map(|row| row + shift));
            let chunk = Arc::new(GrowingChunk::new(next_chunk(), merged, primary_key)?);
            self.entries.truncate(self.entries.len() - 2);
            self.entries
                .push(GrowingEntry::new(chunk, partition, deletes.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn single_rows_are_merged_into_few_chunks_and_deletes_move_along() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let mut table = Memtable::default();
        let mut next = 0;
        for id in 0..1000i64 {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![id]));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
            table
                .append(batch, 1, "id", || {
                    next += 1;
                    next
                })
                .unwrap();
            if id % 10 == 0 {
                let deleted: u64 = table
                    .entries
                    .iter_mut()
                    .map(|entry| entry.delete(&Keys::Int64(vec![id / 2])).unwrap())
                    .sum();
                assert_eq!(deleted, 1, "key {}", id / 2);
            }
        }
        assert!(table.entries.len() < 12, "{} chunks", table.entries.len());
        assert_eq!(
            table
                .entries
                .iter()
                .map(|entry| entry.unit.live_rows())
                .sum::<u64>(),
            900
        );
    }
}
