//! Names, partitions, indexes, load and restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use elanus_collection::{
    Collection, CollectionSchema, CollectionSpec, DataType, Error, Field, IndexSpec, IndexState, IndexTarget,
    Keys, LoadState, Options,
};
use elanus_index::scalar::{ColumnIndex, Key, ScalarTest};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::{contents, manual, open, rows, spec};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn hnsw() -> IndexSpec {
    IndexSpec {
        field: "v".into(),
        index_type: "HNSW".into(),
        metric: Some("L2".into()),
        ..Default::default()
    }
}

#[tokio::test]
async fn names_aliases_and_databases_survive_a_restart() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    engine.create_database("other", BTreeMap::new()).await.unwrap();
    engine.create_collection("default", "a", spec()).await.unwrap();
    engine.create_collection("other", "b", spec()).await.unwrap();
    engine.create_alias("default", "x", "a").await.unwrap();
    assert!(matches!(
        engine.create_collection("default", "x", spec()).await,
        Err(Error::AliasCollectionNameConflict { .. })
    ));
    assert!(matches!(
        engine.drop_collection("default", "a").await,
        Err(Error::CollectionHasAliases { .. })
    ));
    assert!(matches!(
        engine.drop_database("other").await,
        Err(Error::DatabaseNotEmpty { .. })
    ));
    engine
        .rename_collection("other", "b", "other", "c")
        .await
        .unwrap();
    engine
        .collection("default", "x")
        .unwrap()
        .insert(rows(&[(1, 1)]), None)
        .await
        .unwrap();
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    assert_eq!(engine.collection("default", "x").unwrap().name(), "a");
    assert_eq!(engine.collection("default", "a").unwrap().row_count(), 1);
    assert!(engine.collection("other", "b").is_err());
    engine.drop_alias("default", "x").await.unwrap();
    engine.drop_collection("default", "a").await.unwrap();
    engine.drop_collection("other", "c").await.unwrap();
    engine.drop_database("other").await.unwrap();
    engine.close().await;
}

#[tokio::test]
async fn dropping_a_partition_takes_its_rows_from_memory_segments_and_log() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.create_partition("p").await.unwrap();
    collection.insert(rows(&[(1, 1)]), Some("p")).await.unwrap();
    collection.flush().await.unwrap();
    collection.insert(rows(&[(2, 2)]), Some("p")).await.unwrap();
    collection.insert(rows(&[(3, 3)]), None).await.unwrap();
    // An upsert replaces within the partition that it writes to.
    collection.upsert(rows(&[(1, 4)]), None).await.unwrap();
    assert_eq!(collection.row_count(), 4);
    collection.drop_partition("p").await.unwrap();
    assert!(matches!(
        collection.insert(rows(&[(4, 4)]), Some("p")).await,
        Err(Error::PartitionNotFound { .. })
    ));
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(
        contents(&collection).await,
        BTreeMap::from([(1, vec![4]), (3, vec![3])])
    );
    engine.close().await;
}

#[tokio::test]
async fn index_builds_tell_how_far_they_are_and_are_mapped_after_a_restart() {
    let store = memory();
    let engine = open(
        &store,
        Options {
            background: true,
            ..manual()
        },
    )
    .await
    .unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.create_index(&hnsw()).await.unwrap();
    assert_eq!(collection.indexes()[0].state, IndexState::Finished);
    collection
        .insert(rows(&(0..2000).map(|key| (key, 0)).collect::<Vec<_>>()), None)
        .await
        .unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    let info = &collection.indexes()[0];
    assert_eq!(
        (info.total_rows, info.indexed_rows, info.state),
        (2000, 2000, IndexState::Finished)
    );
    assert!(matches!(
        collection
            .create_index(&IndexSpec {
                index_type: "FLAT".into(),
                ..hnsw()
            })
            .await,
        Err(Error::IndexExists(_))
    ));
    collection.create_index(&hnsw()).await.unwrap();
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert!(collection.snapshot().units[0].index("v").is_some());
    collection.drop_index("v").await.unwrap();
    assert!(collection.snapshot().units[0].index("v").is_none());
    engine.close().await;
}

#[tokio::test]
async fn a_damaged_index_file_means_exact_search_until_it_is_built_again() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection
        .insert(rows(&(0..500).map(|key| (key, 0)).collect::<Vec<_>>()), None)
        .await
        .unwrap();
    collection.flush().await.unwrap();
    collection.create_index(&hnsw()).await.unwrap();
    collection.settle().await.unwrap();
    engine.close().await;
    damage(&store, ".idx").await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert!(collection.snapshot().units[0].index("v").is_none());
    assert_eq!(
        crate::support::nearest(&collection, &crate::support::vector(77, 0), 1).await[0].0,
        77
    );
    collection.settle().await.unwrap();
    assert!(collection.snapshot().units[0].index("v").is_some());
    engine.close().await;
}

#[tokio::test]
async fn a_scalar_index_is_built_of_each_segment_and_survives_a_restart_and_damage() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let index = IndexSpec {
        name: Some("by_note".into()),
        field: "note".into(),
        index_type: "INVERTED".into(),
        ..Default::default()
    };
    collection.create_index(&index).await.unwrap();
    let with_note = |collection: &Collection, note: &str| {
        let test = ScalarTest::In(vec![Key::Text(note.into())]);
        let target = IndexTarget {
            field: "note".into(),
            analyzer: None,
            json: None,
        };
        let snapshot = collection.snapshot();
        let answers = snapshot.units.iter().map(|unit| {
            let (verdict, name) = unit.ask(&target, |index| match index {
                ColumnIndex::Values(index) => index.answer(&test),
                ColumnIndex::Extents(_) => None,
            })?;
            assert_eq!(&*name, "by_note");
            Some((verdict.sure().count(), verdict.open().count()))
        });
        answers.collect::<Vec<_>>()
    };
    for round in 0..2 {
        let keys: Vec<_> = (0..50).map(|key| (round * 50 + key, key % 5)).collect();
        collection.insert(rows(&keys), None).await.unwrap();
        collection.flush().await.unwrap();
    }
    assert_eq!(with_note(&collection, "3"), [None, None]);
    collection.settle().await.unwrap();
    assert_eq!(with_note(&collection, "3"), [Some((10, 0)); 2]);
    assert_eq!(collection.indexes()[0].state, IndexState::Finished);
    collection.compact().await.unwrap();
    collection.settle().await.unwrap();
    assert_eq!(with_note(&collection, "3"), [Some((20, 0))]);
    engine.close().await;

    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(with_note(&collection, "4"), [Some((20, 0))]);
    engine.close().await;

    damage(&store, ".idx").await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(with_note(&collection, "4"), [None]);
    collection.settle().await.unwrap();
    assert_eq!(with_note(&collection, "4"), [Some((20, 0))]);
    collection.drop_index("by_note").await.unwrap();
    assert_eq!(with_note(&collection, "4"), [None]);
    engine.close().await;
}

/// Flips a bit in every file whose name ends so.
async fn damage(store: &Arc<dyn ObjectStore>, suffix: &str) {
    let files: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(store.list(None))
        .await
        .unwrap();
    let wanted = files
        .iter()
        .filter(|file| file.location.as_ref().ends_with(suffix));
    for file in wanted {
        let found = store.get(&file.location).await.unwrap();
        let mut bytes = found.bytes().await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        store.put(&file.location, bytes.into()).await.unwrap();
    }
}

#[tokio::test]
async fn load_needs_an_index_and_a_budget_and_survives_a_restart() {
    let store = memory();
    let options = || Options {
        memory_limit: Some(1 << 20),
        ..manual()
    };
    let engine = open(&store, options()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    assert!(matches!(
        collection.load(None).await,
        Err(Error::IndexNotFound { .. })
    ));
    collection.create_index(&hnsw()).await.unwrap();
    collection.create_partition("p").await.unwrap();
    collection.load(Some(&["p".to_string()])).await.unwrap();
    let p = collection.partition("p").unwrap().id;
    let default = collection.partition("_default").unwrap().id;
    collection.check_loaded(&[p]).unwrap();
    assert!(matches!(
        collection.check_loaded(&[default]),
        Err(Error::PartitionNotLoaded { .. })
    ));
    assert!(matches!(
        collection.drop_partition("p").await,
        Err(Error::StillLoaded { .. })
    ));
    assert!(matches!(
        collection.drop_index("v").await,
        Err(Error::StillLoaded { .. })
    ));
    engine.close().await;
    let engine = open(&store, options()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    collection.check_loaded(&[p]).unwrap();
    collection.release(None).await.unwrap();
    assert_eq!(collection.load_state(&[]).unwrap(), LoadState::NotLoad);
    collection
        .insert(rows(&(0..50_000).map(|key| (key, 0)).collect::<Vec<_>>()), None)
        .await
        .unwrap();
    let error = collection.load(None).await.unwrap_err();
    assert!(matches!(error, Error::MemoryBudget { .. }), "{error}");
    engine.close().await;
}

#[tokio::test]
async fn a_partition_key_spreads_rows_and_refuses_manual_partitions() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let mut tenant = Field::new("note", DataType::VarChar { max_length: 100 });
    tenant.partition_key = true;
    let schema = CollectionSchema::new(vec![
        Field::new("id", DataType::Int64).primary(),
        tenant,
        Field::new("v", DataType::FloatVector { dim: 4 }),
    ]);
    let spec = CollectionSpec {
        schema,
        num_partitions: Some(4),
        ..Default::default()
    };
    let collection = engine.create_collection("default", "c", spec).await.unwrap();
    assert_eq!(collection.partitions().len(), 4);
    let batch: Vec<_> = (0..100).map(|key| (key, key)).collect();
    collection.insert(rows(&batch), None).await.unwrap();
    assert!(collection.insert(rows(&batch), Some("_default_1")).await.is_err());
    assert!(collection.create_partition("p").await.is_err());
    let used: std::collections::BTreeSet<_> = collection
        .snapshot()
        .units
        .iter()
        .map(|unit| unit.partition())
        .collect();
    assert_eq!(used.len(), 4);
    // The same key in another tenant still replaces the row: keys are looked for in all partitions.
    collection.upsert(rows(&[(7, 1234)]), None).await.unwrap();
    assert_eq!(contents(&collection).await[&7], [1234]);
    collection
        .delete(Keys::Int64((0..50).collect()), None)
        .await
        .unwrap();
    collection.flush().await.unwrap();
    assert_eq!(collection.row_count(), 50);
    engine.close().await;
}

#[tokio::test]
async fn a_second_engine_on_the_same_files_fences_the_first() {
    let store = memory();
    let first = open(&store, manual()).await.unwrap();
    let collection = first.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[(1, 1)]), None).await.unwrap();
    let second = open(&store, manual()).await.unwrap();
    assert!(collection.insert(rows(&[(2, 2)]), None).await.is_err());
    assert!(collection.flush().await.is_err());
    let other = second.collection("default", "c").unwrap();
    other.insert(rows(&[(3, 3)]), None).await.unwrap();
    assert_eq!(contents(&other).await.keys().copied().collect::<Vec<_>>(), [1, 3]);
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn units_of_different_collections_never_share_an_id() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let mut seen = std::collections::HashSet::new();
    for round in 0..3 {
        for name in ["a", "b"] {
            let collection = engine.create_collection("default", name, spec()).await.unwrap();
            collection.insert(rows(&[(1, round)]), None).await.unwrap();
            for unit in &collection.snapshot().units {
                assert!(seen.insert(unit.id()), "{} twice", unit.id());
            }
            engine.drop_collection("default", name).await.unwrap();
        }
    }
    engine.close().await;
}

#[tokio::test]
async fn loads_at_the_same_time_add_up_and_count_after_a_restart() {
    let store = memory();
    let options = || Options {
        memory_limit: Some(1 << 20),
        ..manual()
    };
    let engine = open(&store, options()).await.unwrap();
    let batch: Vec<_> = (0..16_000).map(|key| (key, 0)).collect();
    for name in ["one", "two"] {
        let collection = engine.create_collection("default", name, spec()).await.unwrap();
        collection
            .create_index(&IndexSpec {
                index_type: "FLAT".into(),
                ..hnsw()
            })
            .await
            .unwrap();
        collection.create_partition("p").await.unwrap();
        collection.insert(rows(&batch), None).await.unwrap();
    }
    let one = engine.collection("default", "one").unwrap();
    let (p, default) = (["p".to_string()], ["_default".to_string()]);
    let (left, right) = futures::join!(one.load(Some(&p)), one.load(Some(&default)));
    left.unwrap();
    right.unwrap();
    assert_eq!(one.loaded_partitions().unwrap().len(), 2);
    let refused = |error: Error| assert!(matches!(error, Error::MemoryBudget { .. }), "{error}");
    refused(
        engine
            .collection("default", "two")
            .unwrap()
            .load(None)
            .await
            .unwrap_err(),
    );
    engine.close().await;
    let engine = open(&store, options()).await.unwrap();
    let two = engine.collection("default", "two").unwrap();
    refused(two.load(None).await.unwrap_err());
    // Letting a part go makes room.
    engine
        .collection("default", "one")
        .unwrap()
        .release(Some(&default))
        .await
        .unwrap();
    two.load(None).await.unwrap();
    engine.close().await;
}

#[tokio::test]
async fn an_index_is_dropped_by_its_own_name_before_that_of_a_field() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let scalar = |name: &str, field: &str| IndexSpec {
        name: Some(name.into()),
        field: field.into(),
        ..Default::default()
    };
    collection.create_index(&scalar("x", "note")).await.unwrap();
    collection.create_index(&scalar("note", "id")).await.unwrap();
    collection.drop_index("note").await.unwrap();
    let left: Vec<_> = collection.indexes().into_iter().map(|index| index.name).collect();
    assert_eq!(left, ["x"]);
    collection.drop_index("note").await.unwrap();
    assert!(collection.indexes().is_empty());
    engine.close().await;
}

#[tokio::test]
async fn many_rows_become_several_segments_at_once_and_none_is_merged_beyond_its_limit() {
    let store = memory();
    let options = Options {
        max_segment_bytes: 2_000_000,
        ..manual()
    };
    let engine = open(&store, options.clone()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    // Batches of so many rows stay chunks of their own, each of about 800,000 bytes.
    let keys: Vec<(i64, i64)> = (0..100_000).map(|key| (key, 1)).collect();
    let batches = keys.chunks(20_000).map(|keys| Ok::<_, Error>(rows(keys)));
    let batches: Vec<_> = batches.collect();
    collection
        .insert_all(futures::stream::iter(batches), None)
        .await
        .unwrap();
    let all: BTreeMap<i64, Vec<i64>> = keys.iter().map(|(key, version)| (*key, vec![*version])).collect();
    let rows_of = |collection: &Collection| {
        let units = &collection.snapshot().units;
        assert!(units.iter().all(|unit| unit.sealed()));
        units.iter().map(|unit| unit.rows()).collect::<Vec<_>>()
    };
    collection.flush().await.unwrap();
    assert_eq!(rows_of(&collection), [40_000, 40_000, 20_000]);
    assert_eq!(contents(&collection).await, all);
    engine.close().await;

    let engine = open(&store, options).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(contents(&collection).await, all);
    // What is on disk is smaller than it was in memory: some can be merged, not all of them.
    collection.compact().await.unwrap();
    assert_eq!(rows_of(&collection), [40_000, 60_000]);
    assert!(
        collection
            .snapshot()
            .units
            .iter()
            .all(|unit| unit.bytes() <= 2_000_000)
    );
    assert_eq!(contents(&collection).await, all);
    engine.close().await;
}

#[tokio::test]
async fn a_compaction_takes_rows_that_were_deleted_before_it_and_what_another_one_was_at_work_on() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    for round in 0..20 {
        for part in 0..3 {
            let keys: Vec<(i64, i64)> = (0..500).map(|key| (key + 1000 * part + round, 1)).collect();
            collection.insert(rows(&keys), None).await.unwrap();
            collection.flush().await.unwrap();
        }
        // The second one is asked for while the first is running, and after the delete.
        let first = collection.compact();
        let second = async {
            collection
                .delete(Keys::Int64((0..3000).step_by(2).collect()), None)
                .await
                .unwrap();
            collection.compact().await
        };
        let (first, second) = tokio::join!(first, second);
        first.unwrap();
        second.unwrap();
        let units = collection.snapshot().units.clone();
        assert_eq!(units.len(), 1, "round {round}");
        assert_eq!(u64::from(units[0].rows()), units[0].live_rows(), "round {round}");
    }
    engine.close().await;
}

#[tokio::test]
async fn many_batches_are_one_write_that_survives_a_restart() {
    let store = memory();
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let batches = |batches: Vec<RecordBatch>| futures::stream::iter(batches.into_iter().map(Ok::<_, Error>));
    let written = collection
        .insert_all(batches(vec![rows(&[(1, 1), (2, 2)]), rows(&[(3, 3)])]), None)
        .await
        .unwrap();
    assert_eq!((written.rows, written.keys), (3, Keys::Int64(vec![1, 2, 3])));
    // A batch that does not fit takes the others with it.
    let bad = rows(&[(9, 9)]).project(&[0, 1]).unwrap();
    let half = collection
        .insert_all(batches(vec![rows(&[(4, 4)]), bad]), None)
        .await;
    assert!(half.is_err());
    // So does an error of whoever delivers them.
    let broken_off = futures::stream::iter([Ok(rows(&[(5, 5)])), Err(Error::InvalidData("gone".into()))]);
    let half = collection.insert_all(broken_off, None).await;
    assert_eq!(
        half.unwrap_err().to_string(),
        Error::InvalidData("gone".into()).to_string()
    );
    let empty = rows(&[(6, 6)]).slice(0, 0);
    let nothing = collection.insert_all(batches(vec![empty]), None).await.unwrap();
    assert_eq!((nothing.rows, nothing.keys), (0, Keys::Int64(Vec::new())));
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let found = contents(&engine.collection("default", "c").unwrap()).await;
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    engine.close().await;
}
