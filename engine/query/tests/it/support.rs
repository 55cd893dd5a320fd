//! An engine over an empty store, and short ways to fill and read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use elanus_collection::{Collection, Collections, Options};
use elanus_query::{
    DEFAULT_DATABASE, Engine, EngineOptions, FilterText, QueryRequest, ScoreRange, SearchRequest, SqlOutput,
};
use object_store::memory::InMemory;

/// An engine whose background work runs only when it is asked for.
pub async fn engine() -> Engine {
    engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await
}

/// As [`engine`], over a store that may have been used before.
pub async fn engine_with(store: Arc<InMemory>, options: EngineOptions) -> Engine {
    let of_collections = Options {
        background: false,
        build_threads: 1,
        ..Options::default()
    };
    let collections = Collections::open(store, of_collections).await.unwrap();
    let options = EngineOptions {
        query_threads: 2,
        sql_threads: 1,
        ..options
    };
    Engine::new(collections, &options).unwrap()
}

/// Runs SQL in the default database.
pub async fn sql(engine: &Engine, text: &str) -> SqlOutput {
    match engine.sql(DEFAULT_DATABASE, text).await {
        Ok(output) => output,
        Err(error) => panic!("{text}\n{error}"),
    }
}

/// The error of a SQL text.
pub async fn sql_error(engine: &Engine, text: &str) -> String {
    engine.sql(DEFAULT_DATABASE, text).await.unwrap_err().to_string()
}

/// All values as text, a row in each line.
pub fn text(output: &SqlOutput) -> String {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &output.batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                let formatter = ArrayFormatter::try_new(column, &options).unwrap();
                formatter.value(row).to_string()
            });
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    lines.join("\n")
}

/// The first column as integers.
pub fn ints(batches: &[RecordBatch]) -> Vec<i64> {
    batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

/// The scores of a search.
pub fn scores(rows: &RecordBatch) -> Vec<f32> {
    rows.column(rows.num_columns() - 1)
        .as_primitive::<Float32Type>()
        .values()
        .to_vec()
}

/// The table `t(id, n, v)` with a FLAT index, loaded: row `i` of `rows` has `n = i % 10`, `v = [i, 0]`.
pub async fn line(engine: &Engine, rows: usize) -> Arc<Collection> {
    sql(
        engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER NOT NULL, v VECTOR(2) NOT NULL)",
    )
    .await;
    let values: Vec<String> = (0..rows)
        .map(|i| format!("({i}, {}, '[{i}, 0]')", i % 10))
        .collect();
    if !values.is_empty() {
        sql(engine, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    }
    sql(engine, "CREATE INDEX v ON t USING flat (v vector_l2_ops)").await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    load(&collection).await;
    collection
}

/// Loads a collection and waits until it is.
pub async fn load(collection: &Collection) {
    collection.load(None).await.unwrap();
    while collection.load_progress(&[]).unwrap() < 100 {
        tokio::task::yield_now().await;
    }
}

/// A search of `t.v` for one query, giving ids.
pub fn search(collection: &Arc<Collection>, query: &[f32], limit: usize) -> SearchRequest {
    SearchRequest {
        collection: Arc::clone(collection),
        field: "v".into(),
        queries: query.to_vec().into(),
        nq: query.len() / 2,
        limit,
        offset: 0,
        metric: None,
        params: BTreeMap::new(),
        range: ScoreRange::default(),
        filter: None,
        partitions: Vec::new(),
        output: vec!["id".into()],
        ignore_growing: false,
        group: None,
        rerank: None,
        collapse: None,
        order: Vec::new(),
        snapshot: None,
    }
}

/// A read of ids.
pub fn query(collection: &Arc<Collection>, filter: &str) -> QueryRequest {
    QueryRequest {
        collection: Arc::clone(collection),
        filter: filter_of(filter),
        keys: None,
        partitions: Vec::new(),
        output: vec!["id".into()],
        limit: None,
        offset: 0,
        ignore_growing: false,
        order: Vec::new(),
        snapshot: None,
    }
}

/// A filter without templates; none for empty text.
pub fn filter_of(text: &str) -> Option<FilterText> {
    (!text.is_empty()).then(|| FilterText {
        text: text.into(),
        ..FilterText::default()
    })
}
