//! Stores that fail for a while: what is told, what is tried again, and that nothing is lost or left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use elanus_collection::{Collections, Error, IndexSpec, IndexState, Keys, Options};
use elanus_storage::{Fault, FaultStore, OperationKind, open_root};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore};

use crate::support::{contents, manual, nearest, open, rows, spec, vector};

fn faulty() -> (FaultStore, Arc<dyn ObjectStore>) {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    (faults.clone(), Arc::new(faults))
}

fn background() -> Options {
    Options {
        background: true,
        ..manual()
    }
}

async fn listed(store: &Arc<dyn ObjectStore>, part: &str) -> Vec<String> {
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let names = metas.into_iter().map(|meta| meta.location.to_string());
    names.filter(|name| name.contains(part)).collect()
}

fn puts(faults: &FaultStore, part: &str) -> usize {
    let history = faults.history();
    let is_put = |operation: &&elanus_storage::Operation| {
        operation.kind == OperationKind::Put && operation.path.contains(part)
    };
    history.iter().filter(is_put).count()
}

/// Polls until it is so. The limit only keeps a broken test from hanging: it is far from what any machine needs.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..12_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

/// Time enough for what must not happen.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_failed_flush_is_told_loses_nothing_leaves_nothing_and_can_be_repeated() {
    let (faults, store) = faulty();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1), (2, 2)]), None).await.unwrap();
    faults.inject_next(OperationKind::Put, "v.vec.arrow", Fault::FailBefore);
    let error = collection.flush().await.unwrap_err();
    assert!(matches!(error, Error::FlushFailed { .. }), "{error}");
    assert_eq!(listed(&store, "/segments/").await, [""; 0]);
    collection.insert(rows(&[(3, 3)]), None).await.unwrap();
    collection.delete(Keys::Int64(vec![1]), None).await.unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    let expected = BTreeMap::from([(2, vec![2]), (3, vec![3])]);
    assert_eq!(contents(&collection).await, expected);
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    assert_eq!(
        contents(&engine.collection("default", "c").unwrap()).await,
        expected
    );
}

#[tokio::test]
async fn rows_are_refused_when_memory_is_full_and_flushes_fail() {
    let (faults, store) = faulty();
    let options = Options {
        seal_bytes: 1_000,
        ..manual()
    };
    let engine = open(&store, options).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let batch: Vec<_> = (0..100).map(|key| (key, 0)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    faults.inject_next(OperationKind::Put, "data.parquet", Fault::FailBefore);
    collection.flush().await.unwrap_err();
    let error = collection.insert(rows(&[(100, 0)]), None).await.unwrap_err();
    assert!(
        error.to_string().contains("no more rows fit into memory"),
        "{error}"
    );
    collection.delete(Keys::Int64(vec![5]), None).await.unwrap();
    collection.flush().await.unwrap();
    collection.insert(rows(&[(100, 0)]), None).await.unwrap();
    assert_eq!(collection.row_count(), 100);
}

#[tokio::test]
async fn a_failed_compaction_is_told_and_not_repeated_at_once() {
    let (faults, store) = faulty();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    for key in 0..4 {
        collection.insert(rows(&[(key, key)]), None).await.unwrap();
        collection.flush().await.unwrap();
    }
    engine.close().await;
    let written = puts(&faults, "data.parquet");
    for _ in 0..100 {
        faults.inject_next(OperationKind::Put, "data.parquet", Fault::FailBefore);
    }
    let engine = open(&store, background()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    until("a compaction", async || puts(&faults, "data.parquet") > written).await;
    a_moment().await;
    assert_eq!(puts(&faults, "data.parquet"), written + 1);
    let error = collection.compact().await.unwrap_err();
    assert!(matches!(error, Error::CompactionFailed { .. }), "{error}");
    faults.restart();
    collection.compact().await.unwrap();
    assert_eq!(collection.snapshot().units.len(), 1);
    assert_eq!(collection.row_count(), 4);
}

#[tokio::test]
async fn a_writer_that_has_stopped_answers_everyone_and_does_nothing() {
    let (faults, store) = faulty();
    let options = Options {
        seal_rows: 1,
        seal_idle: Duration::from_millis(1),
        seal_age: Duration::from_millis(1),
        ..background()
    };
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    let batch: Vec<_> = (0..100).map(|key| (key, 0)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    collection.flush().await.unwrap();
    engine.close().await;
    let engine = open(&store, options).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    collection.settle().await.unwrap();
    faults.inject_next(OperationKind::Put, "/wal/", Fault::FailBefore);
    collection.insert(rows(&[(100, 0)]), None).await.unwrap_err();
    let failed = |result: Result<(), Error>| assert!(matches!(result, Err(Error::WriterFailed { .. })));
    failed(collection.insert(rows(&[(101, 0)]), None).await.map(|_| ()));
    failed(collection.flush().await);
    failed(collection.compact().await);
    failed(collection.settle().await);
    failed(collection.create_partition("p").await);
    let before = faults.operations();
    a_moment().await;
    assert_eq!(faults.operations(), before);
    assert_eq!(collection.row_count(), 100);
}

#[tokio::test]
async fn a_failed_index_build_is_told_and_left_to_the_next_request() {
    let (faults, store) = faulty();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1), (2, 2)]), None).await.unwrap();
    collection.flush().await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        ..Default::default()
    };
    faults.inject_next(OperationKind::Put, ".idx", Fault::FailBefore);
    collection.create_index(&index).await.unwrap();
    collection.settle().await.unwrap();
    let info = collection.indexes().remove(0);
    assert_eq!(info.state, IndexState::Failed);
    assert!(
        info.fail_reason.contains("injected fault"),
        "{}",
        info.fail_reason
    );
    collection.drop_index("v").await.unwrap();
    collection.create_index(&index).await.unwrap();
    collection.settle().await.unwrap();
    assert_eq!(collection.indexes()[0].state, IndexState::Finished);
}

#[tokio::test]
async fn an_index_that_may_need_too_much_memory_is_not_built_and_searches_go_on() {
    let options = || Options {
        build_memory: Some(1 << 20),
        ..manual()
    };
    let (_, store) = faulty();
    let engine = open(&store, options()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1), (2, 2)]), None).await.unwrap();
    collection.flush().await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    collection.settle().await.unwrap();
    let info = collection.indexes().remove(0);
    assert_eq!(info.state, IndexState::Failed);
    let reason = &info.fail_reason;
    assert!(
        reason.contains("while it is built, index builds may take 1048576"),
        "{reason}"
    );
    assert_eq!(nearest(&collection, &vector(2, 2), 1).await[0].0, 2);
    engine.close().await;
    // With more memory it is built.
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    collection.settle().await.unwrap();
    assert_eq!(collection.indexes()[0].state, IndexState::Finished);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_stops_the_builds() {
    let (faults, store) = faulty();
    let engine = open(&store, background()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    // Enough rows that the build lasts until the fault is in place.
    let batch: Vec<_> = (0..20_000).map(|key| (key, 0)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    collection.flush().await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        index_type: "HNSW".into(),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    faults.inject_next(OperationKind::Put, "/manifest/", Fault::FailBefore);
    collection.settle().await.unwrap_err();
    let before = faults.operations();
    a_moment().await;
    assert_eq!((puts(&faults, ".idx"), faults.operations()), (1, before));
}

#[tokio::test]
async fn deletes_alone_leave_the_log_after_a_while() {
    let (_, store) = faulty();
    let options = Options {
        seal_age: Duration::from_millis(1),
        ..background()
    };
    let engine = open(&store, options).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let batch: Vec<_> = (0..100).map(|key| (key, 0)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    collection.flush().await.unwrap();
    collection.delete(Keys::Int64(vec![5]), None).await.unwrap();
    until("a flush of the delete", async || {
        !listed(&store, ".roar").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_of_before_a_compaction_stays_readable_after_a_restart_too() {
    let (_, store) = faulty();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    for key in 0..3 {
        collection.insert(rows(&[(key, key)]), None).await.unwrap();
        collection.flush().await.unwrap();
    }
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    let slow_reader = collection.snapshot();
    collection.compact().await.unwrap();
    for unit in &slow_reader.units {
        unit.columns(&["note"]).await.unwrap();
    }
    drop(slow_reader);
    collection.insert(rows(&[(3, 3)]), None).await.unwrap();
    collection.flush().await.unwrap();
    // One segment of the compaction, one of the flush.
    assert_eq!(listed(&store, "data.parquet").await.len(), 2);
}

#[tokio::test]
async fn collections_without_their_catalog_are_not_taken_for_garbage() {
    let (_, store) = faulty();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1)]), None).await.unwrap();
    engine.close().await;
    let catalog = listed(&store, "catalog/").await;
    let kept = listed(&store, "c/").await;
    for path in &catalog {
        object_store::ObjectStoreExt::delete(store.as_ref(), &path.as_str().into())
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let error = open(&store, manual()).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::StaleCatalog { id: 2, .. }), "{error}");
    }
    let still: Vec<_> = listed(&store, "c/").await;
    assert!(
        kept.iter()
            .filter(|path| path.starts_with("c/"))
            .all(|path| still.contains(path))
    );
}

#[tokio::test]
async fn a_creation_whose_caller_went_away_leaves_a_whole_collection_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    let engine = Collections::open(Arc::clone(&root.store), manual())
        .await
        .unwrap();
    for micros in (0..4_000).step_by(100) {
        let name = format!("c{micros}");
        let create = engine.create_collection("default", &name, spec());
        drop(tokio::time::timeout(Duration::from_micros(micros), create).await);
        match engine.create_collection("default", &name, spec()).await {
            Ok(_) | Err(Error::CollectionExists { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        let collection = engine.collection("default", &name).unwrap();
        collection.insert(rows(&[(1, 1)]), None).await.unwrap();
        drop(
            tokio::time::timeout(
                Duration::from_micros(micros),
                engine.drop_collection("default", &name),
            )
            .await,
        );
        match engine.drop_collection("default", &name).await {
            Ok(()) | Err(Error::CollectionNotFound { .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        until("the removal", async || {
            elanus_storage::list_collections(root.store.as_ref())
                .await
                .unwrap()
                .is_empty()
        })
        .await;
    }
    engine.close().await;
}

/// Options of a writer that does not wait long before it goes on.
fn impatient() -> Options {
    Options {
        retry: Duration::from_millis(10),
        ..manual()
    }
}

#[tokio::test]
async fn a_stopped_writer_goes_on_by_itself_and_knows_what_came_of_its_last_write() {
    let (faults, store) = faulty();
    let engine = open(&store, impatient()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let insert = async |key: i64| collection.insert(rows(&[(key, key)]), None).await.map(|_| ());
    insert(1).await.unwrap();
    insert(2).await.unwrap();
    collection.flush().await.unwrap();
    collection.delete(Keys::Int64(vec![1]), None).await.unwrap();
    // The write does not get through, nor do the first tries to open the collection again.
    faults.inject_next(OperationKind::Put, "/wal/", Fault::FailBefore);
    for _ in 0..3 {
        faults.inject_next(OperationKind::Put, "/manifest/", Fault::FailBefore);
    }
    insert(3).await.unwrap_err();
    until("a write", async || insert(4).await.is_ok()).await;
    // The write gets through, but nobody can tell.
    faults.inject_next(OperationKind::Put, "/wal/", Fault::FailAfter);
    faults.inject_next(OperationKind::Get, "/wal/", Fault::FailBefore);
    insert(5).await.unwrap_err();
    until("a write", async || insert(6).await.is_ok()).await;
    // So does the commit of a flush.
    faults.inject_next(OperationKind::Put, "/manifest/", Fault::FailAfter);
    faults.inject_next(OperationKind::Get, "/manifest/", Fault::FailBefore);
    collection.flush().await.unwrap_err();
    until("a flush", async || collection.flush().await.is_ok()).await;
    insert(7).await.unwrap();
    let expected: BTreeMap<_, _> = [2, 4, 5, 6, 7].map(|key| (key, vec![key])).into();
    assert_eq!(contents(&collection).await, expected);
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    assert_eq!(
        contents(&engine.collection("default", "c").unwrap()).await,
        expected
    );
    assert_eq!(listed(&store, "data.parquet").await.len(), 2);
}

#[tokio::test]
async fn a_writer_that_was_taken_over_does_not_come_back() {
    let (_, store) = faulty();
    let first = open(&store, impatient()).await.unwrap();
    let old = first.create_collection("default", "c", spec()).await.unwrap();
    let second = open(&store, manual()).await.unwrap();
    let new = second.collection("default", "c").unwrap();
    new.insert(rows(&[(1, 1)]), None).await.unwrap();
    old.insert(rows(&[(2, 2)]), None).await.unwrap_err();
    a_moment().await;
    old.insert(rows(&[(3, 3)]), None).await.unwrap_err();
    new.insert(rows(&[(4, 4)]), None).await.unwrap();
    assert_eq!(contents(&new).await.into_keys().collect::<Vec<_>>(), [1, 4]);
}
