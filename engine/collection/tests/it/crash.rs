//! A workload stopped before and after every store operation in turn, then reopened.

use std::collections::BTreeMap;
use std::sync::Arc;

use elanus_collection::{Collections, IndexSpec, Keys};
use elanus_storage::{Fault, FaultStore};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{contents, manual, open, rows, spec};

/// What must be found: the state after the acknowledged steps, or with the unacknowledged one too.
#[derive(Default, Clone)]
struct Expected {
    acknowledged: BTreeMap<i64, Vec<i64>>,
    in_doubt: BTreeMap<i64, Vec<i64>>,
    created: bool,
}

/// One step of the script and what it does to the rows.
enum Step {
    Insert(std::ops::Range<i64>),
    Upsert(std::ops::Range<i64>),
    Delete(std::ops::Range<i64>),
    Flush,
    Index,
    Compact,
    Partition,
    Reopen,
}

fn script() -> Vec<Step> {
    use Step::{Compact, Delete, Flush, Index, Insert, Partition, Reopen, Upsert};
    vec![
        Insert(0..20),
        Insert(20..30),
        Flush,
        Upsert(5..10),
        Delete(0..3),
        Index,
        Insert(30..40),
        Flush,
        Delete(28..33),
        Reopen,
        Partition,
        Upsert(35..45),
        Compact,
        Delete(10..12),
        Insert(50..55),
        Flush,
    ]
}

fn change(rows: &mut BTreeMap<i64, Vec<i64>>, step: &Step, version: i64) {
    match step {
        Step::Insert(keys) => keys
            .clone()
            .for_each(|key| rows.entry(key).or_default().push(version)),
        Step::Upsert(keys) => keys.clone().for_each(|key| {
            rows.insert(key, vec![version]);
        }),
        Step::Delete(keys) => rows.retain(|key, _| !keys.contains(key)),
        Step::Flush | Step::Index | Step::Compact | Step::Partition | Step::Reopen => {}
    }
}

async fn perform(
    engine: &mut Arc<Collections>,
    store: &Arc<dyn ObjectStore>,
    step: &Step,
    version: i64,
) -> elanus_collection::Result<()> {
    let collection = engine.collection("default", "c")?;
    let batch =
        |keys: &std::ops::Range<i64>| rows(&keys.clone().map(|key| (key, version)).collect::<Vec<_>>());
    match step {
        Step::Insert(keys) => collection.insert(batch(keys), None).await.map(|_| ()),
        Step::Upsert(keys) => collection.upsert(batch(keys), None).await.map(|_| ()),
        Step::Delete(keys) => collection
            .delete(Keys::Int64(keys.clone().collect()), None)
            .await
            .map(|_| ()),
        Step::Flush => collection.flush().await,
        Step::Index => {
            let spec = IndexSpec {
                field: "v".into(),
                index_type: "HNSW".into(),
                metric: Some("L2".into()),
                ..Default::default()
            };
            collection.create_index(&spec).await?;
            collection.settle().await
        }
        Step::Compact => collection.compact().await,
        Step::Partition => collection.create_partition("p").await,
        Step::Reopen => {
            engine.close().await;
            *engine = open(store, manual()).await?;
            engine.collection("default", "c").map(|_| ())
        }
    }
}

/// Runs the script until a step fails.
async fn workload(store: &Arc<dyn ObjectStore>) -> Expected {
    let mut expected = Expected::default();
    let Ok(mut engine) = open(store, manual()).await else {
        return expected;
    };
    if engine.create_collection("default", "c", spec()).await.is_err() {
        return expected;
    }
    expected.created = true;
    for (version, step) in script().iter().enumerate() {
        let version = version as i64;
        change(&mut expected.in_doubt, step, version);
        if perform(&mut engine, store, step, version).await.is_err() {
            break;
        }
        expected.acknowledged.clone_from(&expected.in_doubt);
    }
    engine.close().await;
    expected
}

#[tokio::test]
async fn whatever_operation_a_crash_hits_acknowledged_rows_are_there_and_batches_are_whole() {
    let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
    let complete = workload(&store).await;
    assert_eq!(complete.acknowledged, complete.in_doubt);
    let operations = faults.operations();
    assert!(operations > 60, "only {operations} operations");
    for number in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
            let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
            faults.inject_at(number, fault);
            let expected = workload(&store).await;
            faults.restart();
            check(&store, &expected, &format!("operation {number} {fault:?}")).await;
        }
    }
    println!("{operations} store operations, a crash before and after each: nothing lost, nothing torn");
}

async fn check(store: &Arc<dyn ObjectStore>, expected: &Expected, at: &str) {
    let engine = open(store, manual())
        .await
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    let collection = match engine.collection("default", "c") {
        Ok(collection) => collection,
        Err(error) => {
            assert!(!expected.created, "{at}: {error}");
            return;
        }
    };
    let found = contents(&collection).await;
    assert!(
        found == expected.acknowledged || found == expected.in_doubt,
        "{at}: found {found:?}, acknowledged {:?}",
        expected.acknowledged
    );
    // The survivor takes writes, builds, flushes, and is whole after one more restart.
    collection
        .insert(rows(&[(1000, 99)]), None)
        .await
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    collection.flush().await.unwrap_or_else(|e| panic!("{at}: {e}"));
    collection.settle().await.unwrap_or_else(|e| panic!("{at}: {e}"));
    let before = contents(&collection).await;
    engine.close().await;
    let engine = open(store, manual())
        .await
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(
        contents(&engine.collection("default", "c").unwrap()).await,
        before,
        "{at}"
    );
    engine.close().await;
}
