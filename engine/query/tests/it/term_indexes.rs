//! Indexes of terms: the same rows as by looking at every text, whatever the query and the history of the rows.

use std::sync::Arc;

use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{engine_with, ints, sql, text};

const ENGLISH: &str = r#"{"type": "english"}"#;
const WORDS: [&str; 9] = [
    "kite", "kites", "fox", "foxes", "the", "field", "fields", "Owl", "owls,",
];

fn words(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..=most).prop_map(|words| words.join(" "))
}

/// A condition on the text `$body`, which is analyzed by [`ENGLISH`].
fn condition() -> impl Strategy<Value = String> {
    let call = |name: &'static str, numbers: std::ops::Range<i64>| {
        (words(4), numbers)
            .prop_map(move |(words, number)| format!("{name}($body, '{words}', {number}, '{ENGLISH}')"))
    };
    let leaf = prop_oneof![
        call("text_match", 1..4),
        call("text_match_fuzzy", 0..3),
        call("phrase_match", 0..3),
        Just("id % 3 = 0".to_string()),
        Just("$body IS NULL".to_string()),
    ];
    leaf.prop_recursive(2, 6, 3, |part| {
        prop_oneof![
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" AND "))),
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            part.prop_map(|part| format!("NOT ({part})")),
        ]
    })
}

/// What a condition selects by the index of `body`, and among equal texts without one.
async fn compare(engine: &Engine, runner: &mut TestRunner, conditions: usize, moment: &str) {
    let strategy = condition();
    for _ in 0..conditions {
        let condition = strategy.new_tree(runner).unwrap().current();
        let mut found = Vec::new();
        for column in ["body", "same"] {
            let condition = condition.replace("$body", column);
            let statement = format!("SELECT id FROM posts WHERE {condition} ORDER BY id");
            found.push(ints(&sql(engine, &statement).await.batches));
        }
        assert_eq!(found[0], found[1], "{moment}: {condition}");
    }
}

async fn seal(engine: &Engine) {
    let posts = engine
        .collections()
        .collection(DEFAULT_DATABASE, "posts")
        .unwrap();
    posts.flush().await.unwrap();
    posts.settle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_match_the_same_with_and_without_an_index_of_their_terms() {
    let store = Arc::new(InMemory::new());
    let mut engine = engine_with(Arc::clone(&store), EngineOptions::default()).await;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    sql(
        &engine,
        &format!(
            "CREATE TABLE posts (id BIGINT PRIMARY KEY, body TEXT, same TEXT, \
             terms SPARSEVEC GENERATED ALWAYS AS (bm25(body, '{ENGLISH}')) STORED)"
        ),
    )
    .await;
    let posts = engine
        .collections()
        .collection(DEFAULT_DATABASE, "posts")
        .unwrap();
    assert!(posts.indexes().is_empty(), "nobody asked for the index of terms");
    let texts =
        prop_oneof![6 => words(8).prop_map(|words| format!("'{words}'")), 1 => Just("NULL".to_string())];
    let mut next = 0;
    let insert = |runner: &mut TestRunner, count: i64, next: &mut i64| {
        let values = (*next..*next + count).map(|id| {
            let text = texts.new_tree(runner).unwrap().current();
            format!("({id}, {text}, {text})")
        });
        let values: Vec<String> = values.collect();
        *next += count;
        format!("INSERT INTO posts (id, body, same) VALUES {}", values.join(", "))
    };
    for moment in ["one segment", "two segments"] {
        let statement = insert(&mut runner, 300, &mut next);
        sql(&engine, &statement).await;
        seal(&engine).await;
        compare(&engine, &mut runner, 80, moment).await;
    }
    let statement =
        format!("EXPLAIN ANALYZE SELECT id FROM posts WHERE text_match(body, 'owls', 1, '{ENGLISH}')");
    let used = text(&sql(&engine, &statement).await);
    assert!(used.contains("terms of body: text_match"), "{used}");

    let statement = insert(&mut runner, 50, &mut next);
    sql(&engine, &statement).await;
    compare(&engine, &mut runner, 40, "with growing rows").await;
    sql(&engine, "DELETE FROM posts WHERE id % 5 = 0").await;
    sql(
        &engine,
        "UPDATE posts SET body = 'owl field', same = 'owl field' WHERE id % 7 = 1",
    )
    .await;
    sql(
        &engine,
        "UPDATE posts SET body = NULL, same = NULL WHERE id % 11 = 3",
    )
    .await;
    compare(&engine, &mut runner, 60, "with deleted and updated rows").await;
    seal(&engine).await;
    engine.collections().close().await;
    engine = engine_with(store, EngineOptions::default()).await;
    compare(&engine, &mut runner, 40, "after a restart").await;
    sql(&engine, "VACUUM posts").await;
    compare(&engine, &mut runner, 40, "after compaction").await;
    sql(&engine, "ALTER TABLE posts RENAME COLUMN same TO other").await;
    sql(&engine, "ALTER TABLE posts ADD COLUMN same TEXT").await;
    sql(&engine, "UPDATE posts SET same = body").await;
    compare(&engine, &mut runner, 40, "after a change of the schema").await;
}
