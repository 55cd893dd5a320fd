//! Large writes: operations in a file of their own, which lives exactly as long as the log needs it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use elanus_storage::{EncodedOps, Error, Fault, FaultStore, OperationKind, WalOp};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::model::{Engine, Rows, Step, Write, batch, reopen};

async fn files(store: &dyn ObjectStore) -> Vec<Path> {
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let paths = metas.into_iter().map(|meta| meta.location);
    paths.filter(|path| path.as_ref().ends_with(".ops")).collect()
}

async fn collect(engine: &Engine) {
    engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
}

async fn step(engine: &mut Engine, step: Step, rows: &mut Rows) {
    engine.step(&step, rows, &mut Rows::new()).await.unwrap();
}

async fn written(engine: &Engine, key: i64) -> EncodedOps {
    let mut file = engine.writer.wal_files().begin().await.unwrap();
    let insert = WalOp::Insert {
        partition: 0,
        batch: batch(&[(key, 9)]),
    };
    file.push(&[insert]).await.unwrap();
    file.finish().await.unwrap()
}

#[tokio::test]
async fn a_file_goes_when_its_rows_are_in_segments() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store)).await.unwrap();
    let mut rows = Rows::new();
    let large = Step::AppendLarge(vec![Write::Insert(vec![1, 2]), Write::Delete(vec![2])]);
    step(&mut engine, large, &mut rows).await;
    collect(&engine).await;
    assert_eq!(files(store.as_ref()).await.len(), 1);
    let (mut engine, _, found) = reopen(Arc::clone(&store)).await.unwrap();
    assert_eq!(found, rows);
    collect(&engine).await;
    assert_eq!(files(store.as_ref()).await.len(), 1, "named by the log");
    step(&mut engine, Step::Flush, &mut rows).await;
    collect(&engine).await;
    assert!(files(store.as_ref()).await.is_empty());
    assert_eq!(reopen(store).await.unwrap().2, rows);
}

#[tokio::test]
async fn a_file_stays_while_its_write_is_made_and_goes_when_that_is_given_up() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store)).await.unwrap();
    let (kept, given_up) = (written(&engine, 1).await, written(&engine, 2).await);
    collect(&engine).await;
    assert_eq!(files(store.as_ref()).await.len(), 2);
    drop(given_up);
    collect(&engine).await;
    assert_eq!(files(store.as_ref()).await.len(), 1);
    engine.writer.append(vec![(9, kept)]).await.unwrap();
    collect(&engine).await;
    assert_eq!(reopen(store).await.unwrap().2, Rows::from([(1, 9)]));
}

#[tokio::test]
async fn a_file_outlives_a_write_to_the_log_of_unknown_outcome() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let mut engine = Engine::create(Arc::new(store.clone())).await.unwrap();
    let file = written(&engine, 1).await;
    store.inject_next(OperationKind::Put, ".wal", Fault::FailAfter);
    store.inject_next(OperationKind::Get, ".wal", Fault::FailBefore);
    engine.writer.append(vec![(9, file)]).await.unwrap_err();
    collect(&engine).await;
    let recovered = engine.writer.reopen().await.unwrap();
    assert_eq!(recovered.entries.len(), 1);
    collect(&engine).await;
    assert_eq!(reopen(Arc::new(store)).await.unwrap().2, Rows::from([(1, 9)]));
}

#[tokio::test]
async fn a_file_that_is_missing_is_damage() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store)).await.unwrap();
    let large = Step::AppendLarge(vec![Write::Insert(vec![1])]);
    step(&mut engine, large, &mut Rows::new()).await;
    let file = files(store.as_ref()).await.remove(0);
    store.delete(&file).await.unwrap();
    let error = reopen(store).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(file.as_ref()), "{error}");
}
