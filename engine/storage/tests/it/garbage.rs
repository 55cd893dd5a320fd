//! Garbage collection removes what is superseded and nothing else.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use elanus_storage::GcReport;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore};

use crate::model::{Engine, Rows, Step, Write, batch, read_all, reopen};

const HOUR: Duration = Duration::from_secs(3600);

async fn names(store: &dyn ObjectStore, part: &str) -> Vec<String> {
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let names = metas.into_iter().map(|meta| meta.location.to_string());
    names.filter(|name| name.contains(part)).collect()
}

/// Two segments merged into one, so that two are superseded.
async fn compacted() -> (Arc<InMemory>, Engine, Rows) {
    let store = Arc::new(InMemory::new());
    let mut engine = Engine::create(Arc::clone(&store) as Arc<dyn ObjectStore>)
        .await
        .unwrap();
    let mut rows = Rows::new();
    for step in [
        Step::Append(vec![Write::Insert(vec![1, 2])]),
        Step::Flush,
        Step::Append(vec![Write::Upsert(vec![2, 3])]),
        Step::Flush,
    ] {
        engine.step(&step, &mut rows, &mut Rows::new()).await.unwrap();
    }
    (store, engine, rows)
}

#[tokio::test]
async fn superseded_segments_manifests_and_wal_objects_go() {
    let (store, mut engine, mut rows) = compacted().await;
    engine
        .step(&Step::Compact, &mut rows, &mut Rows::new())
        .await
        .unwrap();
    let report = engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    // Two segments with two files each and one delete bitmap; of manifests 1 to 4 the claim 1 and the newest stay.
    assert_eq!(
        (report.segment_files, report.manifests, report.wal_objects),
        (5, 2, 1)
    );
    assert_eq!(names(store.as_ref(), "/segments/").await.len(), 2);
    assert_eq!(names(store.as_ref(), "/wal/").await.len(), 1);
    assert_eq!(read_all(&engine.writer, &[]).await.unwrap(), rows);
    let again = engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(again, GcReport::default());
}

#[tokio::test]
async fn pinned_segments_stay_until_they_are_let_go() {
    let (_, mut engine, mut rows) = compacted().await;
    let old = engine.writer.manifest().segments.clone();
    engine
        .step(&Step::Compact, &mut rows, &mut Rows::new())
        .await
        .unwrap();
    let pinned = HashSet::from([old[0].id]);
    engine
        .writer
        .collect_garbage(&pinned, &[], Duration::ZERO)
        .await
        .unwrap();
    let files = engine.writer.files();
    assert!(files.map_vectors(&old[0], "v").await.is_ok());
    assert!(files.map_vectors(&old[1], "v").await.is_err());
    engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    assert!(files.map_vectors(&old[0], "v").await.is_err());
}

#[tokio::test]
async fn within_the_grace_period_only_flushed_wal_goes() {
    let (store, mut engine, mut rows) = compacted().await;
    engine
        .step(&Step::Compact, &mut rows, &mut Rows::new())
        .await
        .unwrap();
    let before = names(store.as_ref(), "/segments/").await;
    let report = engine
        .writer
        .collect_garbage(&HashSet::new(), &[], HOUR)
        .await
        .unwrap();
    assert_eq!(
        (report.segment_files, report.manifests, report.wal_objects),
        (0, 0, 1)
    );
    assert_eq!(names(store.as_ref(), "/segments/").await, before);
}

#[tokio::test]
async fn a_segment_between_write_and_commit_stays_unless_it_is_abandoned() {
    let (_, mut engine, _) = compacted().await;
    let files = engine.writer.files();
    let segment = files
        .write_segment(0, vec![batch(&[(50, 50)])], "id")
        .await
        .unwrap();
    let given_up = files
        .write_segment(0, vec![batch(&[(51, 51)])], "id")
        .await
        .unwrap();
    files.abandon(given_up.id);
    engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    assert!(files.map_vectors(&given_up, "v").await.is_err());
    engine
        .writer
        .commit(|manifest| manifest.segments.push(segment.clone()))
        .await
        .unwrap();
    engine
        .writer
        .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
        .await
        .unwrap();
    assert!(files.map_vectors(&segment, "v").await.is_ok());
}

#[tokio::test]
async fn wal_objects_after_the_flush_position_stay() {
    let (store, mut engine, mut rows) = compacted().await;
    for key in 10..13 {
        let step = Step::Append(vec![Write::Insert(vec![key])]);
        engine.step(&step, &mut rows, &mut Rows::new()).await.unwrap();
        engine
            .step(&Step::Garbage, &mut rows, &mut Rows::new())
            .await
            .unwrap();
    }
    let store: Arc<dyn ObjectStore> = store;
    for _ in 0..2 {
        let (engine, recovered, found) = reopen(Arc::clone(&store)).await.unwrap();
        assert_eq!((found, recovered.entries.len()), (rows.clone(), 3));
        engine
            .writer
            .collect_garbage(&HashSet::new(), &[], Duration::ZERO)
            .await
            .unwrap();
    }
}
