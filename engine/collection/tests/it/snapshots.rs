//! States that are kept under a name: against writes that go on, changes of the schema, compaction and garbage collection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use elanus_collection::{Alteration, Error, IndexSpec, Keys, SnapshotRef};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{contents, manual, nearest, open, rows, spec, vector};

fn named(name: &str) -> SnapshotRef {
    SnapshotRef::Name(name.into())
}

fn all(keys: std::ops::Range<i64>, version: i64) -> Vec<(i64, i64)> {
    keys.map(|key| (key, version)).collect()
}

async fn files(store: &Arc<dyn ObjectStore>, part: &str) -> usize {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let is_there = |meta: &&object_store::ObjectMeta| meta.location.as_ref().contains(part);
    listed.iter().filter(is_there).count()
}

#[tokio::test]
async fn a_state_keeps_its_files_until_it_is_let_go() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&all(0..50, 1)), None).await.unwrap();
    let info = collection.create_snapshot("first").await.unwrap();
    assert_eq!((info.name.as_str(), info.rows), ("first", 50));
    collection.upsert(rows(&all(0..25, 2)), None).await.unwrap();
    collection
        .delete(Keys::Int64((40..50).collect()), None)
        .await
        .unwrap();
    collection.compact().await.unwrap();
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    // What a merge has replaced goes with the next collection of garbage.
    collection.insert(rows(&[(100, 1)]), None).await.unwrap();
    collection.flush().await.unwrap();
    let with_it = files(&store, "data.parquet").await;
    assert_eq!(with_it, 3, "the one of the snapshot and the two of now");

    let past = collection.at(&named("first")).await.unwrap();
    assert_eq!(
        contents(&past).await,
        all(0..50, 1).into_iter().map(|(key, v)| (key, vec![v])).collect()
    );
    let by_version = collection.at(&SnapshotRef::Version(info.version)).await.unwrap();
    assert!(Arc::ptr_eq(&past, &by_version));
    assert!(past.is_past() && !collection.is_past());
    // It takes no writes.
    assert!(past.insert(rows(&[(1, 1)]), None).await.is_err());
    drop((past, by_version));

    collection.drop_snapshot("first").await.unwrap();
    assert_eq!(files(&store, "data.parquet").await, 2);
    assert_eq!(collection.row_count(), 41);
    engine.close().await;
}

#[tokio::test]
async fn writes_that_go_on_are_in_a_state_as_a_whole_or_not_at_all() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&all(0..20, 0)), None).await.unwrap();
    let acknowledged = Arc::new(AtomicI64::new(0));
    let done = Arc::new(AtomicI64::new(0));
    let writer = tokio::spawn({
        let (acknowledged, done) = (Arc::clone(&acknowledged), Arc::clone(&done));
        let collection = Arc::clone(&collection);
        async move {
            let mut version = 0;
            while done.load(Ordering::SeqCst) == 0 {
                version += 1;
                // All rows in one write, in memory and in segments alike.
                collection.upsert(rows(&all(0..20, version)), None).await.unwrap();
                acknowledged.store(version, Ordering::SeqCst);
            }
        }
    });
    let mut states = BTreeMap::new();
    for number in 0..12 {
        tokio::task::yield_now().await;
        let before = acknowledged.load(Ordering::SeqCst);
        if number % 3 == 0 {
            collection.compact().await.unwrap();
        }
        let name = format!("s{number}");
        collection.create_snapshot(&name).await.unwrap();
        // The write that waits behind it may be acknowledged already, the one after that may not have begun before.
        states.insert(name, before);
    }
    done.store(1, Ordering::SeqCst);
    writer.await.unwrap();
    for (name, before) in states {
        let rows = contents(&collection.at(&named(&name)).await.unwrap()).await;
        let version = rows[&0][0];
        assert!(
            version >= before,
            "{name} lacks a write that was acknowledged before"
        );
        let whole: BTreeMap<_, _> = (0..20).map(|key| (key, vec![version])).collect();
        assert_eq!(rows, whole, "{name}");
    }
    engine.close().await;
}

#[tokio::test]
async fn a_state_has_the_schema_the_partitions_and_the_indexes_of_then() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.create_partition("p").await.unwrap();
    collection.insert(rows(&all(0..30, 1)), Some("p")).await.unwrap();
    collection.insert(rows(&all(30..40, 1)), None).await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        index_type: "HNSW".into(),
        metric: Some("L2".into()),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    collection.create_snapshot("before").await.unwrap();
    collection.drop_index("v").await.unwrap();
    collection.drop_partition("p").await.unwrap();
    let rename = Alteration::RenameField {
        from: "note".into(),
        to: "text".into(),
    };
    let altered = engine
        .alter_collection("default", "c", vec![rename])
        .await
        .unwrap();
    assert_eq!(altered.row_count(), 10);
    engine.close().await;

    let engine = open(&store, manual()).await.unwrap();
    let now = engine.collection("default", "c").unwrap();
    assert!(now.schema().field("text").is_some());
    let past = now.at(&named("before")).await.unwrap();
    assert!(past.schema().field("note").is_some() && past.schema().field("text").is_none());
    assert_eq!(past.row_count(), 40);
    assert_eq!(contents(&past).await.len(), 40);
    assert_eq!(past.partitions().len(), 2);
    let indexes = past.indexes();
    assert_eq!((indexes[0].field.as_str(), indexes[0].indexed_rows), ("v", 40));
    assert_eq!(nearest(&past, &vector(7, 1), 1).await[0].0, 7);
    assert_ne!(past.schema_version(), now.schema_version());
    engine.close().await;
}

#[tokio::test]
async fn names_are_taken_once_and_unknown_ones_are_told_what_there_is() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let unknown = collection.at(&named("x")).await.unwrap_err().to_string();
    assert_eq!(unknown, "collection 'c' has no snapshot 'x': it has none");
    let info = collection.create_snapshot("empty").await.unwrap();
    assert_eq!(info.rows, 0);
    assert!(
        contents(&collection.at(&named("empty")).await.unwrap())
            .await
            .is_empty()
    );
    let taken = collection.create_snapshot("empty").await.unwrap_err();
    assert!(matches!(taken, Error::InvalidParameter(_)), "{taken}");
    assert!(collection.create_snapshot("a b").await.is_err());
    let unknown = collection.drop_snapshot("x").await.unwrap_err().to_string();
    let known = format!(
        "collection 'c' has no snapshot 'x': it has 'empty' (version {})",
        info.version
    );
    assert_eq!(unknown, known);
    engine.close().await;
}
