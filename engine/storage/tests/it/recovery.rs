//! Restart without damage: what was appended and committed comes back, on memory and on disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use elanus_storage::{
    CollectionStore, Error, Keys, WalOp, encode_ops, list_collections, open_root, remove_collection,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::model::{Engine, Rows, Step, Write, batch, reopen, schema, script};

#[tokio::test]
async fn the_whole_script_comes_back_from_disk_after_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let uri = dir.path().join("data");
    let uri = uri.to_str().unwrap();
    let (mut rows, mut attempted) = (Rows::new(), Rows::new());
    drop(Engine::create(open_root(uri).unwrap().store).await.unwrap());
    for step in script() {
        let root = open_root(uri).unwrap();
        let (mut engine, _, found) = reopen(Arc::clone(&root.store)).await.unwrap();
        assert_eq!(found, rows);
        engine.step(&step, &mut rows, &mut attempted).await.unwrap();
    }
    let root = open_root(uri).unwrap();
    assert_eq!(reopen(Arc::clone(&root.store)).await.unwrap().2, rows);
}

#[tokio::test]
async fn entries_keep_order_timestamps_and_operations() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = CollectionStore::create(Arc::clone(&store), 1, schema(), vec![])
        .await
        .unwrap();
    let ops = [
        vec![WalOp::Insert {
            partition: 4,
            batch: batch(&[(1, 10), (2, 10)]),
        }],
        vec![
            WalOp::Delete {
                partition: Some(4),
                keys: Keys::VarChar(vec!["ä".to_owned(), String::new()]),
            },
            WalOp::Insert {
                partition: -1,
                batch: batch(&[]),
            },
        ],
        vec![],
    ];
    let payload = |index: usize| encode_ops(&ops[index]).unwrap();
    assert_eq!(
        writer
            .append(vec![(10, payload(0)), (11, payload(1))])
            .await
            .unwrap(),
        [1, 2]
    );
    assert_eq!(writer.append(vec![]).await.unwrap(), Vec::<u64>::new());
    assert_eq!(writer.append(vec![(12, payload(2))]).await.unwrap(), [3]);
    let (_, recovered) = CollectionStore::open(store, 1).await.unwrap();
    let found: Vec<_> = recovered
        .entries
        .iter()
        .map(|entry| (entry.sequence, entry.timestamp))
        .collect();
    assert_eq!(found, [(1, 10), (2, 11), (3, 12)]);
    let found: Vec<_> = recovered.entries.into_iter().map(|entry| entry.ops).collect();
    assert_eq!(found, ops);
    assert_eq!(recovered.torn, None);
}

#[tokio::test]
async fn a_flush_position_inside_a_group_replays_the_rest_of_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = CollectionStore::create(Arc::clone(&store), 1, schema(), vec![])
        .await
        .unwrap();
    let payload = encode_ops(&[]).unwrap();
    let group = |len: u64| {
        (0..len)
            .map(|timestamp| (timestamp, payload.clone()))
            .collect::<Vec<_>>()
    };
    writer.append(group(3)).await.unwrap();
    writer.append(group(3)).await.unwrap();
    writer.commit(|manifest| manifest.wal_flushed = 5).await.unwrap();
    writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    let (mut writer, recovered) = CollectionStore::open(Arc::clone(&store), 1).await.unwrap();
    let sequences: Vec<u64> = recovered.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [6]);
    // 7 is the fence.
    assert_eq!(writer.append(group(1)).await.unwrap(), [8]);
}

#[tokio::test]
async fn the_flush_position_moves_forward_and_not_past_the_log() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = CollectionStore::create(store, 1, schema(), vec![]).await.unwrap();
    writer.append(vec![(1, encode_ops(&[]).unwrap())]).await.unwrap();
    let beyond = writer
        .commit(|manifest| manifest.wal_flushed = 2)
        .await
        .unwrap_err();
    assert!(matches!(beyond, Error::Invalid(_)), "{beyond}");
    writer.commit(|manifest| manifest.wal_flushed = 1).await.unwrap();
    let back = writer
        .commit(|manifest| manifest.wal_flushed = 0)
        .await
        .unwrap_err();
    assert!(matches!(back, Error::Invalid(_)), "{back}");
    assert!(writer.stopped().is_none());
}

#[tokio::test]
async fn collections_are_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    assert!(list_collections(root.store.as_ref()).await.unwrap().is_empty());
    for id in [12, 3] {
        CollectionStore::create(Arc::clone(&root.store), id, schema(), vec![])
            .await
            .unwrap();
    }
    assert_eq!(list_collections(root.store.as_ref()).await.unwrap(), [3, 12]);
    assert_eq!(remove_collection(root.store.as_ref(), 3).await.unwrap(), 1);
    assert_eq!(remove_collection(root.store.as_ref(), 3).await.unwrap(), 0);
    assert_eq!(list_collections(root.store.as_ref()).await.unwrap(), [12]);
    let gone = CollectionStore::open(Arc::clone(&root.store), 3)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn schema_and_state_come_back_and_protected_fields_cannot_be_edited() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store)).await.unwrap();
    engine
        .writer
        .commit(|manifest| {
            manifest.epoch = 99;
            manifest.version = 99;
            manifest.claims.clear();
            manifest.last_timestamp = 5;
        })
        .await
        .unwrap();
    let mut rows = Rows::new();
    let step = Step::Append(vec![Write::Insert(vec![1])]);
    engine.step(&step, &mut rows, &mut Rows::new()).await.unwrap();
    let (engine, recovered, _) = reopen(store).await.unwrap();
    let manifest = engine.writer.manifest();
    assert_eq!(manifest.schema, schema());
    assert_eq!(
        (manifest.version, manifest.epoch, manifest.last_timestamp),
        (3, 2, 5)
    );
    assert_eq!(manifest.claims, [1, 3]);
    assert_eq!(recovered.manifest, manifest);
}
