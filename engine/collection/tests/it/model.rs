//! Random operations against a simple oracle, with restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use elanus_collection::{IndexSpec, Keys, SnapshotRef};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{contents, manual, nearest, open, rows, spec, vector};

const SEEDS: u64 = 24;
const STEPS: usize = 60;

#[tokio::test]
async fn a_collection_always_agrees_with_a_map() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut engine = open(&store, manual()).await.unwrap();
    let mut collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let mut oracle: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut version = 0;
    let mut kept: BTreeMap<String, BTreeMap<i64, Vec<i64>>> = BTreeMap::new();
    for step in 0..STEPS {
        version += 1;
        match random.random_range(0..14) {
            0..=3 => {
                let keys: Vec<_> = (0..random.random_range(1..40))
                    .map(|_| (random.random_range(0..300), version))
                    .collect();
                collection.insert(rows(&keys), None).await.unwrap();
                for (key, version) in keys {
                    oracle.entry(key).or_default().push(version);
                }
            }
            4 | 5 => {
                let keys: BTreeSet<i64> = (0..random.random_range(1..20))
                    .map(|_| random.random_range(0..300))
                    .collect();
                let batch: Vec<_> = keys.iter().map(|key| (*key, version)).collect();
                let result = collection.upsert(rows(&batch), None).await.unwrap();
                let replaced: usize = keys.iter().map(|key| oracle.get(key).map_or(0, Vec::len)).sum();
                assert_eq!(result.deleted, replaced as u64, "seed {seed} step {step}");
                for key in keys {
                    oracle.insert(key, vec![version]);
                }
            }
            6 | 7 => {
                let keys: BTreeSet<i64> = (0..random.random_range(1..30))
                    .map(|_| random.random_range(0..300))
                    .collect();
                let result = collection
                    .delete(Keys::Int64(keys.iter().copied().collect()), None)
                    .await
                    .unwrap();
                let removed: usize = keys
                    .iter()
                    .filter_map(|key| oracle.remove(key))
                    .map(|versions| versions.len())
                    .sum();
                assert_eq!(result.rows, removed as u64, "seed {seed} step {step}");
            }
            8 => collection.flush().await.unwrap(),
            9 => collection.compact().await.unwrap(),
            10 => {
                let index_type = ["HNSW", "IVF_FLAT", "FLAT"][random.random_range(0..3)];
                if collection.indexes().is_empty() {
                    let spec = IndexSpec {
                        field: "v".into(),
                        index_type: index_type.into(),
                        metric: Some("L2".into()),
                        ..Default::default()
                    };
                    collection.create_index(&spec).await.unwrap();
                    collection.settle().await.unwrap();
                } else {
                    collection.drop_index("v").await.unwrap();
                }
            }
            11 => {
                let name = format!("s{step}");
                let info = collection.create_snapshot(&name).await.unwrap();
                assert_eq!(info.rows, collection.row_count());
                kept.insert(name, oracle.clone());
            }
            12 => {
                if let Some((name, _)) = kept.pop_first() {
                    let held = collection.at(&SnapshotRef::Name(name.clone())).await.unwrap();
                    let before = contents(&held).await;
                    collection.drop_snapshot(&name).await.unwrap();
                    assert_eq!(contents(&held).await, before, "seed {seed} step {step}");
                    assert!(collection.at(&SnapshotRef::Name(name)).await.is_err());
                }
            }
            _ => {
                engine.close().await;
                engine = open(&store, manual()).await.unwrap();
                collection = engine.collection("default", "c").unwrap();
            }
        }
        oracle.values_mut().for_each(|versions| versions.sort_unstable());
        assert_eq!(contents(&collection).await, oracle, "seed {seed} step {step}");
        for (name, rows) in &kept {
            let past = collection.at(&SnapshotRef::Name(name.clone())).await.unwrap();
            assert_eq!(contents(&past).await, *rows, "seed {seed} step {step} {name}");
        }
        assert_eq!(
            collection.row_count(),
            oracle.values().map(|v| v.len() as u64).sum::<u64>()
        );
        let query = vector(random.random_range(0..300), version);
        let mut expected: Vec<_> = oracle
            .iter()
            .flat_map(|(key, versions)| versions.iter().map(move |version| (*key, *version)))
            .map(|(key, version)| {
                let row = vector(key, version);
                let distance: f32 = row.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum();
                (key, distance)
            })
            .collect();
        expected.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        expected.truncate(10);
        let found = nearest(&collection, &query, 10).await;
        // So few rows are searched exactly or with lists wide enough to cover them.
        assert_eq!(
            found.iter().map(|hit| hit.1).collect::<Vec<_>>(),
            expected.iter().map(|hit| hit.1).collect::<Vec<_>>(),
            "seed {seed} step {step}"
        );
    }
    engine.close().await;
}
