//! Rows that a statement has read and changes: in place, anew, or away, each at most once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use elanus_collection::{
    Change, Collection, CollectionSpec, Collections, Error, IndexSpec, Keys, Options, RowRefs,
    TIMESTAMP_COLUMN, UNIQUE_KEY,
};
use elanus_storage::{Fault, FaultStore};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{self, contents, manual, open, rows};

/// The value of `n` by key and version of the row.
type State = BTreeMap<(i64, i64), Option<i64>>;

/// The usual collection with a column `n`, which is NULL in new rows.
fn spec() -> CollectionSpec {
    let mut spec = support::spec();
    spec.schema
        .fields
        .push(elanus_collection::Field::new("n", elanus_collection::DataType::Int64).nullable());
    spec
}

/// One row as a statement reads it.
#[derive(Debug, Clone)]
struct Row {
    key: i64,
    version: i64,
    n: Option<i64>,
    reference: u64,
}

async fn read(collection: &Collection) -> Vec<Row> {
    try_read(collection).await.unwrap()
}

async fn try_read(collection: &Collection) -> elanus_collection::Result<Vec<Row>> {
    let mut found = Vec::new();
    for unit in &collection.snapshot().units {
        let live: Vec<u32> = unit.live().iter().map(|row| row as u32).collect();
        let names = ["id", "note", "n", TIMESTAMP_COLUMN];
        let batch = unit.take(&names, &live).await?;
        let whole = unit.columns(&names).await?;
        let n = batch.column(2).as_primitive::<Int64Type>();
        for (position, row) in live.iter().enumerate() {
            let key = batch.column(0).as_primitive::<Int64Type>().value(position);
            // Both ways of reading agree.
            let of_whole = whole.column(2).as_primitive::<Int64Type>();
            assert_eq!(
                of_whole.iter().nth(*row as usize),
                n.iter().nth(position),
                "key {key}"
            );
            found.push(Row {
                key,
                version: batch
                    .column(1)
                    .as_string::<i32>()
                    .value(position)
                    .parse()
                    .unwrap(),
                n: n.iter().nth(position).flatten(),
                reference: batch.column(3).as_primitive::<UInt64Type>().value(position),
            });
        }
    }
    Ok(found)
}

async fn state(collection: &Collection) -> State {
    let rows = read(collection).await;
    let state: State = rows.iter().map(|row| ((row.key, row.version), row.n)).collect();
    assert_eq!(state.len(), rows.len(), "no row is there twice");
    assert_eq!(collection.row_count(), rows.len() as u64);
    state
}

fn refs(rows: &[Row]) -> RowRefs {
    RowRefs {
        keys: Keys::Int64(rows.iter().map(|row| row.key).collect()),
        versions: rows.iter().map(|row| row.reference).collect(),
    }
}

fn numbers(values: impl IntoIterator<Item = Option<i64>>) -> RecordBatch {
    let column: ArrayRef = Arc::new(values.into_iter().collect::<Int64Array>());
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn update(rows: &[Row], n: Option<i64>) -> Change {
    Change {
        update: Some((refs(rows), numbers(rows.iter().map(|_| n)))),
        ..Change::default()
    }
}

fn remove(rows: &[Row]) -> Change {
    Change {
        remove: Some(refs(rows)),
        ..Change::default()
    }
}

/// The same rows with the vectors of another version.
fn rewrite(old: &[Row], version: i64) -> Change {
    let batch = rows(&old.iter().map(|row| (row.key, version)).collect::<Vec<_>>());
    let mut columns = batch.columns().to_vec();
    columns.extend(numbers(old.iter().map(|row| row.n)).columns().iter().cloned());
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("n", DataType::Int64, true)));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    Change {
        rewrite: Some((refs(old), batch)),
        ..Change::default()
    }
}

#[tokio::test]
async fn updates_that_would_make_a_column_too_wide_are_refused_before_they_are_logged() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = Options {
        max_column_bytes: 3_200,
        ..manual()
    };
    let engine = open(&store, options.clone()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let keys: Vec<(i64, i64)> = (0..40).map(|key| (key, 1)).collect();
    collection.insert(rows(&keys), None).await.unwrap();
    let lengthen = |rows: &[Row]| {
        let notes: ArrayRef = Arc::new(StringArray::from(vec!["7".repeat(50); rows.len()]));
        let schema = Schema::new(vec![Field::new("note", DataType::Utf8, true)]);
        let values = RecordBatch::try_new(Arc::new(schema), vec![notes]).unwrap();
        Change {
            update: Some((refs(rows), values)),
            ..Change::default()
        }
    };
    let lengths = async |collection: &Collection| {
        let mut lengths = BTreeMap::new();
        for unit in &collection.snapshot().units {
            let batch = unit.columns(&["id", "note"]).await.unwrap();
            let notes = batch.column(1).as_string::<i32>();
            for (key, note) in batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .zip(notes)
            {
                lengths.insert(*key, note.unwrap().len());
            }
        }
        lengths
    };
    // The notes are one byte each, in memory and then on disk; 40 of 50 have no room beside 40 of 50 and 40 of 1.
    for step in ["growing", "sealed"] {
        let all = located(&collection).await;
        collection.change(lengthen(&all)).await.unwrap();
        let all = located(&collection).await;
        let refused = collection.change(lengthen(&all)).await.unwrap_err();
        assert!(matches!(refused, Error::LimitExceeded(_)), "{step}: {refused}");
        let text = refused.to_string();
        assert!(text.contains("2000 bytes of new values of 'note'"), "{text}");
        assert!(text.contains("at most 3100"), "{text}");
        assert_eq!(
            located(&collection)
                .await
                .iter()
                .map(|row| row.reference)
                .collect::<Vec<_>>(),
            all.iter().map(|row| row.reference).collect::<Vec<_>>(),
            "{step}: nothing is changed by half"
        );
        // Numbers take no room, and fewer texts have it.
        collection.change(update(&all, Some(1))).await.unwrap();
        let some = located(&collection).await;
        collection.change(lengthen(&some[..20])).await.unwrap();
        collection.flush().await.unwrap();
        if step == "growing" {
            let all = located(&collection).await;
            let short = rewrite(&all, 1);
            collection.change(short).await.unwrap();
            collection.compact().await.unwrap();
        }
    }
    let long: BTreeMap<i64, usize> = keys.iter().map(|(key, _)| (*key, 50)).collect();
    assert_eq!(lengths(&collection).await, long);
    collection.compact().await.unwrap();
    assert_eq!(lengths(&collection).await, long);
    engine.close().await;

    // Two segments of which neither leaves the other room are not put together.
    let engine = open(&store, options).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(lengths(&collection).await, long);
    collection.insert(rows(&[(100, 1)]), None).await.unwrap();
    collection.compact().await.unwrap();
    assert_eq!(collection.snapshot().units.len(), 2);
    engine.close().await;
}

/// The rows in the order of their keys, whatever their notes are.
async fn located(collection: &Collection) -> Vec<Row> {
    let mut found = Vec::new();
    for unit in &collection.snapshot().units {
        let live: Vec<u32> = unit.live().iter().map(|row| row as u32).collect();
        let batch = unit.take(&["id", TIMESTAMP_COLUMN], &live).await.unwrap();
        let keys = batch.column(0).as_primitive::<Int64Type>().values();
        let versions = batch.column(1).as_primitive::<UInt64Type>().values();
        found.extend(keys.iter().zip(versions).map(|(key, version)| Row {
            key: *key,
            version: 1,
            n: None,
            reference: *version,
        }));
    }
    found.sort_by_key(|row| row.key);
    found
}

#[tokio::test]
async fn changes_agree_with_a_map_through_flushes_merges_and_restarts() {
    for seed in 0..24 {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut options = manual();
    if seed % 2 == 1 {
        // A flush makes several segments, and not all of them may be merged.
        options.max_segment_bytes = 2_000;
    }
    let mut engine = open(&store, options.clone()).await.unwrap();
    let mut collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let index = IndexSpec {
        field: "v".into(),
        index_type: "HNSW".into(),
        metric: Some("L2".into()),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    let mut expected = State::new();
    for version in 0..60 {
        let at = format!("seed {seed} step {version}");
        let some: Vec<Row> = read(&collection)
            .await
            .into_iter()
            .filter(|_| random.random_range(0..5) == 0)
            .collect();
        let n = (random.random_range(0..6) > 0).then_some(version);
        match random.random_range(0..14) {
            0..=3 => {
                let first = random.random_range(0..200);
                let keys: Vec<_> = (first..first + random.random_range(1..40))
                    .map(|key| (key, version))
                    .collect();
                collection.insert(rows(&keys), None).await.unwrap();
                expected.extend(keys.into_iter().map(|row| (row, None)));
            }
            kind @ 4..=8 => {
                // An update that arrives while rows move to a segment, or while segments merge.
                let change = update(&some, n);
                let done = match kind {
                    4 => tokio::join!(collection.flush(), collection.change(change)).1,
                    5 => tokio::join!(collection.compact(), collection.change(change)).1,
                    _ => collection.change(change).await,
                };
                assert_eq!(done.unwrap().changed, some.len() as u64, "{at}");
                for row in &some {
                    expected.insert((row.key, row.version), n);
                }
            }
            9 => {
                let done = tokio::join!(collection.flush(), collection.change(remove(&some))).1;
                assert_eq!(done.unwrap().changed, some.len() as u64, "{at}");
                for row in &some {
                    expected.remove(&(row.key, row.version));
                }
            }
            10 => {
                let mut distinct = some.clone();
                distinct.sort_by_key(|row| row.key);
                distinct.dedup_by_key(|row| row.key);
                let done = collection.change(rewrite(&distinct, version)).await;
                assert_eq!(done.unwrap().changed, distinct.len() as u64, "{at}");
                for row in &distinct {
                    let n = expected.remove(&(row.key, row.version)).unwrap();
                    expected.insert((row.key, version), n);
                }
            }
            11 => {
                let keys: Vec<i64> = some.iter().map(|row| row.key).collect();
                expected.retain(|(key, _), _| !keys.contains(key));
                collection.delete(Keys::Int64(keys), None).await.unwrap();
            }
            12 => collection.settle().await.unwrap(),
            _ => {
                engine.close().await;
                engine = open(&store, options.clone()).await.unwrap();
                collection = engine.collection("default", "c").unwrap();
            }
        }
        assert_eq!(state(&collection).await, expected, "{at}");
        // Vectors are those of their rows.
        contents(&collection).await;
    }
    engine.close().await;
}

async fn with_rows(spec: CollectionSpec) -> (Arc<Collections>, Arc<Collection>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec).await.unwrap();
    let keys: Vec<_> = (0..10).map(|key| (key, 0)).collect();
    collection.insert(rows(&keys), None).await.unwrap();
    (engine, collection)
}

#[tokio::test]
async fn a_row_that_is_not_as_it_was_read_is_a_conflict_and_nothing_is_written() {
    let (engine, collection) = with_rows(spec()).await;
    let old = read(&collection).await;
    collection.change(update(&old[..1], Some(1))).await.unwrap();
    collection.delete(Keys::Int64(vec![1]), None).await.unwrap();
    collection.upsert(rows(&[(2, 5)]), None).await.unwrap();
    collection.flush().await.unwrap();
    let before = state(&collection).await;
    for stale in 0..3 {
        let both = [old[stale].clone(), old[7].clone()];
        for change in [update(&both, Some(9)), remove(&both), rewrite(&both, 9)] {
            let refused = collection.change(change).await.unwrap_err();
            assert!(
                matches!(refused, Error::Conflict { .. }),
                "row {stale}: {refused}"
            );
        }
    }
    assert_eq!(state(&collection).await, before);
    // The untouched one can still be changed, through the flush.
    collection.change(update(&old[7..8], Some(9))).await.unwrap();
    assert_eq!(state(&collection).await[&(7, 0)], Some(9));
    let twice = [old[8].clone(), old[8].clone()];
    let refused = collection.change(update(&twice, Some(1))).await.unwrap_err();
    assert!(refused.to_string().contains("more than once"), "{refused}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_of_many_writers_are_all_counted() {
    let (engine, collection) = with_rows(spec()).await;
    collection
        .change(update(&read(&collection).await, Some(0)))
        .await
        .unwrap();
    let increment = |key: i64| {
        let collection = Arc::clone(&collection);
        async move {
            loop {
                let row: Vec<Row> = read(&collection)
                    .await
                    .into_iter()
                    .filter(|row| row.key == key)
                    .collect();
                let n = row[0].n.unwrap() + 1;
                match collection.change(update(&row, Some(n))).await {
                    Ok(_) => return,
                    Err(Error::Conflict { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let writes: Vec<_> = (0..25).map(|step| increment((writer + step) % 2)).collect();
            tokio::spawn(async move {
                for write in writes {
                    write.await;
                }
            })
        })
        .collect();
    for _ in 0..10 {
        collection.flush().await.unwrap();
        collection.compact().await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let counted = state(&collection).await;
    assert_eq!(counted[&(0, 0)].unwrap() + counted[&(1, 0)].unwrap(), 200);
    engine.close().await;
}

#[tokio::test]
async fn unique_keys_stay_unique_whatever_writes() {
    let mut unique = spec();
    unique.properties.insert(UNIQUE_KEY.into(), "true".into());
    let (engine, collection) = with_rows(unique).await;
    let is_duplicate = |result: elanus_collection::Result<_>| {
        let refused: Error = result.map(|_: ()| ()).unwrap_err();
        assert!(
            matches!(&refused, Error::DuplicateKey { key, .. } if key == "3"),
            "{refused}"
        );
    };
    is_duplicate(
        collection
            .insert(rows(&[(20, 1), (3, 1)]), None)
            .await
            .map(|_| ()),
    );
    collection.flush().await.unwrap();
    is_duplicate(collection.insert(rows(&[(3, 1)]), None).await.map(|_| ()));
    is_duplicate(collection.insert(rows(&[(3, 1), (3, 2)]), None).await.map(|_| ()));
    collection.upsert(rows(&[(3, 7)]), None).await.unwrap();
    collection.delete(Keys::Int64(vec![4]), None).await.unwrap();
    collection.insert(rows(&[(4, 8)]), None).await.unwrap();
    // Of writers at the same time one wins, also within one group.
    let collection = &collection;
    let tries = (0..20).map(|version| async move { collection.insert(rows(&[(50, version)]), None).await });
    let won = futures::future::join_all(tries).await;
    assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1);
    let properties = BTreeMap::from([(UNIQUE_KEY.to_string(), "false".to_string())]);
    assert!(collection.alter_properties(properties, &[]).await.is_err());
    let found = contents(collection).await;
    assert!(found.values().all(|versions| versions.len() == 1), "{found:?}");
    assert_eq!((&found[&3], &found[&4]), (&vec![7], &vec![8]));
    engine.close().await;
}

#[tokio::test]
async fn a_long_log_of_updates_is_put_into_segments_by_itself() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = Options {
        seal_writes: 20,
        gc_grace: Duration::ZERO,
        ..Options::default()
    };
    let engine = open(&store, options).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1), (2, 1)]), None).await.unwrap();
    for n in 0..100 {
        let row = read(&collection)
            .await
            .into_iter()
            .find(|row| row.key == 1)
            .unwrap();
        collection.change(update(&[row], Some(n))).await.unwrap();
    }
    collection.settle().await.unwrap();
    let logged: Vec<_> = store.list(None).try_collect().await.unwrap();
    let logged = logged
        .iter()
        .filter(|file| file.location.as_ref().ends_with(".wal"))
        .count();
    assert!(logged < 60, "{logged} files of the log are there");
    assert_eq!(state(&collection).await[&(1, 1)], Some(99));
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(state(&collection).await[&(1, 1)], Some(99));
    engine.close().await;
}

/// A script of changes, the state after each of its steps being known.
async fn script(store: &Arc<dyn ObjectStore>) -> (State, State) {
    let (mut sure, mut possible) = (State::new(), State::new());
    let Ok(mut engine) = open(store, manual()).await else {
        return (sure, possible);
    };
    if engine.create_collection("default", "c", spec()).await.is_err() {
        return (sure, possible);
    }
    for version in 0..14 {
        let Ok(collection) = engine.collection("default", "c") else {
            break;
        };
        let Ok(all) = try_read(&collection).await else {
            break;
        };
        let some: Vec<Row> = all
            .into_iter()
            .filter(|row| (row.key + version) % 3 == 0)
            .collect();
        let done = match version {
            0 | 4 | 8 => {
                let keys: Vec<_> = (version * 10..version * 10 + 12)
                    .map(|key| (key, version))
                    .collect();
                possible.extend(keys.iter().map(|row| (*row, None)));
                collection.insert(rows(&keys), None).await.map(|_| ())
            }
            2 | 6 | 12 => collection.flush().await,
            9 => collection.compact().await,
            10 => {
                engine.close().await;
                match open(store, manual()).await {
                    Ok(opened) => {
                        engine = opened;
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            11 => {
                for row in &some {
                    possible.remove(&(row.key, row.version));
                }
                collection.change(remove(&some)).await.map(|_| ())
            }
            _ => {
                for row in &some {
                    possible.insert((row.key, row.version), Some(version));
                }
                collection.change(update(&some, Some(version))).await.map(|_| ())
            }
        };
        if done.is_err() {
            break;
        }
        sure.clone_from(&possible);
    }
    engine.close().await;
    (sure, possible)
}

#[tokio::test]
async fn whatever_operation_a_crash_hits_acknowledged_changes_are_there_once() {
    let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
    let (sure, possible) = script(&store).await;
    assert_eq!(sure, possible);
    assert!(sure.values().any(Option::is_some));
    let operations = faults.operations();
    for number in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
            let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
            faults.inject_at(number, fault);
            let (sure, possible) = script(&store).await;
            faults.restart();
            let at = format!("operation {number} {fault:?}");
            let engine = open(&store, manual())
                .await
                .unwrap_or_else(|e| panic!("{at}: {e}"));
            let Ok(collection) = engine.collection("default", "c") else {
                assert!(sure.is_empty(), "{at}");
                continue;
            };
            let found = state(&collection).await;
            assert!(
                found == sure || found == possible,
                "{at}: found {found:?}, sure {sure:?}"
            );
            // The survivor takes changes, and they are there after one more restart.
            let all = read(&collection).await;
            collection
                .change(update(&all, Some(99)))
                .await
                .unwrap_or_else(|e| panic!("{at}: {e}"));
            engine.close().await;
            let engine = open(&store, manual())
                .await
                .unwrap_or_else(|e| panic!("{at}: {e}"));
            let last = state(&engine.collection("default", "c").unwrap()).await;
            assert!(
                last.len() == all.len() && last.values().all(|n| *n == Some(99)),
                "{at}"
            );
            engine.close().await;
        }
    }
}
