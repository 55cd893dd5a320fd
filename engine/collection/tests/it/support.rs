//! A small collection, rows for it, and a way to read everything back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Float32Type, Int64Type, Schema};
use elanus_collection::{
    Collection, CollectionSchema, CollectionSpec, Collections, DataType, Field, Options,
};
use elanus_index::{Bitset, Metric, SearchParams, SearchStats};
use object_store::ObjectStore;

pub const DIM: usize = 4;

/// Nothing runs by itself: tests drive flushes, builds and compaction.
pub fn manual() -> Options {
    Options {
        background: false,
        gc_grace: Duration::ZERO,
        build_threads: 1,
        ..Default::default()
    }
}

pub fn spec() -> CollectionSpec {
    let schema = CollectionSchema::new(vec![
        Field::new("id", DataType::Int64).primary(),
        Field::new("note", DataType::VarChar { max_length: 100 }).nullable(),
        Field::new("v", DataType::FloatVector { dim: DIM as u32 }),
    ]);
    CollectionSpec {
        schema,
        ..Default::default()
    }
}

pub async fn open(
    store: &Arc<dyn ObjectStore>,
    options: Options,
) -> elanus_collection::Result<Arc<Collections>> {
    Collections::open(Arc::clone(store), options).await
}

/// The vector that belongs to a key and a version of its row.
pub fn vector(key: i64, version: i64) -> [f32; DIM] {
    [key as f32, version as f32, (key % 7) as f32, 1.0]
}

pub fn rows(keys: &[(i64, i64)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(keys.iter().map(|(key, _)| *key)));
    let notes: ArrayRef = Arc::new(StringArray::from_iter_values(
        keys.iter().map(|(_, version)| version.to_string()),
    ));
    let floats =
        Float32Array::from_iter_values(keys.iter().flat_map(|(key, version)| vector(*key, *version)));
    let item = Arc::new(ArrowField::new_list_field(ArrowType::Float32, false));
    let vectors: ArrayRef =
        Arc::new(FixedSizeListArray::try_new(item, DIM as i32, Arc::new(floats), None).unwrap());
    let schema = Schema::new(vec![
        ArrowField::new("id", ids.data_type().clone(), false),
        ArrowField::new("note", notes.data_type().clone(), true),
        ArrowField::new("v", vectors.data_type().clone(), false),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![ids, notes, vectors]).unwrap()
}

/// All live rows: key to the versions stored under it, each checked against its vector.
pub async fn contents(collection: &Collection) -> BTreeMap<i64, Vec<i64>> {
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for unit in &collection.snapshot().units {
        let batch = unit.columns(&["id", "note", "v"]).await.unwrap();
        let (ids, notes) = (
            batch.column(0).as_primitive::<Int64Type>(),
            batch.column(1).as_string::<i32>(),
        );
        for row in unit.live().iter() {
            let version: i64 = notes.value(row).parse().unwrap();
            let stored = batch.column(2).as_fixed_size_list().value(row);
            assert_eq!(
                stored.as_primitive::<Float32Type>().values().as_ref(),
                vector(ids.value(row), version)
            );
            found.entry(ids.value(row)).or_default().push(version);
        }
    }
    found.values_mut().for_each(|versions| versions.sort_unstable());
    found
}

/// Keys of the `k` nearest rows over all units, best first.
pub async fn nearest(collection: &Collection, query: &[f32], k: usize) -> Vec<(i64, f32)> {
    let mut all = Vec::new();
    for unit in &collection.snapshot().units {
        let allowed = unit.allow("v", None::<&Bitset>).unwrap();
        let params = SearchParams {
            ef: Some(64),
            nprobe: Some(16),
            ..SearchParams::default()
        };
        let mut stats = SearchStats::default();
        let found = unit
            .search("v", Metric::L2, query, k, &params, &allowed, false, &mut stats)
            .unwrap();
        let ids = unit.columns(&["id"]).await.unwrap();
        let ids = ids.column(0).as_primitive::<Int64Type>();
        all.extend(
            found
                .iter()
                .map(|hit| (ids.value(hit.row as usize), hit.distance)),
        );
    }
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}
