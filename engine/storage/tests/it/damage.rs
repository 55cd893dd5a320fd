//! Flipped bits and cut files: a clear error or a clean recovery, never other data and never a panic.

use std::collections::BTreeSet;
use std::sync::Arc;

use elanus_storage::{CatalogStore, Error};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::model::{Engine, Rows, Step, Write, reopen};

/// Two segments, one of them with deletes and an index, and three WAL objects after them, one with a file of its own; the newest holds three
/// entries. `prefixes` are the states after 0, 1, 2 and 3 of those.
struct Fixture {
    store: InMemory,
    rows: Rows,
    prefixes: Vec<Rows>,
}

async fn fixture() -> Fixture {
    use Write::{Delete, Insert, Upsert};
    let store = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store) as Arc<dyn ObjectStore>)
        .await
        .unwrap();
    let (mut rows, mut attempted) = (Rows::new(), Rows::new());
    let steps = [
        Step::Append(vec![Insert((0..40).collect())]),
        Step::Flush,
        Step::Index,
        Step::Append(vec![Delete(vec![3, 4]), Insert((50..60).collect())]),
        Step::Flush,
        Step::AppendLarge(vec![Insert(vec![70]), Upsert(vec![51])]),
        Step::Append(vec![Delete(vec![50])]),
    ];
    for step in &steps {
        engine.step(step, &mut rows, &mut attempted).await.unwrap();
    }
    let mut prefixes = vec![rows.clone()];
    let group = vec![Insert(vec![80]), Upsert(vec![1]), Delete(vec![70, 2])];
    for len in 1..=group.len() {
        let fork = Arc::new(store.fork());
        let (mut fork_engine, _, mut rows) = reopen(fork).await.unwrap();
        fork_engine
            .step(&Step::Append(group[..len].to_vec()), &mut rows, &mut attempted)
            .await
            .unwrap();
        prefixes.push(rows);
    }
    engine
        .step(&Step::Append(group), &mut rows, &mut attempted)
        .await
        .unwrap();
    assert_eq!(prefixes.last(), Some(&rows));
    Fixture {
        store: store.fork(),
        rows,
        prefixes,
    }
}

async fn list(store: &InMemory, part: &str) -> Vec<Path> {
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let mut paths: Vec<Path> = metas.into_iter().map(|meta| meta.location).collect();
    paths.retain(|path| path.as_ref().contains(part));
    paths.sort();
    paths
}

async fn content(store: &InMemory, path: &Path) -> Vec<u8> {
    store.get(path).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Opens and reads a copy of the fixture in which `path` has other content.
async fn read_with(fixture: &Fixture, path: &Path, content: Vec<u8>) -> elanus_storage::Result<Rows> {
    let fork = Arc::new(fixture.store.fork());
    fork.put(path, content.into()).await.unwrap();
    Ok(reopen(fork).await?.2)
}

/// All offsets of a small file, the ends and a spread of a large one.
fn offsets(len: usize) -> BTreeSet<usize> {
    let step = (len / 300).max(1);
    let ends = (0..len.min(100)).chain(len.saturating_sub(100)..len);
    ends.chain((0..len).step_by(step)).collect()
}

async fn assert_damage_is_an_error(fixture: &Fixture, path: &Path) {
    let original = content(&fixture.store, path).await;
    for at in offsets(original.len()) {
        let mut flipped = original.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_names(
            read_with(fixture, path, flipped).await,
            path,
            &format!("bit flip at {at}"),
        );
        let cut = original[..at].to_vec();
        assert_names(read_with(fixture, path, cut).await, path, &format!("cut at {at}"));
    }
    let longer = [original.as_slice(), b"x"].concat();
    assert_names(read_with(fixture, path, longer).await, path, "one byte more");
}

fn assert_names(result: elanus_storage::Result<Rows>, path: &Path, what: &str) {
    match result {
        Err(Error::Corrupt { path: named, .. }) => assert_eq!(named, path.as_ref(), "{what}"),
        other => panic!("{what} of {path}: {other:?}"),
    }
}

#[tokio::test]
async fn the_newest_manifest() {
    let fixture = fixture().await;
    let path = list(&fixture.store, "/manifest/").await.pop().unwrap();
    assert_damage_is_an_error(&fixture, &path).await;
}

#[tokio::test]
async fn parquet_files() {
    let fixture = fixture().await;
    let paths = list(&fixture.store, "data.parquet").await;
    assert_eq!(paths.len(), 2);
    assert_damage_is_an_error(&fixture, &paths[0]).await;
}

#[tokio::test]
async fn vector_files() {
    let fixture = fixture().await;
    assert_damage_is_an_error(&fixture, &list(&fixture.store, ".vec.arrow").await[0]).await;
}

#[tokio::test]
async fn index_blobs() {
    let fixture = fixture().await;
    assert_damage_is_an_error(&fixture, &list(&fixture.store, ".idx").await[0]).await;
}

#[tokio::test]
async fn delete_bitmaps() {
    let fixture = fixture().await;
    assert_damage_is_an_error(&fixture, &list(&fixture.store, ".roar").await[0]).await;
}

#[tokio::test]
async fn wal_objects_before_the_newest() {
    let fixture = fixture().await;
    let wal = list(&fixture.store, ".wal").await;
    let [.., before, _newest] = wal.as_slice() else {
        panic!("{wal:?}");
    };
    assert_damage_is_an_error(&fixture, before).await;
}

#[tokio::test]
async fn files_of_large_writes() {
    let fixture = fixture().await;
    let files = list(&fixture.store, ".ops").await;
    assert_eq!(files.len(), 1);
    assert_damage_is_an_error(&fixture, &files[0]).await;
}

#[tokio::test]
async fn flushed_wal_objects_do_not_matter() {
    let fixture = fixture().await;
    let path = list(&fixture.store, ".wal").await.remove(0);
    assert_eq!(
        read_with(&fixture, &path, b"rubbish".to_vec()).await.unwrap(),
        fixture.rows
    );
}

#[tokio::test]
async fn a_flipped_bit_in_the_newest_wal_object_is_an_error() {
    let fixture = fixture().await;
    let path = list(&fixture.store, ".wal").await.pop().unwrap();
    let original = content(&fixture.store, &path).await;
    for at in 0..original.len() {
        let mut flipped = original.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_names(
            read_with(&fixture, &path, flipped).await,
            &path,
            &format!("bit flip at {at}"),
        );
    }
}

#[tokio::test]
async fn a_cut_newest_wal_object_keeps_its_whole_entries_for_good() {
    let fixture = fixture().await;
    let path = list(&fixture.store, ".wal").await.pop().unwrap();
    let original = content(&fixture.store, &path).await;
    let mut kept_counts = BTreeSet::new();
    for at in 0..original.len() {
        let fork = Arc::new(fixture.store.fork());
        fork.put(&path, original[..at].to_vec().into()).await.unwrap();
        let (mut engine, recovered, mut rows) =
            reopen(Arc::clone(&fork) as Arc<dyn ObjectStore>).await.unwrap();
        let torn = recovered.torn.expect("the cut is reported");
        assert_eq!(torn.path, path.as_ref());
        assert_eq!(rows, fixture.prefixes[torn.kept as usize], "cut at {at}");
        kept_counts.insert(torn.kept);
        if at % 50 != 0 {
            continue;
        }
        // The torn object is in the middle of the log now, and stays readable there.
        let mut attempted = Rows::new();
        let step = Step::Append(vec![Write::Insert(vec![1000])]);
        engine.step(&step, &mut rows, &mut attempted).await.unwrap();
        let (mut engine, recovered, found) = reopen(Arc::clone(&fork) as Arc<dyn ObjectStore>).await.unwrap();
        assert_eq!((recovered.torn, &found), (None, &rows));
        engine
            .step(&Step::Flush, &mut rows, &mut attempted)
            .await
            .unwrap();
        engine
            .step(&Step::Garbage, &mut rows, &mut attempted)
            .await
            .unwrap();
        assert_eq!(reopen(fork).await.unwrap().2, rows);
    }
    assert_eq!(kept_counts, BTreeSet::from([0, 1, 2]));
}

#[tokio::test]
async fn a_missing_wal_object_is_an_error() {
    let fixture = fixture().await;
    let wal = list(&fixture.store, ".wal").await;
    fixture.store.delete(&wal[wal.len() - 2]).await.unwrap();
    let error = reopen(Arc::new(fixture.store.fork()))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.is_corrupt(), "{error}");
}

#[tokio::test]
async fn a_missing_segment_file_is_named() {
    let fixture = fixture().await;
    let path = list(&fixture.store, ".vec.arrow").await.remove(0);
    fixture.store.delete(&path).await.unwrap();
    let error = reopen(Arc::new(fixture.store.fork()))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { path: named } if named == path.as_ref()),
        "{error}"
    );
}

#[tokio::test]
async fn swapped_files_are_noticed() {
    let fixture = fixture().await;
    for part in ["data.parquet", ".vec.arrow", ".wal", "/manifest/"] {
        let paths = list(&fixture.store, part).await;
        let newest = paths.last().unwrap();
        let other = content(&fixture.store, &paths[0]).await;
        assert_names(
            read_with(&fixture, newest, other).await,
            newest,
            "another file of the kind",
        );
    }
}

#[tokio::test]
async fn the_newest_catalog() {
    let store = InMemory::new();
    let catalog = CatalogStore::open(Arc::new(store.fork())).await.unwrap();
    drop(catalog);
    let memory = Arc::new(store);
    CatalogStore::open(Arc::clone(&memory) as Arc<dyn ObjectStore>)
        .await
        .unwrap();
    let path = list(&memory, "catalog/").await.pop().unwrap();
    let original = content(&memory, &path).await;
    for at in 0..original.len() {
        for bytes in [original[..at].to_vec(), {
            let mut flipped = original.clone();
            flipped[at] ^= 1 << (at % 8);
            flipped
        }] {
            memory.put(&path, bytes.into()).await.unwrap();
            let error = CatalogStore::open(Arc::clone(&memory) as Arc<dyn ObjectStore>)
                .await
                .unwrap_err();
            assert!(error.is_corrupt(), "{error}");
        }
    }
}
