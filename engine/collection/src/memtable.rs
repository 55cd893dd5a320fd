//! Growing rows of one partition: immutable chunks, newest last.
//!
//! Small neighbours are merged as they come (each row is copied a logarithmic number of times), so
//! that single-row inserts do not leave thousands of chunks for every search to visit.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use elanus_storage::Keys;
use roaring::RoaringBitmap;

use crate::error::Result;
use crate::segment::GrowingChunk;
use crate::unit::{Block, Unit};

/// Chunks are merged up to this many rows; larger batches stay as they came.
const MERGE_ROWS: usize = 16_384;
/// Chunks are merged up to this many bytes: copying more costs more than visiting them, and the offsets of a text
/// column end at 2 GiB.
const MERGE_BYTES: u64 = 64 << 20;

/// One chunk and the unit readers see it as.
#[derive(Debug, Clone)]
pub(crate) struct GrowingEntry {
    pub chunk: Arc<GrowingChunk>,
    pub deletes: Arc<RoaringBitmap>,
    pub unit: Arc<Unit>,
}

impl GrowingEntry {
    fn new(chunk: Arc<GrowingChunk>, partition: i64, deletes: Arc<RoaringBitmap>) -> Self {
        let block = Block::Growing(Arc::clone(&chunk));
        let unit = Arc::new(Unit::new(block, partition, Arc::clone(&deletes), HashMap::new()));
        Self { chunk, deletes, unit }
    }

    /// Marks the live rows of these keys deleted; returns how many.
    pub fn delete(&mut self, keys: &Keys) -> Result<u64> {
        let rows = self.chunk.key_index()?.find(keys);
        let before = self.deletes.len();
        let mut deletes = Arc::clone(&self.deletes);
        if rows.iter().any(|row| !deletes.contains(*row)) {
            Arc::make_mut(&mut deletes).extend(rows);
            *self = Self::new(Arc::clone(&self.chunk), self.unit.partition(), deletes);
        }
        Ok(self.deletes.len() - before)
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
            .push(GrowingEntry::new(chunk, partition, Arc::default()));
        while let [.., older, newer] = self.entries.as_slice() {
            let (older_rows, newer_rows) = (older.chunk.batch.num_rows(), newer.chunk.batch.num_rows());
            let bytes = older.unit.bytes() + newer.unit.bytes();
            if older_rows > 2 * newer_rows || older_rows + newer_rows > MERGE_ROWS || bytes > MERGE_BYTES {
                break;
            }
            let merged = concat_batches(
                &older.chunk.batch.schema(),
                [&older.chunk.batch, &newer.chunk.batch],
            )?;
            let mut deletes = RoaringBitmap::clone(&older.deletes);
            let shift = u32::try_from(older_rows).unwrap_or(u32::MAX);
            deletes.extend(newer.deletes.iter().map(|row| row + shift));
            let chunk = Arc::new(GrowingChunk::new(next_chunk(), merged, primary_key)?);
            self.entries.truncate(self.entries.len() - 2);
            self.entries
                .push(GrowingEntry::new(chunk, partition, Arc::new(deletes)));
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
