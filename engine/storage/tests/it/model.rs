//! A miniature engine on top of `CollectionStore`, just enough to have something to lose, and the oracle for it.
//!
//! Every row is a key, the sequence of the write that made it as timestamp, and a vector that follows from both, so
//! that a reader can tell a wrong value from a right one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema, SchemaRef, UInt64Type};
use bytes::Bytes;
use elanus_storage::{
    CollectionStore, EncodedOps, Keys, Recovered, Result, SegmentMeta, TIMESTAMP_COLUMN, WalEntry, WalOp,
    encode_ops,
};
use object_store::ObjectStore;
use roaring::RoaringBitmap;

pub const COLLECTION: i64 = 7;
pub const DIM: usize = 4;

/// Live rows: key to the timestamp of the write that made the row.
pub type Rows = BTreeMap<i64, u64>;

#[derive(Debug, Clone)]
pub enum Write {
    Insert(Vec<i64>),
    Delete(Vec<i64>),
    Upsert(Vec<i64>),
}

#[derive(Debug, Clone)]
pub enum Step {
    /// One group commit.
    Append(Vec<Write>),
    /// One write whose operations come one after the other, through a file.
    AppendLarge(Vec<Write>),
    /// All writes since the last flush into a segment and delete bitmaps.
    Flush,
    /// An index blob for every segment.
    Index,
    /// All segments into one.
    Compact,
    Garbage,
}

pub fn schema() -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("v", DataType::FixedSizeList(item, DIM as i32), false),
        Field::new(TIMESTAMP_COLUMN, DataType::UInt64, false),
    ]))
}

fn vector(key: i64, timestamp: u64) -> [f32; DIM] {
    [key as f32, timestamp as f32, (key * 2) as f32, 0.5]
}

pub fn batch(rows: &[(i64, u64)]) -> RecordBatch {
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|(key, timestamp)| vector(*key, *timestamp))
        .collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors = FixedSizeListArray::new(item, DIM as i32, Arc::new(Float32Array::from(values)), None);
    let keys = Int64Array::from_iter_values(rows.iter().map(|(key, _)| *key));
    let timestamps = UInt64Array::from_iter_values(rows.iter().map(|(_, timestamp)| *timestamp));
    RecordBatch::try_new(
        schema(),
        vec![Arc::new(keys), Arc::new(vectors), Arc::new(timestamps)],
    )
    .unwrap()
}

fn operations(write: &Write, timestamp: u64) -> Vec<WalOp> {
    let insert = |keys: &[i64]| {
        let rows: Vec<(i64, u64)> = keys.iter().map(|key| (*key, timestamp)).collect();
        WalOp::Insert {
            partition: 0,
            batch: batch(&rows),
        }
    };
    let delete = |keys: &[i64]| WalOp::Delete {
        partition: None,
        keys: Keys::Int64(keys.to_vec()),
    };
    match write {
        Write::Insert(keys) => vec![insert(keys)],
        Write::Delete(keys) => vec![delete(keys)],
        Write::Upsert(keys) => vec![delete(keys), insert(keys)],
    }
}

pub fn encode(write: &Write, timestamp: u64) -> (u64, EncodedOps) {
    (timestamp, encode_ops(&operations(write, timestamp)).unwrap())
}

/// What the operations of an entry do to the rows; every value of a batch is checked on the way.
pub fn apply(rows: &mut Rows, ops: &[WalOp]) {
    for op in ops {
        match op {
            WalOp::Insert { batch, .. } => {
                let vectors = batch.column(1).as_fixed_size_list();
                let timestamps = batch.column(2).as_primitive::<UInt64Type>();
                for (row, key) in batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .iter()
                    .enumerate()
                {
                    let timestamp = timestamps.value(row);
                    assert_vector(vectors, row, *key, timestamp);
                    rows.insert(*key, timestamp);
                }
            }
            WalOp::Delete {
                keys: Keys::Int64(keys),
                ..
            } => {
                for key in keys {
                    rows.remove(key);
                }
            }
            WalOp::Delete {
                keys: Keys::VarChar(keys),
                ..
            } => panic!("text keys {keys:?}"),
            WalOp::Remove { .. } | WalOp::Update { .. } => panic!("{op:?} is not of this model"),
        }
    }
}

fn assert_vector(vectors: &FixedSizeListArray, row: usize, key: i64, timestamp: u64) {
    let value = vectors.value(row);
    assert_eq!(
        value.as_primitive::<Float32Type>().values(),
        &vector(key, timestamp)
    );
}

/// The miniature engine: a writer and the writes that are not flushed.
pub struct Engine {
    pub writer: CollectionStore,
    pending: Vec<(u64, Vec<WalOp>)>,
    timestamp: u64,
}

impl Engine {
    pub async fn create(store: Arc<dyn ObjectStore>) -> Result<Self> {
        let writer = CollectionStore::create(store, COLLECTION, schema(), b"{}".to_vec()).await?;
        Ok(Self {
            writer,
            pending: Vec::new(),
            timestamp: 0,
        })
    }

    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<(Self, Recovered)> {
        let (writer, recovered) = CollectionStore::open(store, COLLECTION).await?;
        let pending: Vec<_> = recovered
            .entries
            .iter()
            .map(|entry| (entry.sequence, entry.ops.clone()))
            .collect();
        let last = recovered
            .entries
            .iter()
            .map(|entry| entry.timestamp)
            .max()
            .unwrap_or(0);
        let timestamp = last.max(writer.manifest().last_timestamp);
        Ok((
            Self {
                writer,
                pending,
                timestamp,
            },
            recovered,
        ))
    }

    /// Runs one step; `rows` is what is acknowledged. A failed append leaves in `attempted` what it would have made.
    pub async fn step(&mut self, step: &Step, rows: &mut Rows, attempted: &mut Rows) -> Result<()> {
        match step {
            Step::Append(writes) => self.append(writes, rows, attempted).await,
            Step::AppendLarge(writes) => self.append_large(writes, rows, attempted).await,
            Step::Flush => self.flush().await,
            Step::Index => self.index().await,
            Step::Compact => self.compact().await,
            Step::Garbage => {
                self.writer
                    .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
                    .await?;
                Ok(())
            }
        }
    }

    async fn append(&mut self, writes: &[Write], rows: &mut Rows, attempted: &mut Rows) -> Result<()> {
        let mut group = Vec::new();
        let mut operations_of_group = Vec::new();
        attempted.clone_from(rows);
        for write in writes {
            self.timestamp += 1;
            let ops = operations(write, self.timestamp);
            apply(attempted, &ops);
            group.push(encode(write, self.timestamp));
            operations_of_group.push(ops);
        }
        let sequences = self.writer.append(group).await?;
        rows.clone_from(attempted);
        self.pending
            .extend(sequences.into_iter().zip(operations_of_group));
        Ok(())
    }

    async fn append_large(&mut self, writes: &[Write], rows: &mut Rows, attempted: &mut Rows) -> Result<()> {
        self.timestamp += 1;
        attempted.clone_from(rows);
        let mut file = self.writer.wal_files().begin().await?;
        let mut all = Vec::new();
        for write in writes {
            let ops = operations(write, self.timestamp);
            apply(attempted, &ops);
            file.push(&ops).await?;
            all.extend(ops);
        }
        let sequences = self
            .writer
            .append(vec![(self.timestamp, file.finish().await?)])
            .await?;
        rows.clone_from(attempted);
        self.pending.extend(sequences.into_iter().zip([all]));
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let Some((last, _)) = self.pending.last() else {
            return Ok(());
        };
        let last = *last;
        let mut fresh = Rows::new();
        let mut gone = HashSet::new();
        for (_, ops) in &self.pending {
            apply(&mut fresh, ops);
            for op in ops {
                if let WalOp::Delete {
                    keys: Keys::Int64(keys),
                    ..
                } = op
                {
                    gone.extend(keys.iter().copied());
                }
            }
        }
        let files = self.writer.files();
        let mut new_deletes = Vec::new();
        for segment in &self.writer.manifest().segments {
            let (keys, mut deleted) = keys_of(&self.writer, segment).await?;
            let before = deleted.len();
            deleted.extend(
                keys.iter()
                    .enumerate()
                    .filter(|(_, (key, _))| gone.contains(key))
                    .map(|(row, _)| row as u32),
            );
            if deleted.len() > before {
                let version = segment.deletes.as_ref().map_or(1, |deletes| deletes.version + 1);
                new_deletes.push((
                    segment.id,
                    files.write_deletes(segment.id, version, &deleted).await?,
                ));
            }
        }
        let rows: Vec<(i64, u64)> = fresh.into_iter().collect();
        let segment = if rows.is_empty() {
            None
        } else {
            Some(files.write_segment(0, vec![batch(&rows)], "id").await?)
        };
        let timestamp = self.timestamp;
        self.writer
            .commit(|manifest| {
                manifest.segments.extend(segment.clone());
                for (id, deletes) in &new_deletes {
                    manifest.segment_mut(*id).unwrap().deletes = Some(deletes.clone());
                }
                manifest.wal_flushed = last;
                manifest.last_timestamp = timestamp;
            })
            .await?;
        self.pending.clear();
        Ok(())
    }

    async fn index(&mut self) -> Result<()> {
        let files = self.writer.files();
        let mut built = Vec::new();
        for segment in &self.writer.manifest().segments {
            let blob = Bytes::from(format!("index of {}", segment.id));
            built.push((segment.id, files.write_index(segment.id, "v", 3, blob).await?));
        }
        self.writer
            .commit(|manifest| {
                for (id, index) in &built {
                    manifest.segment_mut(*id).unwrap().indexes = vec![index.clone()];
                }
            })
            .await?;
        Ok(())
    }

    async fn compact(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        let old: Vec<SegmentMeta> = self.writer.manifest().segments.clone();
        for segment in &old {
            let (keys, deleted) = keys_of(&self.writer, segment).await?;
            let live = keys
                .into_iter()
                .enumerate()
                .filter(|(row, _)| !deleted.contains(*row as u32));
            rows.extend(live.map(|(_, row)| row));
        }
        let merged = self
            .writer
            .files()
            .write_segment(0, vec![batch(&rows)], "id")
            .await?;
        self.writer
            .commit(|manifest| {
                manifest
                    .segments
                    .retain(|segment| old.iter().all(|merged| merged.id != segment.id));
                manifest.segments.push(merged.clone());
            })
            .await?;
        Ok(())
    }
}

/// Keys and timestamps of all rows of a segment, and which rows are deleted.
async fn keys_of(
    writer: &CollectionStore,
    segment: &SegmentMeta,
) -> Result<(Vec<(i64, u64)>, RoaringBitmap)> {
    let files = writer.files();
    let columns = ["id".to_owned(), TIMESTAMP_COLUMN.to_owned()];
    let batch = files.read_columns(segment, &columns).await?;
    let keys = batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .iter()
        .copied();
    let timestamps = batch
        .column(1)
        .as_primitive::<UInt64Type>()
        .values()
        .iter()
        .copied();
    let deleted = match &segment.deletes {
        Some(deletes) => files.read_deletes(segment.id, deletes).await?,
        None => RoaringBitmap::new(),
    };
    Ok((keys.zip(timestamps).collect(), deleted))
}

/// Everything that is live, from everything that the manifest names and the recovered entries.
pub async fn read_all(writer: &CollectionStore, entries: &[WalEntry]) -> Result<Rows> {
    let files = writer.files();
    let mut rows = Rows::new();
    for segment in &writer.manifest().segments {
        let (keys, deleted) = keys_of(writer, segment).await?;
        let vectors = files.map_vectors(segment, "v").await?;
        let vectors = vectors.as_fixed_size_list();
        assert_eq!(vectors.null_count(), 0);
        for (row, (key, timestamp)) in keys.into_iter().enumerate() {
            assert_vector(vectors, row, key, timestamp);
            if !deleted.contains(row as u32) {
                assert_eq!(rows.insert(key, timestamp), None, "key {key} is live twice");
            }
        }
        for index in &segment.indexes {
            let blob = files.map_index(segment.id, index).await?;
            assert_eq!(blob, format!("index of {}", segment.id));
        }
    }
    for entry in entries {
        apply(&mut rows, &entry.ops);
    }
    Ok(rows)
}

/// Opens the collection and reads everything in it.
pub async fn reopen(store: Arc<dyn ObjectStore>) -> Result<(Engine, Recovered, Rows)> {
    let (engine, recovered) = Engine::open(store).await?;
    let rows = read_all(&engine.writer, &recovered.entries).await?;
    Ok((engine, recovered, rows))
}

/// A script that visits every kind of step more than once.
pub fn script() -> Vec<Step> {
    use Write::{Delete, Insert, Upsert};
    vec![
        Step::Append(vec![Insert(vec![1, 2, 3])]),
        Step::Append(vec![Insert(vec![4]), Delete(vec![2]), Upsert(vec![1, 9])]),
        Step::Flush,
        Step::Append(vec![Delete(vec![3, 4]), Insert(vec![5, 6])]),
        Step::Index,
        Step::Flush,
        Step::Garbage,
        Step::Append(vec![Upsert(vec![5, 1])]),
        Step::AppendLarge(vec![Insert(vec![20, 21]), Delete(vec![20]), Insert(vec![20, 22])]),
        Step::Flush,
        Step::Compact,
        Step::Append(vec![Delete(vec![21]), Upsert(vec![22])]),
        Step::Garbage,
        Step::Index,
        Step::Append(vec![Insert(vec![30])]),
        Step::AppendLarge(vec![Upsert(vec![30, 31])]),
        Step::Garbage,
        Step::Append(vec![Upsert(vec![31, 32])]),
    ]
}
