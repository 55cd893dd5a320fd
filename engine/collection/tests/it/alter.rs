//! Changing a schema: what old rows look like, who is refused, and what a crash leaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema};
use elanus_collection::{
    Alteration, Collection, Collections, DataType, Error, Field, IndexSpec, IndexState, Keys, Options,
};
use elanus_storage::{Fault, FaultStore, OperationKind};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{DIM, contents, manual, nearest, open, rows, spec, vector};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn add(field: Field) -> Alteration {
    Alteration::AddField {
        field: Box::new(field),
        if_not_exists: false,
    }
}

fn drop_field(name: &str) -> Alteration {
    Alteration::DropField {
        name: name.into(),
        if_exists: false,
        with_vector_index: false,
    }
}

fn rename(from: &str, to: &str) -> Alteration {
    Alteration::RenameField {
        from: from.into(),
        to: to.into(),
    }
}

fn number(name: &str, default: i64) -> Field {
    Field {
        default: Some(default.into()),
        ..Field::new(name, DataType::Int64)
    }
}

async fn alter(engine: &Collections, changes: Vec<Alteration>) -> Arc<Collection> {
    engine.alter_collection("default", "c", changes).await.unwrap()
}

async fn refusal(engine: &Collections, change: Alteration) -> String {
    let refused = engine.alter_collection("default", "c", vec![change]).await;
    refused.unwrap_err().to_string()
}

/// Key and value of an INT64 column, NULL included, in the order of the keys.
async fn numbers(collection: &Collection, column: &str) -> Vec<(i64, Option<i64>)> {
    let mut found = Vec::new();
    for unit in &collection.snapshot().units {
        let batch = unit.columns(&["id", column]).await.unwrap();
        assert_eq!(batch.schema().field(1).name(), column);
        let (ids, values) = (
            batch.column(0).as_primitive::<Int64Type>(),
            batch.column(1).as_primitive::<Int64Type>(),
        );
        for row in unit.live().iter() {
            found.push((ids.value(row), values.is_valid(row).then(|| values.value(row))));
        }
    }
    found.sort_unstable();
    found
}

fn all(keys: &[i64], value: Option<i64>) -> Vec<(i64, Option<i64>)> {
    keys.iter().map(|key| (*key, value)).collect()
}

#[tokio::test]
async fn an_added_column_has_its_default_in_old_rows_after_restart_and_compaction() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let old = engine.create_collection("default", "c", spec()).await.unwrap();
    old.insert(rows(&[(1, 1), (2, 2)]), None).await.unwrap();
    old.flush().await.unwrap();
    // Still in memory when the column comes.
    old.insert(rows(&[(3, 3)]), None).await.unwrap();
    let altered = alter(
        &engine,
        vec![
            add(number("n", 7)),
            add(Field::new("m", DataType::Int64).nullable()),
        ],
    )
    .await;
    altered.insert(rows(&[(4, 4)]), None).await.unwrap();
    // A later default is for later rows.
    let altered_again = alter(
        &engine,
        vec![Alteration::SetDefault {
            field: "n".into(),
            value: Some(8.into()),
        }],
    )
    .await;
    altered_again.insert(rows(&[(5, 5)]), None).await.unwrap();
    let mut expected = all(&[1, 2, 3, 4], Some(7));
    expected.push((5, Some(8)));
    let nulls = all(&[1, 2, 3, 4, 5], None);
    assert_eq!(numbers(&altered_again, "n").await, expected);
    assert_eq!(numbers(&altered_again, "m").await, nulls);
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(numbers(&collection, "n").await, expected);
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    assert_eq!(collection.snapshot().units.len(), 1);
    assert_eq!(numbers(&collection, "n").await, expected);
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(numbers(&collection, "n").await, expected);
    assert_eq!(numbers(&collection, "m").await, nulls);
    engine.close().await;
}

#[tokio::test]
async fn a_column_that_is_dropped_and_added_again_does_not_get_its_old_values_back() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let old = engine.create_collection("default", "c", spec()).await.unwrap();
    old.insert(rows(&[(1, 1)]), None).await.unwrap();
    alter(&engine, vec![add(number("n", 7))]).await;
    let both = vec![
        drop_field("n"),
        add(Field::new("n", DataType::Int64).nullable()),
        drop_field("note"),
        add(Field::new("note", DataType::Int64).nullable()),
    ];
    let collection = alter(&engine, both).await;
    let ids: BTreeSet<i64> = collection.schema().fields.iter().map(|field| field.id).collect();
    assert_eq!(ids, [100, 102, 104, 105].into());
    for column in ["n", "note"] {
        assert_eq!(numbers(&collection, column).await, [(1, None)]);
    }
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    for column in ["n", "note"] {
        assert_eq!(numbers(&collection, column).await, [(1, None)]);
    }
    engine.close().await;
}

#[tokio::test]
async fn renamed_columns_keep_their_values_and_a_new_one_of_the_old_name_is_empty() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let old = engine.create_collection("default", "c", spec()).await.unwrap();
    old.insert(rows(&[(1, 1)]), None).await.unwrap();
    let swapped = vec![
        rename("note", "remark"),
        add(Field::new("note", DataType::Int64).nullable()),
        rename("id", "key"),
    ];
    let collection = alter(&engine, swapped).await;
    let snapshot = collection.snapshot();
    let unit = &snapshot.units[0];
    let batch = unit.columns(&["key", "remark", "note"]).await.unwrap();
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "1");
    assert!(batch.column(2).is_null(0));
    let error = unit.columns(&["id"]).await.unwrap_err();
    assert!(matches!(error, Error::FieldNotFound { .. }), "{error}");
    assert!(unit.columns_in_memory(&["id"]).unwrap().is_err());
    // Keys are found and replaced under their new name.
    let renamed = renamed_columns(&rows(&[(1, 2), (2, 2)]), &[("id", "key"), ("note", "remark")]);
    collection.upsert(renamed, None).await.unwrap();
    assert_eq!(collection.row_count(), 2);
    collection.delete(Keys::Int64(vec![1]), None).await.unwrap();
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    assert_eq!(engine.collection("default", "c").unwrap().row_count(), 1);
    engine.close().await;
}

fn renamed_columns(batch: &RecordBatch, names: &[(&str, &str)]) -> RecordBatch {
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let new = names.iter().find(|(old, _)| old == field.name());
            field
                .as_ref()
                .clone()
                .with_name(new.map_or(field.name().as_str(), |(_, new)| new))
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap()
}

#[tokio::test]
async fn an_added_vector_column_is_empty_can_be_indexed_and_searched() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let many: Vec<_> = (0..50).map(|key| (key, 0)).collect();
    collection.insert(rows(&many), None).await.unwrap();
    collection.create_index(&hnsw("v")).await.unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    let added = Field::new("w", DataType::FloatVector { dim: DIM as u32 }).nullable();
    let collection = alter(&engine, vec![drop_field("note"), add(added), rename("v", "u")]).await;
    let unit = &collection.snapshot().units[0];
    assert!(unit.index("u").is_some() && unit.index("v").is_none());
    assert_eq!(unit.vectors("w").unwrap().valid().unwrap().count(), 0);
    assert_eq!(unit.allow("w", None).unwrap().count(unit.rows()), 0);
    let next = renamed_columns(&rows(&[(100, 0)]).project(&[0, 2]).unwrap(), &[("v", "w")]);
    let error = collection.insert(next.clone(), None).await.unwrap_err();
    assert!(error.to_string().contains("field 'u' is missing"), "{error}");
    let both = RecordBatch::try_from_iter([
        ("id", Arc::clone(next.column(0))),
        ("u", Arc::clone(next.column(1))),
        ("w", Arc::clone(next.column(1))),
    ])
    .unwrap();
    collection.insert(both, None).await.unwrap();
    collection.create_index(&hnsw("w")).await.unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    assert!(
        collection
            .indexes()
            .iter()
            .all(|index| index.state == IndexState::Finished),
        "{:?}",
        collection.indexes()
    );
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    for _ in 0..2 {
        let back = alter(&engine, vec![rename("w", "x"), rename("x", "w")]).await;
        assert_eq!(back.schema(), collection.schema());
        let found = nearest(&*alter(&engine, vec![rename("u", "v")]).await, &vector(30, 0), 3).await;
        assert_eq!(found[0].0, 30);
        let collection = alter(&engine, vec![rename("v", "u")]).await;
        let with_w: usize = collection
            .snapshot()
            .units
            .iter()
            .map(|unit| unit.allow("w", None).unwrap().count(unit.rows()))
            .sum();
        assert_eq!(with_w, 1);
        collection.compact().await.unwrap();
        collection.settle().await.unwrap();
        assert_eq!(collection.snapshot().units.len(), 1);
    }
    engine.close().await;
}

fn hnsw(field: &str) -> IndexSpec {
    IndexSpec {
        field: field.into(),
        index_type: "HNSW".into(),
        metric: Some("L2".into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_was_made_ready_for_the_old_schema_is_refused_and_readers_keep_theirs() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let old = engine.create_collection("default", "c", spec()).await.unwrap();
    old.insert(rows(&[(1, 1)]), None).await.unwrap();
    let pinned = old.snapshot();
    let new = alter(&engine, vec![drop_field("note"), add(number("n", 7))]).await;
    assert!(!old.is_current() && new.is_current());
    assert!(new.schema_ts() > old.schema_ts());
    let late = [
        old.insert(rows(&[(2, 2)]), None).await.map(|_| ()),
        old.delete(Keys::Int64(vec![1]), None).await.map(|_| ()),
        old.create_index(&hnsw("v")).await,
        old.create_partition("p").await,
        old.flush().await,
    ];
    for refused in late {
        assert!(matches!(refused, Err(Error::SchemaChanged(_))), "{refused:?}");
    }
    assert_eq!(new.row_count(), 1);
    // The old schema over the old rows, whatever happens to the new ones.
    new.delete(Keys::Int64(vec![1]), None).await.unwrap();
    new.compact().await.unwrap();
    assert_eq!(pinned.live_rows(), 1);
    let batch = pinned.units[0].columns(&["note", "v"]).await.unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "1");
    // Closing the engine through the newest handle stops the one writer.
    engine.close().await;
    assert!(matches!(new.flush().await, Err(Error::Closed(_))));
}

#[tokio::test]
async fn writers_that_race_a_change_write_whole_rows_of_one_schema_or_nothing() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    engine.create_collection("default", "c", spec()).await.unwrap();
    let writers = (0..8).map(|writer| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let mut written = Vec::new();
            for number in 0..20 {
                let key = writer * 100 + number;
                loop {
                    let collection = engine.collection("default", "c").unwrap();
                    match collection.insert(rows(&[(key, key)]), None).await {
                        Ok(_) => break written.push(key),
                        Err(Error::SchemaChanged(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            written
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..10 {
        alter(&engine, vec![add(number(&format!("n{round}"), round))]).await;
    }
    let mut expected = Vec::new();
    for writer in writers {
        expected.extend(writer.await.unwrap());
    }
    let collection = engine.collection("default", "c").unwrap();
    for round in 0..10 {
        let mut wanted = all(&expected, Some(round));
        wanted.sort_unstable();
        assert_eq!(numbers(&collection, &format!("n{round}")).await, wanted);
    }
    engine.close().await;
}

#[tokio::test]
async fn rules_are_named_and_nothing_of_a_refused_list_is_done() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.create_index(&hnsw("v")).await.unwrap();
    let vector = |name: &str| Field::new(name, DataType::FloatVector { dim: 4 });
    for (change, said) in [
        (
            add(Field::new("n", DataType::Int64)),
            "must be nullable or have a default value",
        ),
        (add(vector("w")), "added vector field 'w' must be nullable"),
        (add(number("note", 1)), "duplicated field name 'note'"),
        (
            add(Field::new("k", DataType::Int64).primary()),
            "cannot be the primary key",
        ),
        (drop_field("id"), "it is the primary key"),
        (drop_field("v"), "the last vector field"),
        (drop_field("nota"), "did you mean note?"),
        (rename("note", "v"), "duplicated field name 'v'"),
        (rename("note", "in"), "Invalid field name"),
        (
            Alteration::SetDefault {
                field: "id".into(),
                value: Some(1.into()),
            },
            "cannot be nullable or have a default value",
        ),
    ] {
        let error = refusal(&engine, change).await;
        assert!(error.contains(said), "{error}");
    }
    alter(&engine, vec![add(vector("w").nullable())]).await;
    let error = refusal(&engine, drop_field("v")).await;
    assert!(error.contains("index 'v' is on it, drop that first"), "{error}");
    let half = vec![add(number("n", 1)), drop_field("nope")];
    engine.alter_collection("default", "c", half).await.unwrap_err();
    let before = engine.collection("default", "c").unwrap();
    assert!(before.schema().field("n").is_none());
    let many = (0..61).map(|i| add(number(&format!("f{i}"), 0))).collect();
    let error = engine.alter_collection("default", "c", many).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded(_)), "{error}");
    assert!(before.is_current());
    engine.close().await;
}

#[tokio::test]
async fn a_flush_that_fails_leaves_the_old_schema_and_its_writer() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1)]), None).await.unwrap();
    faults.inject_next(OperationKind::Put, "data.parquet", Fault::FailBefore);
    let refused = engine
        .alter_collection("default", "c", vec![add(number("n", 7))])
        .await;
    assert!(matches!(refused, Err(Error::FlushFailed { .. })));
    collection.insert(rows(&[(2, 2)]), None).await.unwrap();
    let altered = alter(&engine, vec![add(number("n", 7))]).await;
    assert_eq!(numbers(&altered, "n").await, all(&[1, 2], Some(7)));
    engine.close().await;
}

#[tokio::test]
async fn a_change_of_unknown_outcome_is_known_once_the_writer_goes_on() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let store: Arc<dyn ObjectStore> = Arc::new(faults.clone());
    let options = Options {
        retry: Duration::from_millis(10),
        ..manual()
    };
    let engine = open(&store, options).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1)]), None).await.unwrap();
    collection.flush().await.unwrap();
    // The commit gets through, but nobody can tell.
    faults.inject_next(OperationKind::Put, "/manifest/", Fault::FailAfter);
    faults.inject_next(OperationKind::Get, "/manifest/", Fault::FailBefore);
    let changes = vec![add(number("n", 7))];
    engine
        .alter_collection("default", "c", changes)
        .await
        .unwrap_err();
    let collection = loop {
        let collection = engine.collection("default", "c").unwrap();
        match collection.insert(rows(&[(2, 2)]), None).await {
            Ok(_) => break collection,
            Err(Error::WriterFailed { .. } | Error::SchemaChanged(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(numbers(&collection, "n").await, all(&[1, 2], Some(7)));
    engine.close().await;
}

// ---- a crash at every store operation

#[derive(Default, Clone, PartialEq, Debug)]
struct State {
    keys: BTreeSet<i64>,
    columns: Vec<&'static str>,
}

enum Step {
    Insert(std::ops::Range<i64>),
    Delete(i64),
    Flush,
    Compact,
    Reopen,
    Alter(Vec<Alteration>, Vec<&'static str>),
}

fn script() -> Vec<Step> {
    let vector = Field::new("w", DataType::FloatVector { dim: 4 }).nullable();
    vec![
        Step::Insert(0..5),
        Step::Flush,
        Step::Insert(5..8),
        Step::Delete(1),
        Step::Alter(
            vec![add(number("n", 7)), add(vector)],
            vec!["id", "note", "v", "n", "w"],
        ),
        Step::Insert(10..12),
        Step::Alter(
            vec![
                rename("note", "remark"),
                drop_field("n"),
                rename("remark", "note"),
            ],
            vec!["id", "note", "v", "w"],
        ),
        Step::Insert(20..22),
        Step::Reopen,
        Step::Insert(30..32),
        Step::Alter(
            vec![add(Field::new("n", DataType::Int64).nullable())],
            vec!["id", "note", "v", "w", "n"],
        ),
        Step::Flush,
        Step::Compact,
        Step::Insert(40..41),
    ]
}

async fn perform(
    engine: &mut Arc<Collections>,
    store: &Arc<dyn ObjectStore>,
    step: &Step,
) -> elanus_collection::Result<()> {
    let collection = engine.collection("default", "c")?;
    match step {
        Step::Insert(keys) => {
            let batch = rows(&keys.clone().map(|key| (key, key)).collect::<Vec<_>>());
            collection.insert(batch, None).await.map(|_| ())
        }
        Step::Delete(key) => collection.delete(Keys::Int64(vec![*key]), None).await.map(|_| ()),
        Step::Flush => collection.flush().await,
        Step::Compact => collection.compact().await,
        Step::Reopen => {
            engine.close().await;
            *engine = open(store, manual()).await?;
            Ok(())
        }
        Step::Alter(changes, _) => engine
            .alter_collection("default", "c", changes.clone())
            .await
            .map(|_| ()),
    }
}

/// Runs the script until a step fails: the state after the acknowledged steps, and with the failed one.
async fn workload(store: &Arc<dyn ObjectStore>) -> Option<(State, State)> {
    let mut engine = open(store, manual()).await.ok()?;
    engine.create_collection("default", "c", spec()).await.ok()?;
    let mut acknowledged = State {
        keys: BTreeSet::new(),
        columns: vec!["id", "note", "v"],
    };
    let mut in_doubt = acknowledged.clone();
    for step in script() {
        match &step {
            Step::Insert(keys) => in_doubt.keys.extend(keys.clone()),
            Step::Delete(key) => drop(in_doubt.keys.remove(key)),
            Step::Alter(_, columns) => in_doubt.columns.clone_from(columns),
            Step::Flush | Step::Compact | Step::Reopen => {}
        }
        if perform(&mut engine, store, &step).await.is_err() {
            break;
        }
        acknowledged.clone_from(&in_doubt);
    }
    engine.close().await;
    Some((acknowledged, in_doubt))
}

async fn found(collection: &Collection) -> State {
    let contents = contents(collection).await;
    assert!(contents.iter().all(|(key, versions)| versions == &[*key]));
    let known = ["id", "note", "v", "n", "w"];
    let columns = collection.schema().fields.iter().map(|field| {
        let known = known.iter().find(|known| **known == field.name);
        *known.expect("a column of the script")
    });
    State {
        keys: contents.into_keys().collect(),
        columns: columns.collect(),
    }
}

#[tokio::test]
async fn whatever_operation_a_crash_hits_the_schema_is_the_old_or_the_new_one_with_every_row() {
    let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
    let (acknowledged, in_doubt) = workload(&store).await.unwrap();
    assert_eq!(acknowledged, in_doubt);
    let operations = faults.operations();
    assert!(operations > 60, "only {operations} operations");
    for number in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let at = format!("operation {number} {fault:?}");
            let faults = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
            let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as Arc<dyn ObjectStore>;
            faults.inject_at(number, fault);
            let expected = workload(&store).await;
            faults.restart();
            let engine = open(&store, manual()).await.unwrap();
            let (collection, (acknowledged, in_doubt)) = match (engine.collection("default", "c"), expected) {
                (Ok(collection), Some(expected)) => (collection, expected),
                (_, None) => continue,
                (Err(error), Some(_)) => panic!("{at}: {error}"),
            };
            let state = found(&collection).await;
            assert!(state == acknowledged || state == in_doubt, "{at}: {state:?}");
            if state.columns.contains(&"n") {
                // The first column of the name has a default, the second has none.
                let second = state.columns.last() == Some(&"n");
                let value = (!second).then_some(7);
                let keys: Vec<i64> = state.keys.iter().copied().collect();
                assert_eq!(numbers(&collection, "n").await, all(&keys, value), "{at}");
            }
            // The survivor takes rows and changes.
            collection.insert(rows(&[(1000, 1000)]), None).await.unwrap();
            let altered = alter(&engine, vec![add(Field::new("last", DataType::Int64).nullable())]).await;
            assert_eq!(altered.row_count() as usize, state.keys.len() + 1, "{at}");
            engine.close().await;
        }
    }
}
