//! Two writers of one collection: the later one wins, the earlier one notices at its next write.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use elanus_storage::{Error, Fault, FaultStore, OperationKind};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::model::{Engine, Rows, Step, Write, reopen};

async fn append(engine: &mut Engine, key: i64, rows: &mut Rows) -> elanus_storage::Result<()> {
    let step = Step::Append(vec![Write::Insert(vec![key])]);
    engine.step(&step, rows, &mut Rows::new()).await
}

async fn assert_fenced(engine: &mut Engine) {
    let garbage = engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(garbage, Error::Fenced { .. }), "{garbage}");
    let error = append(engine, 99, &mut Rows::new()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Fenced {
                epoch: 1,
                newer: 2,
                ..
            }
        ),
        "{error}"
    );
    let error = engine.writer.commit(|_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
}

#[tokio::test]
async fn the_first_append_after_a_takeover_fails() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut rows = Rows::new();
    let mut old = Engine::create(Arc::clone(&store)).await.unwrap();
    append(&mut old, 1, &mut rows).await.unwrap();
    let (mut new, _, found) = reopen(Arc::clone(&store)).await.unwrap();
    assert_eq!(found, rows);
    assert_fenced(&mut old).await;
    append(&mut new, 2, &mut rows).await.unwrap();
    assert_eq!(reopen(store).await.unwrap().2, rows);
}

#[tokio::test]
async fn the_first_commit_after_a_takeover_fails() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut old = Engine::create(Arc::clone(&store)).await.unwrap();
    let (new, _, _) = reopen(Arc::clone(&store)).await.unwrap();
    let error = old
        .writer
        .commit(|manifest| manifest.state = b"old".to_vec())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "collection 7 was taken over by another writer: epoch 2 replaced epoch 1"
    );
    assert!(matches!(
        old.writer.append(vec![]).await,
        Err(Error::Fenced { .. })
    ));
    assert_eq!(new.writer.manifest().state, b"{}");
}

#[tokio::test]
async fn a_writer_that_slept_through_flushes_and_garbage_collections_still_notices() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut rows = Rows::new();
    let mut old = Engine::create(Arc::clone(&store)).await.unwrap();
    append(&mut old, 1, &mut rows).await.unwrap();
    for key in 2..6 {
        let (mut new, _, found) = reopen(Arc::clone(&store)).await.unwrap();
        assert_eq!(found, rows);
        append(&mut new, key, &mut rows).await.unwrap();
        for step in [Step::Flush, Step::Compact, Step::Garbage] {
            new.step(&step, &mut rows, &mut Rows::new()).await.unwrap();
        }
    }
    assert_fenced(&mut old).await;
    assert_eq!(reopen(store).await.unwrap().2, rows);
}

#[tokio::test]
async fn what_the_old_writer_appends_before_the_fence_is_recovered() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let mut rows = Rows::new();
    let mut old = Engine::create(Arc::new(store.clone())).await.unwrap();
    append(&mut old, 1, &mut rows).await.unwrap();
    // The takeover dies after it claimed its epoch, before it wrote the fence.
    store.inject_next(OperationKind::List, "/wal", Fault::FailBefore);
    assert!(reopen(Arc::new(store.clone())).await.is_err());
    append(&mut old, 2, &mut rows).await.unwrap();
    assert_eq!(reopen(Arc::new(store)).await.unwrap().2, rows);
}

#[tokio::test]
async fn an_append_between_replay_and_fence_is_recovered() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut rows = Rows::new();
    let mut old = Engine::create(Arc::clone(&inner)).await.unwrap();
    append(&mut old, 1, &mut rows).await.unwrap();
    rows.insert(2, 2);
    let race = async move { append(&mut old, 2, &mut Rows::new()).await.unwrap() };
    let racing = RacingStore::new(&inner, OperationKind::Put, race);
    let (mut new, recovered, found) = reopen(Arc::new(racing)).await.unwrap();
    assert_eq!(found, rows);
    assert_eq!(recovered.entries.len(), 2);
    append(&mut new, 3, &mut rows).await.unwrap();
    assert_eq!(reopen(inner).await.unwrap().2, rows);
}

#[tokio::test]
async fn an_opening_that_is_overtaken_before_its_fence_leaves_the_log_readable() {
    for at in [OperationKind::List, OperationKind::Put] {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut rows = Rows::new();
        let mut first = Engine::create(Arc::clone(&inner)).await.unwrap();
        append(&mut first, 1, &mut rows).await.unwrap();
        rows.insert(2, 2);
        let store = Arc::clone(&inner);
        let race = async move {
            let (mut winner, _, mut rows) = reopen(store).await.unwrap();
            append(&mut winner, 2, &mut rows).await.unwrap();
        };
        let racing = RacingStore::new(&inner, at, race);
        let error = reopen(Arc::new(racing)).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Fenced {
                    epoch: 2,
                    newer: 3,
                    ..
                }
            ),
            "{at:?}: {error}"
        );
        assert_eq!(reopen(inner).await.unwrap().2, rows, "{at:?}");
    }
}

/// Lets something else happen just before the first operation of one kind on the WAL through this store.
struct RacingStore {
    inner: Arc<dyn ObjectStore>,
    at: OperationKind,
    race: Arc<tokio::sync::Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl RacingStore {
    fn new(
        inner: &Arc<dyn ObjectStore>,
        at: OperationKind,
        race: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            at,
            race: Arc::new(tokio::sync::Mutex::new(Some(race.boxed()))),
        }
    }

    fn race_at(&self, kind: OperationKind, path: &str) -> BoxFuture<'static, ()> {
        let race = Arc::clone(&self.race);
        let hit = kind == self.at && path.contains("/wal");
        async move {
            if hit && let Some(race) = race.lock().await.take() {
                race.await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for RacingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RacingStore")
    }
}

impl fmt::Display for RacingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RacingStore")
    }
}

#[async_trait]
impl ObjectStore for RacingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.race_at(OperationKind::Put, location.as_ref()).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let path = prefix.map_or("", |prefix| prefix.as_ref());
        let race = self.race_at(OperationKind::List, path);
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        futures::stream::once(race)
            .flat_map(move |()| inner.list(prefix.as_ref()))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
