//! Crash enumeration: the script is stopped before and after every store operation in turn, and the collection is
//! opened again. Acknowledged writes are there, the write that was under way is there whole or not at all, nothing
//! that the manifest names is missing, and the collection takes writes again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use elanus_storage::{Error, Fault, FaultStore, Result};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::model::{Engine, Rows, Step, Write, reopen, script};

/// Runs the script until it ends or fails.
async fn run(store: Arc<dyn ObjectStore>, rows: &mut Rows, attempted: &mut Rows) -> Result<()> {
    let mut engine = Engine::create(store).await?;
    for step in script() {
        attempted.clone_from(rows);
        engine.step(&step, rows, attempted).await?;
    }
    Ok(())
}

async fn operations_of_the_script() -> u64 {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    run(Arc::new(store.clone()), &mut Rows::new(), &mut Rows::new())
        .await
        .unwrap();
    store.operations()
}

/// Runs the script with a fault at one operation, restarts and checks; returns whether the script failed.
async fn survive(number: u64, fault: Fault) -> bool {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    store.inject_at(number, fault);
    let (mut rows, mut attempted) = (Rows::new(), Rows::new());
    let failed = run(Arc::new(store.clone()), &mut rows, &mut attempted)
        .await
        .is_err();
    store.restart();
    let context = format!(
        "{fault:?} at operation {number}: {:?}",
        store.history().get(number as usize)
    );

    let (engine, _, found) = match reopen(Arc::new(store.clone())).await {
        // The collection was never created.
        Err(Error::NotFound { .. }) if rows.is_empty() => return failed,
        result => result.expect(&context),
    };
    assert!(
        found == rows || found == attempted,
        "{context}: {found:?}, acknowledged {rows:?}, attempted {attempted:?}"
    );

    // What was recovered stays recovered, through garbage collection, another write, a flush and another restart.
    let mut rows = found;
    engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .expect(&context);
    let (mut engine, _, found) = reopen(Arc::new(store.clone())).await.expect(&context);
    assert_eq!(found, rows, "after garbage collection: {context}");
    for step in [
        Step::Append(vec![Write::Upsert(vec![1, 77])]),
        Step::Flush,
        Step::Garbage,
        Step::Append(vec![Write::Delete(vec![77])]),
    ] {
        engine
            .step(&step, &mut rows, &mut attempted)
            .await
            .expect(&context);
    }
    let (_, _, found) = reopen(Arc::new(store)).await.expect(&context);
    assert_eq!(found, rows, "{context}");
    failed
}

async fn enumerate(fault: Fault) {
    let operations = operations_of_the_script().await;
    assert!(operations > 50, "the script is too short: {operations}");
    let mut failed = 0;
    for number in 0..operations {
        failed += u64::from(survive(number, fault).await);
    }
    assert!(failed > 0, "no fault had an effect");
}

#[tokio::test]
async fn nothing_is_lost_by_a_crash_before_any_operation() {
    enumerate(Fault::CrashBefore).await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_crash_after_any_operation() {
    enumerate(Fault::CrashAfter).await;
}

#[tokio::test]
async fn nothing_is_lost_when_any_single_operation_fails() {
    enumerate(Fault::FailBefore).await;
}

#[tokio::test]
async fn nothing_is_lost_when_any_single_operation_fails_after_it_took_effect() {
    enumerate(Fault::FailAfter).await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_short_read() {
    enumerate(Fault::ShortRead).await;
}

/// The recovery itself can crash as well, at any of its operations.
#[tokio::test]
async fn a_crash_during_recovery_loses_nothing() {
    let base = InMemory::new();
    let (mut rows, mut attempted) = (Rows::new(), Rows::new());
    run(Arc::new(base.fork()), &mut Rows::new(), &mut Rows::new())
        .await
        .unwrap();
    let full = Arc::new(base);
    run(
        Arc::clone(&full) as Arc<dyn ObjectStore>,
        &mut rows,
        &mut attempted,
    )
    .await
    .unwrap();
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for number in 0..16 {
            let store = FaultStore::new(Arc::new(full.fork()));
            store.inject_at(number, fault);
            let first = reopen(Arc::new(store.clone())).await;
            store.restart();
            let (_, _, found) = reopen(Arc::new(store.clone())).await.unwrap();
            assert_eq!(found, rows, "{fault:?} at {number}");
            drop(first);
        }
    }
}
