//! Puts whose outcome is unknown: settled by reading back where possible, otherwise the writer stops.

use std::sync::Arc;

use elanus_storage::{Error, Fault, FaultStore, OperationKind};
use object_store::memory::InMemory;

use crate::model::{Engine, Rows, Step, Write, reopen};

async fn engine() -> (FaultStore, Engine, Rows) {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let mut engine = Engine::create(Arc::new(store.clone())).await.unwrap();
    let mut rows = Rows::new();
    append(&mut engine, 1, &mut rows).await.unwrap();
    (store, engine, rows)
}

async fn append(engine: &mut Engine, key: i64, rows: &mut Rows) -> elanus_storage::Result<()> {
    let step = Step::Append(vec![Write::Insert(vec![key])]);
    engine.step(&step, rows, &mut Rows::new()).await
}

#[tokio::test]
async fn an_append_that_was_applied_counts_although_it_reported_an_error() {
    let (store, mut engine, mut rows) = engine().await;
    store.inject_next(OperationKind::Put, "/wal/", Fault::FailAfter);
    append(&mut engine, 2, &mut rows).await.unwrap();
    append(&mut engine, 3, &mut rows).await.unwrap();
    let (_, recovered, found) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let sequences: Vec<u64> = recovered.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

#[tokio::test]
async fn an_append_of_unknown_outcome_stops_the_writer() {
    let (store, mut engine, mut rows) = engine().await;
    store.inject_next(OperationKind::Put, "/wal/", Fault::FailBefore);
    assert!(matches!(
        append(&mut engine, 2, &mut rows).await.unwrap_err(),
        Error::ObjectStore(_)
    ));
    assert!(matches!(
        append(&mut engine, 3, &mut rows).await.unwrap_err(),
        Error::Poisoned { .. }
    ));
    let commit = engine.writer.commit(|_| {}).await.unwrap_err();
    assert!(
        commit.to_string().contains("open the collection again"),
        "{commit}"
    );
    assert!(engine.writer.stopped().is_some());
    let (_, _, found) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(found, rows);
}

#[tokio::test]
async fn an_append_that_was_applied_but_cannot_be_read_back_is_recovered() {
    let (store, mut engine, mut rows) = engine().await;
    store.inject_next(OperationKind::Put, "/wal/", Fault::FailAfter);
    store.inject_next(OperationKind::Get, "/wal/", Fault::FailBefore);
    append(&mut engine, 2, &mut rows).await.unwrap_err();
    assert!(matches!(
        append(&mut engine, 3, &mut rows).await.unwrap_err(),
        Error::Poisoned { .. }
    ));
    // Unacknowledged, so it may be there or not; here it is.
    let (_, _, found) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_commit_that_was_applied_counts_although_it_reported_an_error() {
    let (store, mut engine, rows) = engine().await;
    store.inject_next(OperationKind::Put, "/manifest/", Fault::FailAfter);
    let committed = engine
        .writer
        .commit(|manifest| manifest.state = b"new".to_vec())
        .await
        .unwrap();
    assert_eq!(
        (committed.version, committed.state.as_slice()),
        (2, b"new".as_slice())
    );
    engine.writer.commit(|_| {}).await.unwrap();
    let (engine, _, found) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(
        (found, engine.writer.manifest().state.as_slice()),
        (rows, b"new".as_slice())
    );
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_stops_the_writer() {
    let (store, mut engine, mut rows) = engine().await;
    store.inject_next(OperationKind::Put, "/manifest/", Fault::FailBefore);
    engine
        .writer
        .commit(|manifest| manifest.state = b"new".to_vec())
        .await
        .unwrap_err();
    assert!(matches!(
        append(&mut engine, 2, &mut rows).await.unwrap_err(),
        Error::Poisoned { .. }
    ));
    let (engine, _, _) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(engine.writer.manifest().state, b"{}");
}

#[tokio::test]
async fn a_collection_whose_creation_reported_an_error_but_happened_is_there() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    store.inject_next(OperationKind::Put, "/manifest/", Fault::FailAfter);
    Engine::create(Arc::new(store.clone())).await.unwrap();
    let again = Engine::create(Arc::new(store)).await.map(|_| ()).unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
}

#[tokio::test]
async fn a_stopped_writer_can_open_its_collection_again() {
    let (store, mut engine, mut rows) = engine().await;
    for (put, get) in [(Fault::FailBefore, false), (Fault::FailAfter, true)] {
        store.inject_next(OperationKind::Put, "/wal/", put);
        if get {
            store.inject_next(OperationKind::Get, "/wal/", Fault::FailBefore);
        }
        append(&mut engine, 2, &mut rows).await.unwrap_err();
        // Opening it again can fail as well, at the claim and at the fence.
        for part in ["/manifest/", "/wal/"] {
            store.inject_next(OperationKind::Put, part, Fault::FailBefore);
            engine.writer.reopen().await.unwrap_err();
            assert!(engine.writer.stopped().is_some());
        }
        let recovered = engine.writer.reopen().await.unwrap();
        let sequences: Vec<u64> = recovered.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences.len(), if get { 4 } else { 1 }, "{sequences:?}");
        append(&mut engine, 3, &mut rows).await.unwrap();
        append(&mut engine, 4, &mut rows).await.unwrap();
    }
    let (mut other, _, found) = reopen(Arc::new(store)).await.unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    let taken_over = engine.writer.reopen().await.unwrap_err();
    assert!(matches!(taken_over, Error::Fenced { .. }), "{taken_over}");
    append(&mut other, 5, &mut rows).await.unwrap();
}
