//! Compaction builds the index of a merged segment out of those of the segments before it.

use std::sync::Arc;

use elanus_collection::{Collection, IndexSpec, Keys, Unit};
use elanus_index::{AnyIndex, BuildOptions, GONE, IndexPart, Metric};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use crate::support::{contents, manual, nearest, open, rows, vector};

fn hnsw() -> IndexSpec {
    IndexSpec {
        field: "v".into(),
        index_type: "HNSW".into(),
        metric: Some("L2".into()),
        ..Default::default()
    }
}

async fn insert(collection: &Collection, keys: std::ops::Range<i64>) {
    let batch: Vec<(i64, i64)> = keys.map(|key| (key, 0)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    collection.flush().await.unwrap();
}

/// The one segment there is.
fn only(collection: &Collection) -> Arc<Unit> {
    let units = collection.snapshot().units.clone();
    assert_eq!(units.len(), 1);
    Arc::clone(&units[0])
}

/// What the library makes of the indexes of `before` for the rows of `now`, and how many rows it reused.
fn out_of(before: &[Arc<Unit>], now: &Unit, collection: &Collection) -> (Vec<u8>, usize) {
    let mut next = 0;
    let maps: Vec<Vec<u32>> = before
        .iter()
        .map(|unit| {
            let live = unit.live();
            let place = |row| {
                let place = if live.get(row) { next } else { GONE };
                next += u32::from(live.get(row));
                place
            };
            (0..unit.rows() as usize).map(place).collect()
        })
        .collect();
    assert!(before.is_empty() || next == now.rows());
    let parts: Vec<IndexPart<'_>> = before
        .iter()
        .zip(&maps)
        .filter_map(|(unit, rows)| unit.index("v").map(|index| IndexPart { index, rows }))
        .collect();
    let (params, options) = (
        collection.indexes()[0].build.unwrap(),
        BuildOptions {
            seed: manual().seed,
            ..BuildOptions::default()
        },
    );
    let vectors = now.vectors("v").unwrap().vectors().unwrap();
    let merged = AnyIndex::merge(&params, Metric::L2.into(), vectors, None, &parts, &options).unwrap();
    (merged.index.serialize(), merged.reused_rows)
}

async fn check_nearest(collection: &Collection, live: impl Iterator<Item = (i64, i64)>) {
    let live: Vec<(i64, i64)> = live.collect();
    for query in (0..900).step_by(37) {
        let query = vector(query, query % 3);
        let distance = |(key, version): &(i64, i64)| -> f32 {
            let stored = vector(*key, *version);
            stored.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let mut expected: Vec<f32> = live.iter().map(distance).collect();
        expected.sort_by(f32::total_cmp);
        let found = nearest(collection, &query, 10).await;
        let found: Vec<f32> = found.iter().map(|(_, distance)| *distance).collect();
        assert_eq!(found, expected[..10]);
    }
}

#[tokio::test]
async fn a_merged_segment_has_an_index_out_of_those_before_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine
        .create_collection("default", "c", crate::support::spec())
        .await
        .unwrap();
    collection.create_index(&hnsw()).await.unwrap();
    insert(&collection, 0..500).await;
    insert(&collection, 500..900).await;
    collection.settle().await.unwrap();
    collection
        .delete(Keys::Int64((0..100).collect()), None)
        .await
        .unwrap();
    let upserted: Vec<(i64, i64)> = (450..550).map(|key| (key, 1)).collect();
    collection.upsert(rows(&upserted), None).await.unwrap();
    collection.flush().await.unwrap();
    let before = collection.snapshot().units.clone();
    let indexed = before.iter().filter(|unit| unit.index("v").is_some()).count();
    assert_eq!(
        (before.len(), indexed),
        (3, 2),
        "the segment of the upsert has no index yet"
    );
    // Whatever becomes of the files, a snapshot has the indexes.
    let files: Vec<_> = store.list(None).try_collect().await.unwrap();
    for file in files
        .iter()
        .filter(|file| file.location.as_ref().ends_with(".idx"))
    {
        store.delete(&file.location).await.unwrap();
    }
    collection.compact().await.unwrap();
    let now = only(&collection);
    let built = now.index("v").unwrap().serialize();
    let (expected, reused) = out_of(&before, &now, &collection);
    assert_eq!(reused, 350 + 350);
    assert!(built == expected);
    assert!(built != out_of(&[], &now, &collection).0, "built anew");
    let live = || (100..900).map(|key| (key, i64::from((450..550).contains(&key))));
    check_nearest(&collection, live()).await;
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert!(only(&collection).index("v").unwrap().serialize() == expected);
    check_nearest(&collection, live()).await;
    assert_eq!(contents(&collection).await.len(), 800);
    engine.close().await;
}

#[tokio::test]
async fn a_segment_rewritten_without_its_deleted_rows_keeps_its_graph() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine
        .create_collection("default", "c", crate::support::spec())
        .await
        .unwrap();
    collection.create_index(&hnsw()).await.unwrap();
    insert(&collection, 0..900).await;
    collection.settle().await.unwrap();
    let gone = (0..900).filter(|key| key % 3 == 0).collect();
    collection.delete(Keys::Int64(gone), None).await.unwrap();
    let before = collection.snapshot().units.clone();
    collection.compact().await.unwrap();
    let now = only(&collection);
    let (expected, reused) = out_of(&before, &now, &collection);
    assert_eq!((now.rows(), reused), (600, 600));
    assert!(now.index("v").unwrap().serialize() == expected);
    check_nearest(
        &collection,
        (0..900).filter(|key| key % 3 != 0).map(|key| (key, 0)),
    )
    .await;
    engine.close().await;
}
